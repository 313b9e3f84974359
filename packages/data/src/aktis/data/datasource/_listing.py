"""From what users call "paths" to files: file systems, directories, patterns, sizes."""

from __future__ import annotations

import fnmatch
import functools
import glob
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Union

import pyarrow as pa
from pyarrow import fs as pafs

Paths = Union[str, "os.PathLike[str]", Sequence[Union[str, "os.PathLike[str]"]]]

_LOCAL = "local://"
_DIGITS = re.compile(r"([0-9]+)")
_LISTING_THREADS = 16  # requests to object stores take tens of milliseconds each, and hardly any CPU
_PARALLEL_FROM = 32  # files; below, threads cost more than they save


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file. ``path`` is what the file system calls it; ``root`` is the given path that it was found under."""

    path: str
    size: int | None = None  # bytes
    root: str = ""
    explicit: bool = True  # named by the user, not found in a directory


@dataclass(frozen=True)
class FileList:
    """Files in the order that their rows are to have."""

    filesystem: pafs.FileSystem
    files: tuple[FileInfo, ...]
    driver_only: bool = False  # ``local://``: other machines do not see them
    given: tuple[str, ...] = field(default=(), compare=False)

    @property
    def paths(self) -> list[str]:
        return [file.path for file in self.files]

    @property
    def size_bytes(self) -> int | None:
        """Bytes on storage, None where some size is not known."""
        sizes = [file.size for file in self.files]
        return None if any(size is None for size in sizes) else sum(size or 0 for size in sizes)

    @property
    def is_local(self) -> bool:
        return isinstance(self.filesystem, pafs.LocalFileSystem)

    def keep(self, chosen: Callable[[str], bool]) -> FileList:
        return FileList(self.filesystem, tuple(f for f in self.files if chosen(f.path)), self.driver_only, self.given)


def list_files(
    paths: Paths, filesystem: Any = None, *, ignore_missing: bool = False, expand_directories: bool = True
) -> FileList:
    """All files that ``paths`` stand for.

    Args:
        paths: files, directories (searched recursively; names that start with ``.`` or ``_`` are left out), patterns
            with ``*``, ``?``, ``[]`` and ``**``, or URIs; one or several. ``local://`` before a path: read it on the
            driver's machine only.
        filesystem: a pyarrow or fsspec file system. None: the one that the paths' scheme says.
        ignore_missing: leave out paths that are not there.
        expand_directories: False: paths are files, whose sizes are not looked up.

    Raises:
        FileNotFoundError: a path or pattern that leads to nothing.
        ValueError: no path, or no file in what is there.
    """
    given = _as_strings(paths)
    driver_only = any(path.startswith(_LOCAL) for path in given)
    if driver_only and not all(path.startswith(_LOCAL) for path in given):
        raise ValueError(f"either all paths start with {_LOCAL!r} or none does, got {given!r}")
    resolved: list[str] = []
    chosen = None if filesystem is None else as_filesystem(filesystem)
    for path in given:
        own, inner = resolve(path.removeprefix(_LOCAL), chosen)
        if chosen is None:
            chosen = own
        elif not chosen.equals(own):
            raise ValueError(
                f"all paths of one read are on one file system: {given[0]!r} is on {chosen.type_name!r}, "
                f"{path!r} on {own.type_name!r}"
            )
        resolved.append(inner)
    assert chosen is not None
    if not expand_directories:
        return FileList(chosen, tuple(FileInfo(path, None, path) for path in resolved), driver_only, tuple(given))
    files = _expand(chosen, resolved, given, ignore_missing)
    if not files:
        what = ", ".join(repr(path) for path in given[:5])
        raise ValueError(f"There is no file to read in {what} (hidden files do not count)")
    return FileList(chosen, tuple(files), driver_only, tuple(given))


def _as_strings(paths: Any) -> list[str]:
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    if not isinstance(paths, Iterable) or isinstance(paths, (bytes, dict)):
        raise TypeError(f"paths is a path or a list of paths, got {paths!r}")
    strings = []
    for path in paths:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"a path is a string or a pathlib.Path, got {path!r}")
        text = os.fspath(path)
        if not text:
            raise ValueError("a path is empty: ''")
        strings.append(text)
    if not strings:
        raise ValueError("paths is empty: give at least one path")
    return strings


def as_filesystem(filesystem: Any) -> pafs.FileSystem:
    """A pyarrow file system from a pyarrow or fsspec one."""
    if isinstance(filesystem, pafs.FileSystem):
        return filesystem
    try:
        import fsspec
    except ImportError:
        fsspec = None
    if fsspec is not None and isinstance(filesystem, fsspec.spec.AbstractFileSystem):
        if type(filesystem).__name__ == "LocalFileSystem":
            return pafs.LocalFileSystem()
        return pafs.PyFileSystem(pafs.FSSpecHandler(filesystem))
    raise TypeError(f"filesystem is a pyarrow.fs.FileSystem or an fsspec file system, got {filesystem!r}")


def resolve(path: str, filesystem: pafs.FileSystem | None = None) -> tuple[pafs.FileSystem, str]:
    """The file system of a path, and what the path is called there."""
    scheme = re.match(r"^([A-Za-z][A-Za-z0-9+.\-]+)(://|::)", path)
    if scheme is None:
        if filesystem is not None and not isinstance(filesystem, pafs.LocalFileSystem):
            return filesystem, path.rstrip("/") or path
        return filesystem or pafs.LocalFileSystem(), os.path.expanduser(path)
    if scheme[1] == "file":
        from urllib.parse import unquote, urlsplit

        return filesystem or pafs.LocalFileSystem(), unquote(urlsplit(path).path)
    if filesystem is not None:
        inner = path[scheme.end() :]
        return filesystem, path if scheme[1] in ("http", "https") else inner
    return _resolve_uri(path, scheme[1])


def _resolve_uri(path: str, scheme: str) -> tuple[pafs.FileSystem, str]:
    has_pattern = _is_pattern(path)
    if scheme not in ("http", "https") and "::" not in path and not has_pattern:
        try:
            filesystem, inner = pafs.FileSystem.from_uri(path)
            return filesystem, inner
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # a scheme that Arrow does not know, fsspec may
            pass
    if has_pattern and scheme in ("s3", "gs", "gcs", "hdfs", "abfs", "abfss"):
        head, _, tail = path.partition("://")
        bucket = tail.split("/", 1)[0]
        try:
            return pafs.FileSystem.from_uri(f"{head}://{bucket}")[0], tail
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass
    try:
        import fsspec
    except ImportError as error:
        raise ImportError(
            f"Reading {path!r} needs fsspec (and its package for {scheme!r}): pip install fsspec"
        ) from error
    try:
        system, inner = fsspec.core.url_to_fs(path)
    except ValueError as error:
        raise ValueError(f"{path!r}: no file system is known for {scheme}:// ({error})") from error
    return pafs.PyFileSystem(pafs.FSSpecHandler(system)), inner


def _expand(filesystem: pafs.FileSystem, paths: list[str], given: list[str], ignore_missing: bool) -> list[FileInfo]:
    files: list[FileInfo] = []
    for path, name, info in zip(paths, given, _infos(filesystem, paths)):
        if info.type == pafs.FileType.Directory:
            files.extend(_walk(filesystem, path))
        elif info.type == pafs.FileType.NotFound and _is_pattern(path):
            matches = _glob(filesystem, path)
            if not matches and not ignore_missing:
                raise FileNotFoundError(f"No file matches the pattern {name!r}")
            files.extend(matches)
        elif info.type == pafs.FileType.NotFound:
            if not ignore_missing:
                raise FileNotFoundError(f"There is no file or directory {name!r}")
        else:
            files.append(FileInfo(path, info.size, path))
    return files


def _infos(filesystem: pafs.FileSystem, paths: list[str]) -> list[pafs.FileInfo]:
    native = not isinstance(filesystem, pafs.PyFileSystem)
    if native or len(paths) < _PARALLEL_FROM:
        infos: list[pafs.FileInfo] = filesystem.get_file_info(paths)
        return infos
    size = -(-len(paths) // (_LISTING_THREADS * 4))
    chunks = [paths[i : i + size] for i in range(0, len(paths), size)]
    with ThreadPoolExecutor(_LISTING_THREADS) as pool:
        return [info for part in pool.map(filesystem.get_file_info, chunks) for info in part]


def _walk(filesystem: pafs.FileSystem, root: str) -> list[FileInfo]:
    """Files below a directory, in natural order: ``part-2`` before ``part-10``."""
    base = root.rstrip("/")
    found = [
        FileInfo(info.path, info.size, root, False)
        for info in filesystem.get_file_info(pafs.FileSelector(root, recursive=True))
        if info.type == pafs.FileType.File and not _is_hidden(_below(info.path, base))
    ]
    return sorted(found, key=lambda file: natural_key(file.path))


def _below(path: str, base: str) -> str:
    return path[len(base) :].lstrip("/") if path.startswith(base) else path


def _is_hidden(relative: str) -> bool:
    """``.git/x``, ``_SUCCESS``, ``_delta_log/0.json``. Not ``_year=2020/x``: a partition directory may be called so."""
    return any(part.startswith(".") or (part.startswith("_") and "=" not in part) for part in relative.split("/"))


def natural_key(path: str) -> tuple[tuple[tuple[int, int, str], ...], ...]:
    """Sorts runs of digits as numbers, directory by directory."""
    return tuple(map(_natural_name, path.split("/")))


@functools.lru_cache(maxsize=4096)  # paths share their directories
def _natural_name(name: str) -> tuple[tuple[int, int, str], ...]:
    pieces = _DIGITS.split(name)  # text and digits by turns
    return tuple((1, int(piece), piece) if i % 2 else (2, 0, piece) for i, piece in enumerate(pieces) if piece)


def _is_pattern(path: str) -> bool:
    return any(character in path for character in "*?[")


def _glob(filesystem: pafs.FileSystem, pattern: str) -> list[FileInfo]:
    """What matches the pattern: files, and the files in directories that match."""
    if isinstance(filesystem, pafs.LocalFileSystem):
        matches = glob.glob(pattern, recursive=True)
    else:
        fixed = pattern[: re.search(r"[*?\[]", pattern).start()].rpartition("/")[0]  # type: ignore[union-attr]
        selector = pafs.FileSelector(fixed, allow_not_found=True, recursive=True)
        regex = re.compile(_glob_regex(pattern))
        matches = [info.path for info in filesystem.get_file_info(selector) if regex.fullmatch(info.path)]
    matches = sorted((path for path in matches if not _is_hidden(posixpath.basename(path))), key=natural_key)
    files: list[FileInfo] = []
    seen: set[str] = set()
    for path, info in zip(matches, _infos(filesystem, matches)):
        inside = _walk(filesystem, path) if info.type == pafs.FileType.Directory else [FileInfo(path, info.size, path)]
        for file in inside:
            if file.path not in seen:
                seen.add(file.path)
                files.append(file)
    return files


def _glob_regex(pattern: str) -> str:
    """``**`` for any number of directories, everything else as in a shell."""
    parts = []
    for part in pattern.split("/"):
        if part == "**":
            parts.append("(?:[^/]+/)*")
        else:
            text = fnmatch.translate(part)
            inner = re.sub(r"^\(\?s:|\)\\[zZ]$", "", text).replace(".*", "[^/]*")
            parts.append(inner + "/")
    return "".join(parts)[:-1] if not pattern.endswith("**") else "".join(parts) + "[^/]*"
