"""Partitioned directories: columns whose values are in the path."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Union
from urllib.parse import quote, unquote

import pyarrow as pa

__all__ = ["PartitionStyle", "Partitioning", "PathPartitionEncoder", "PathPartitionFilter", "PathPartitionParser"]

_NULL = "__HIVE_DEFAULT_PARTITION__"
_TYPES: dict[Any, pa.DataType] = {
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bool: pa.bool_(),
}


class PartitionStyle(str, Enum):
    """How values are written in paths."""

    HIVE = "hive"  # year=2020/month=1/a.parquet
    DIRECTORY = "dir"  # 2020/1/a.parquet, with field_names=["year", "month"]


@dataclass(frozen=True)
class Partitioning:
    """How to find columns in the paths of files.

    Args:
        style: ``"hive"`` (``key=value`` directories) or ``"dir"`` (values only; needs ``field_names``).
        base_dir: directories up to here are not looked at. Default: everything is.
        field_names: names of the columns, outermost first. For hive style: which keys there must be.
        filesystem: where ``base_dir`` is, if its scheme does not say it.
        field_types: column name to ``int``, ``float``, ``str``, ``bool`` or an Arrow type. Columns not named are
            integers if all values look like it, else strings.
    """

    style: Union[PartitionStyle, str] = PartitionStyle.HIVE
    base_dir: str | None = None
    field_names: Sequence[str] | None = None
    filesystem: Any = field(default=None, compare=False)
    field_types: dict[str, Any] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "style", PartitionStyle(self.style))
        except ValueError:
            raise ValueError(f"style of a partitioning is 'hive' or 'dir', got {self.style!r}") from None
        if self.style is PartitionStyle.DIRECTORY and not self.field_names:
            raise ValueError("Partitioning('dir') needs field_names=[...]: paths hold values only")
        for name, kind in (self.field_types or {}).items():
            if kind not in _TYPES and not isinstance(kind, pa.DataType):
                raise ValueError(f"field_types[{name!r}] is int, float, str, bool or an Arrow type, got {kind!r}")

    @property
    def scheme(self) -> PartitionStyle:
        """The style as an enum."""
        return PartitionStyle(self.style)

    @property
    def normalized_base_dir(self) -> str:
        """The base directory as paths in the file system have it, with a slash at its end (or empty)."""
        if not self.base_dir:
            return ""
        from aktis.data.datasource._listing import as_filesystem, resolve

        system = None if self.filesystem is None else as_filesystem(self.filesystem)
        return resolve(str(self.base_dir), system)[1].rstrip("/") + "/"


class PathPartitionParser:
    """Finds the partition values in a path: ``parser(path)`` gives ``{"year": "2020", ...}``, empty if there are none."""

    @staticmethod
    def of(
        style: PartitionStyle | str = PartitionStyle.HIVE,
        base_dir: str | None = None,
        field_names: Sequence[str] | None = None,
        filesystem: Any = None,
    ) -> PathPartitionParser:
        """A parser for paths of this style below ``base_dir``."""
        return PathPartitionParser(Partitioning(style, base_dir, field_names, filesystem))

    def __init__(self, partitioning: Partitioning) -> None:
        self._partitioning = partitioning
        self._base = partitioning.normalized_base_dir

    @property
    def scheme(self) -> Partitioning:
        """How partitions stand in paths."""
        return self._partitioning

    def __call__(self, path: str) -> dict[str, str]:
        folder = posixpath.dirname(self._relative(path))
        parts = [part for part in folder.split("/") if part]
        if self._partitioning.style is PartitionStyle.HIVE:
            return self._hive(path, parts)
        names = list(self._partitioning.field_names or ())
        if not parts:
            return {}
        if len(parts) < len(names):
            raise ValueError(f"{path}: expected directories for {names}, found {parts} (base_dir={self._base!r})")
        # The innermost directories: without a base_dir, absolute paths begin with directories that mean nothing.
        if self._base and len(parts) != len(names):
            raise ValueError(f"{path}: expected one directory for each of {names}, found {parts} in {self._base!r}")
        return dict(zip(names, map(unquote, parts[-len(names) :])))

    def _relative(self, path: str) -> str:
        if self._base and path.startswith(self._base):
            return path[len(self._base) :]
        return "" if self._base else path

    def _hive(self, path: str, parts: list[str]) -> dict[str, str]:
        pairs = [part.split("=", 1) for part in parts if "=" in part and not part.startswith("=")]
        values = {unquote(key): unquote(value) for key, value in pairs}
        names = self._partitioning.field_names
        if names and values and list(values) != list(names):
            raise ValueError(f"{path}: expected the partition keys {list(names)}, found {list(values)}")
        return values


class PathPartitionEncoder:
    """The other way: ``encoder(["2020", "1"])`` gives the directory ``year=2020/month=1``."""

    @staticmethod
    def of(
        style: PartitionStyle | str = PartitionStyle.HIVE,
        base_dir: str | None = None,
        field_names: Sequence[str] | None = None,
        filesystem: Any = None,
    ) -> PathPartitionEncoder:
        """An encoder of paths of this style below ``base_dir``."""
        return PathPartitionEncoder(Partitioning(style, base_dir, field_names, filesystem))

    def __init__(self, partitioning: Partitioning) -> None:
        if not partitioning.field_names:
            raise ValueError("a PathPartitionEncoder needs field_names=[...]")
        self._partitioning = partitioning

    @property
    def scheme(self) -> Partitioning:
        """How partitions stand in paths."""
        return self._partitioning

    def __call__(self, partition_values: Sequence[Any]) -> str:
        names = list(self._partitioning.field_names or ())
        if len(partition_values) != len(names):
            raise ValueError(f"expected one value for each of {names}, got {list(partition_values)!r}")
        texts = [_NULL if value is None else quote(str(value), safe=" ") for value in partition_values]
        if self._partitioning.style is PartitionStyle.HIVE:
            texts = [f"{name}={text}" for name, text in zip(names, texts)]
        return posixpath.join(self._partitioning.normalized_base_dir, *texts)


class PathPartitionFilter:
    """Keeps the paths whose partition values a function accepts: ``filter(paths)`` gives those."""

    @staticmethod
    def of(
        filter_fn: Callable[[dict[str, str]], bool],
        style: PartitionStyle | str = PartitionStyle.HIVE,
        base_dir: str | None = None,
        field_names: Sequence[str] | None = None,
        filesystem: Any = None,
    ) -> PathPartitionFilter:
        """A filter that calls ``filter_fn`` with what the partitions of a path say."""
        return PathPartitionFilter(PathPartitionParser.of(style, base_dir, field_names, filesystem), filter_fn)

    def __init__(self, path_partition_parser: PathPartitionParser, filter_fn: Callable[[dict[str, str]], bool]) -> None:
        self._parser = path_partition_parser
        self._filter = filter_fn

    @property
    def parser(self) -> PathPartitionParser:
        """What reads the partitions of a path."""
        return self._parser

    def apply(self, path: str) -> bool:
        """Whether one path is kept."""
        return bool(self._filter(self._parser(path)))

    def __call__(self, paths: Iterable[str]) -> list[str]:
        return [path for path in paths if self.apply(path)]


class PartitionColumns:
    """The typed columns that a partitioning gives to a set of files. Small: it travels with every read task."""

    def __init__(self, partitioning: Partitioning | None, paths: Sequence[str]) -> None:
        self._parser = None if partitioning is None else PathPartitionParser(partitioning)
        self.types: dict[str, pa.DataType] = {}
        if partitioning is None or self._parser is None:
            return
        seen: dict[str, set[str]] = {}
        for folder in dict.fromkeys(posixpath.dirname(path) for path in paths):
            for name, value in self._parser(folder + "/x").items():
                seen.setdefault(name, set()).add(value)
        given = partitioning.field_types or {}
        for name, values in seen.items():
            kind = given.get(name)
            self.types[name] = _TYPES.get(kind, kind) if kind is not None else _infer(values)

    def __bool__(self) -> bool:
        return bool(self.types)

    def values(self, path: str) -> dict[str, pa.Scalar]:
        """The values for one file: null for a key that its path does not have."""
        if not self.types or self._parser is None:
            return {}
        texts = self._parser(path)
        return {name: _scalar(texts.get(name), kind, name) for name, kind in self.types.items()}


def _infer(values: set[str]) -> pa.DataType:
    texts = values - {_NULL}
    return pa.int64() if texts and all(_is_integer(text) for text in texts) else pa.string()


def _is_integer(text: str) -> bool:
    digits = text[1:] if text[:1] == "-" else text
    return digits.isascii() and digits.isdigit() and len(digits) < 19


def _scalar(text: str | None, kind: pa.DataType, name: str) -> pa.Scalar:
    if text is None or text == _NULL:
        return pa.scalar(None, kind)
    try:
        if pa.types.is_integer(kind):
            return pa.scalar(int(text), kind)
        return pa.scalar(text, pa.string()).cast(kind)
    except (ValueError, OverflowError, pa.ArrowException) as error:
        raise ValueError(f"the value {text!r} of the partition column {name!r} is no {kind}: {error}") from None
