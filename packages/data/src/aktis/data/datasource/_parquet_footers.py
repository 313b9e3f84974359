"""What the ends of Parquet files say: schemas, row groups, and an estimate of how large columns are in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pyarrow import fs as pafs

from aktis.data.datasource._parquet_scan import open_parquet
from aktis.data.datasource._policy import ReadPolicy, read_error
from aktis.data.datasource._source import ordered_parallel, plain_schema
from aktis.data.exceptions import DataError

_SAMPLED_GROUPS = 4  # of each: describing column chunks takes about 10 us each
_FOOTER_THREADS = 16
_FEW = 8  # files; reading so few footers from a disk takes less time than starting threads


@dataclass(frozen=True)
class Footer:
    """What we keep of a footer. ``groups``: the row groups' numbers of rows and bytes (encoded, not compressed)."""

    schema: pa.Schema
    rows: int
    groups: tuple[tuple[int, int], ...]
    memory: Mapping[str, float] = field(default_factory=dict)  # estimated bytes of columns in the first row groups
    sampled: float = 0.0  # encoded bytes of those


class Footers:
    """Footers of files, by path. Shared by all readers that are made of one another."""

    def __init__(self, filesystem: pafs.FileSystem, options: Mapping[str, Any], policy: ReadPolicy) -> None:
        self._filesystem = filesystem
        self._options = options
        self._policy = policy
        self._known: dict[str, Footer | None] = {}
        self._lock = threading.Lock()
        self.ratios: dict[frozenset[str] | None, float] = {}  # bytes in memory per byte on storage, by columns
        self.unified: dict[int, pa.Schema] = {}  # by how many footers were known

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:  # what is known travels along: a dataset that is sent to a worker need not find it out again
            return {**vars(self), "_known": dict(self._known), "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def get(self, paths: Sequence[str], *, sample: bool = False) -> list[Footer | None]:
        """Footers in order: None for files that cannot be read, where the policy is to leave them out.

        ``sample``: with estimates of the columns' sizes in memory.
        """
        missing = [path for path in dict.fromkeys(paths) if path not in self._known]
        local = isinstance(self._filesystem, pafs.LocalFileSystem)
        threads = (4 if len(missing) > _FEW else 1) if local else _FOOTER_THREADS
        read = ordered_parallel(lambda path: self._read(path, sample), missing, threads, ahead=4 * threads)
        for path, footer in zip(missing, read):
            with self._lock:
                self._known[path] = footer
        return [self._known[path] for path in paths]

    def known(self, paths: Iterable[str]) -> list[tuple[str, Footer]]:
        """Those that have been read already."""
        return [(path, footer) for path in paths if (footer := self._known.get(path)) is not None]

    def _read(self, path: str, sample: bool) -> Footer | None:
        try:
            return self._policy.call(lambda: self._open(path, sample))
        except (DataError, MemoryError):
            raise
        except Exception as error:
            if self._policy.on_error == "skip":
                return None
            raise read_error(path, error) from error

    def _open(self, path: str, sample: bool) -> Footer:
        with open_parquet(self._filesystem, path, self._options) as file:
            metadata = file.metadata
            groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
            sizes = tuple((group.num_rows, group.total_byte_size) for group in groups)
            memory, encoded = _memory_of(file) if sample else ({}, 0.0)
            return Footer(plain_schema(file.schema_arrow), metadata.num_rows, sizes, memory, encoded)


def _memory_of(file: Any) -> tuple[dict[str, float], float]:
    """Estimated bytes in memory of the columns in the first row groups, and those groups' encoded bytes."""
    metadata, schema = file.metadata, file.schema_arrow
    memory: dict[str, float] = {}
    encoded = 0.0
    for number in range(min(metadata.num_row_groups, _SAMPLED_GROUPS)):
        group = metadata.row_group(number)
        encoded += group.total_byte_size
        for index in range(group.num_columns):
            chunk = group.column(index)
            name = chunk.path_in_schema.split(".", 1)[0]
            kind = schema.field(name).type if name in schema.names else None
            memory[name] = memory.get(name, 0.0) + _chunk_memory(chunk, kind)
    return memory, encoded


def _chunk_memory(chunk: Any, kind: pa.DataType | None) -> float:
    rows = float(chunk.num_values)
    try:
        if kind is not None:
            return rows * float(kind.bit_width) / 8.0
    except ValueError:  # no fixed width
        pass
    encoded = float(chunk.total_uncompressed_size)
    if kind is not None and (pa.types.is_string(kind) or pa.types.is_binary(kind)) and chunk.is_stats_set:
        low, high = chunk.statistics.min, chunk.statistics.max
        if low is not None and high is not None:  # a dictionary may hide that each row has a value of its own size
            return max(encoded, rows * (len(low) + len(high)) / 2) + 4 * rows
    return max(encoded, rows) + 4 * rows
