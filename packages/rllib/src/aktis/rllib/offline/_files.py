"""Paths, patterns, folders and URIs of files."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from typing import IO, Any

__all__ = ["expand", "is_uri", "open_text", "output_name", "size_of"]

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")


def is_uri(path: str) -> bool:
    """Whether a path has a scheme, such as ``s3://``."""
    return bool(_SCHEME.match(path)) and not path.startswith("file://")


def expand(inputs: str | os.PathLike[str] | Sequence[Any], suffixes: tuple[str, ...]) -> list[str]:
    """The files of what a user gave, sorted where a pattern or folder stands for several.

    Args:
        inputs: A file, a folder, a pattern with ``*``, a URI that fsspec knows, or a list of those.
        suffixes: Files of a folder are those that end with one of these.

    Raises:
        FileNotFoundError: there is no such file; the message names what was asked for.
    """
    given = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    if not given:
        raise FileNotFoundError("an empty list of files was given: there is nothing to read")
    found: list[str] = []
    for one in given:
        path = os.fspath(one)
        if not isinstance(path, str):
            raise TypeError(f"files are given by their paths, not by {one!r}")
        found.extend(_expand_uri(path, suffixes) if is_uri(path) else _expand_local(path, suffixes))
    return list(dict.fromkeys(found))


def _expand_local(given: str, suffixes: tuple[str, ...]) -> list[str]:
    path = _absolute(given)
    if os.path.isdir(path):
        names = sorted(name for name in os.listdir(path) if name.endswith(suffixes) and not name.startswith("."))
        if not names:
            raise FileNotFoundError(f"the folder {path} has no file that ends with {' or '.join(suffixes)}")
        return [os.path.join(path, name) for name in names]
    if os.path.exists(path):
        return [path]
    if glob.has_magic(path):
        matches = sorted(match for match in glob.glob(path, recursive=True) if os.path.isfile(match))
        if matches:
            return matches
        raise FileNotFoundError(f"no file matches {path}")
    raise FileNotFoundError(f"there is no file or folder {path}")


def _absolute(given: str) -> str:
    """A relative path is one from the working directory, or else from this package: what tuned examples learn from lies there."""
    path = os.path.expanduser(given.removeprefix("file://"))
    if not os.path.isabs(path) and not os.path.exists(path):
        packaged = os.path.join(os.path.dirname(os.path.dirname(__file__)), path)
        if os.path.exists(packaged):
            return packaged
    return os.path.abspath(path)


def _expand_uri(uri: str, suffixes: tuple[str, ...]) -> list[str]:
    filesystem, path = _filesystem(uri)
    scheme = uri.split("://", 1)[0]
    if glob.has_magic(path):
        matches = sorted(filesystem.glob(path))
    elif filesystem.isdir(path):
        matches = sorted(name for name in filesystem.ls(path, detail=False) if name.endswith(suffixes))
    else:
        matches = [path] if filesystem.exists(path) else []
    if not matches:
        raise FileNotFoundError(f"there is no file at {uri}")
    return [f"{scheme}://{str(match).removeprefix(f'{scheme}://')}" for match in matches]


def _filesystem(uri: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError:
        raise ImportError(f"{uri} is read and written with fsspec: pip install fsspec") from None
    filesystem, path = fsspec.core.url_to_fs(uri)
    return filesystem, str(path)


def open_text(path: str, mode: str = "r") -> IO[Any]:
    """A file of a path or URI; text in UTF-8 unless the mode is binary."""
    encoding = None if "b" in mode else "utf-8"
    if not is_uri(path):
        return open(path, mode, encoding=encoding)
    filesystem, inside = _filesystem(path)
    if "w" in mode or "a" in mode:
        filesystem.makedirs(inside.rsplit("/", 1)[0], exist_ok=True)
    opened: IO[Any] = filesystem.open(inside, mode, **({} if encoding is None else {"encoding": encoding}))
    return opened


def size_of(path: str) -> int:
    """Bytes of a file."""
    if not is_uri(path):
        return os.path.getsize(path)
    filesystem, inside = _filesystem(path)
    return int(filesystem.size(inside) or 0)


def output_name(folder: str, date: str, worker_index: int, number: int, suffix: str) -> str:
    """``<folder>/output-<date>_worker-<i>_<n><suffix>``."""
    name = f"output-{date}_worker-{worker_index}_{number}{suffix}"
    return f"{folder.rstrip('/')}/{name}" if is_uri(folder) else os.path.join(folder, name)
