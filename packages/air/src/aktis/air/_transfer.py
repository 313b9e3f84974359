"""Files to and from URIs, with fsspec.

Errors name the file and the URI. What is transferred in bulk goes over a few threads, as most of the time is waiting.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl

from aktis.air._checkpoint.files import walk
from aktis.air._uri import is_uri, local_path, scheme
from aktis.air.exceptions import CheckpointNotFoundError, StorageError
from aktis.util.files import written_whole

THREADS = 8
CLOCK_SKEW_S = 900
"""How far the clocks of two machines may be apart (S3 talks to nobody who is further off). Files whose times differ by less are
copied once more, when nothing else is known of them."""


def open_uri(uri: str, what: str = "uri") -> tuple[Any, str]:
    """The file system of a URI, and the path in it.

    Raises:
        ValueError: ``uri`` has no scheme, or one that nothing here knows.
        ModuleNotFoundError: the scheme needs a package that is not installed; the message says which.
    """
    if not isinstance(uri, str) or not is_uri(uri):
        raise ValueError(f"{what} must be a URI such as 's3://bucket/path' or 'file:///path', not {uri!r}")
    import fsspec

    path = local_path(uri)
    if path is not None:
        return fsspec.filesystem("file"), os.path.abspath(path)
    base, _, query = uri.partition("?")
    try:
        filesystem, path = fsspec.core.url_to_fs(base, **_options(scheme(uri), query))
    except ValueError as error:
        known = ", ".join(sorted(fsspec.available_protocols()))
        raise ValueError(f"{what} {uri!r} has a scheme that fsspec does not know; it knows {known}") from error
    except ImportError as error:
        raise ModuleNotFoundError(f"{what} {uri!r} needs a package that is not installed: {error}") from error
    return filesystem, path


def _options(kind: str, query: str) -> dict[str, Any]:
    """What a query says, as arguments of the file system; for S3 in the words of pyarrow, which are the ones people know."""
    given = dict(parse_qsl(query))
    if kind not in ("s3", "s3a"):
        return given
    options: dict[str, Any] = {}
    endpoint = given.pop("endpoint_override", None)
    protocol = given.pop("scheme", "https")
    if endpoint:
        options["endpoint_url"] = endpoint if is_uri(endpoint) else f"{protocol}://{endpoint}"
    region = given.pop("region", None)
    if region:
        options["client_kwargs"] = {"region_name": region}
    for name, argument in (("access_key", "key"), ("secret_key", "secret"), ("session_token", "token")):
        if name in given:
            options[argument] = given.pop(name)
    if given.pop("anonymous", "false").lower() in ("1", "true"):
        options["anon"] = True
    return {**options, **given}


def excluded(patterns: Sequence[str] | None) -> Callable[[str], bool]:
    """Whether a path in the tree matches one of the patterns (``*`` matches "/", too); a folder's name covers what is in it."""
    if not patterns:
        return lambda name: False
    wanted = [pattern.rstrip("/").removeprefix("./") for pattern in patterns]
    return lambda name: any(
        fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(os.path.basename(name), pattern) for pattern in wanted
    )


def upload_files(
    directory: str,
    uri: str,
    names: Iterable[str],
    given_up: Callable[[], bool] = lambda: False,
    copied: list[str] | None = None,
) -> list[str]:
    """Copy files of a directory, by their paths in it, to the same paths below ``uri``; gives those that were copied.

    A file that is gone by the time that it is its turn is left out. No further one is begun when ``given_up()``. ``copied`` gets
    the names as they are done, so that the caller knows them after an error, too.
    """
    filesystem, base = open_uri(uri)
    names = list(names)
    with _failing(f"making {uri}"):
        for folder in sorted({os.path.dirname(name) for name in names} | {""}):
            filesystem.makedirs(_below(base, folder), exist_ok=True)

    done: list[str] = [] if copied is None else copied

    def upload(name: str) -> None:
        source = os.path.join(directory, name)
        if given_up() or not os.path.exists(source):
            return
        try:
            with _failing(f"copying {source} to {uri}"):
                _put(filesystem, source, _below(base, name))
        except StorageError:
            if not os.path.exists(source):
                return
            raise
        done.append(name)

    _each(upload, names)
    return done


def _put(filesystem: Any, source: str, target: str) -> None:
    if getattr(filesystem, "local_file", False) or _is_local(filesystem):
        with written_whole(target) as temporary:  # others show an object when all of it is there
            shutil.copyfile(source, temporary)
            shutil.copymode(source, temporary)
    else:
        filesystem.put_file(source, target)


def _is_local(filesystem: Any) -> bool:
    protocol = filesystem.protocol
    return "file" in ((protocol,) if isinstance(protocol, str) else protocol)


def download_dir(
    uri: str,
    directory: str,
    exclude: Sequence[str] | None = None,
    given_up: Callable[[], bool] = lambda: False,
    only_changed: bool = False,
) -> list[str]:
    """Copy all files below ``uri`` into a directory; gives their paths in it.

    ``only_changed``: not those that are here already, with the same size, and newer.

    Raises:
        CheckpointNotFoundError: there is nothing at ``uri``.
        StorageError: copying failed, or the name of a file leads out of the directory.
    """
    skip = excluded(exclude)
    times = list_times(uri)
    if not times and not exists(uri):
        raise CheckpointNotFoundError(f"there is nothing at {uri}")
    found = [name for name in times if not _skipped(name, skip)]
    for name in found:
        if ".." in name.split("/"):
            raise StorageError(f"{uri} holds a file named {name!r}, which would be written outside of {directory}")
    if only_changed:
        found = [name for name in found if not _is_here(os.path.join(directory, name), times[name])]
    os.makedirs(directory, exist_ok=True)
    for folder in {os.path.dirname(name) for name in found}:
        os.makedirs(os.path.join(directory, folder), exist_ok=True)

    def download(name: str) -> None:
        if not given_up():
            download_file(uri, name, os.path.join(directory, name))

    _each(download, found)
    return found


def download_file(uri: str, name: str, target: str) -> None:
    """Copy one file below ``uri`` to the path ``target``."""
    filesystem, base = open_uri(uri)
    with _failing(f"copying {name} from {uri} to {target}"), written_whole(target) as temporary:
        filesystem.get_file(_below(base, name), temporary)


def _skipped(name: str, skip: Callable[[str], bool]) -> bool:
    parts = name.split("/")
    return any(skip("/".join(parts[: index + 1])) for index in range(len(parts)))


def _is_here(path: str, there: tuple[int, float] | None) -> bool:
    if there is None or not os.path.isfile(path):
        return False
    status = os.stat(path)
    return status.st_size == there[0] and status.st_mtime - CLOCK_SKEW_S >= there[1] > 0


def list_files(uri: str) -> dict[str, int]:
    """All files below ``uri``: path below it, and size. {} when there are none."""
    return {name: int(entry.get("size") or 0) for name, entry in _find(uri).items()}


def list_times(uri: str) -> dict[str, tuple[int, float]]:
    """All files below ``uri``: path below it, size, and when it was changed, in seconds (0 when nobody knows)."""
    return {name: (int(entry.get("size") or 0), _time_of(entry)) for name, entry in _find(uri).items()}


def _time_of(entry: dict[str, Any]) -> float:
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = entry.get(key)
        if isinstance(value, (int, float)):
            return float(value)
        if value is not None and hasattr(value, "timestamp"):
            return float(value.timestamp())
    return 0.0


def _find(uri: str) -> dict[str, dict[str, Any]]:
    filesystem, base = open_uri(uri)
    prefix = base.rstrip("/") + "/"
    with _failing(f"listing {uri}"):
        try:
            filesystem.invalidate_cache()
            entries = filesystem.find(base, detail=True)
        except FileNotFoundError:
            return {}
    return {
        _strip(filesystem, name, prefix): entry
        for name, entry in sorted(entries.items())
        if entry.get("type") != "directory" and len(name) > len(base)
    }


def _strip(filesystem: Any, name: str, prefix: str) -> str:
    if name.startswith(prefix):
        return name[len(prefix) :]
    return name.lstrip("/")[len(prefix.lstrip("/")) :]


def exists(uri: str) -> bool:
    """Whether there is anything at ``uri``."""
    filesystem, path = open_uri(uri)
    with _failing(f"looking at {uri}"):
        filesystem.invalidate_cache()
        return bool(filesystem.exists(path))


def delete(uri: str) -> bool:
    """Delete ``uri`` and all below it; False when there was nothing."""
    filesystem, path = open_uri(uri)
    if not exists(uri):
        return False
    with _failing(f"deleting {uri}"):
        filesystem.rm(path, recursive=True)
    return True


def delete_file(uri: str, name: str) -> None:
    """Delete one file below ``uri``, if it is there."""
    filesystem, base = open_uri(uri)
    with _failing(f"deleting {name} at {uri}"):
        try:
            filesystem.rm_file(_below(base, name))
        except FileNotFoundError:
            pass


def local_files(directory: str, exclude: Sequence[str] | None = None) -> dict[str, tuple[int, int]]:
    """The files of a directory: path in it, and (size, time of change in ns). Links count as what they point to."""
    found = {}
    for entry in walk(directory, excluded(exclude)):
        if not entry.is_dir and os.path.isfile(entry.path):
            status = os.stat(entry.path)
            # ctime, too: a file that was put in the place of another may be older than the copy of that one.
            found[entry.name] = (status.st_size, max(status.st_mtime_ns, status.st_ctime_ns))
    return found


def living_files(directory: str, exclude: Sequence[str] | None = None) -> dict[str, tuple[int, int]]:
    """As :func:`local_files`, of a directory that others write in: what vanishes meanwhile, and what is no file, is left out."""
    skip = excluded(exclude)
    found: dict[str, tuple[int, int]] = {}
    waiting: list[tuple[str, tuple[str, ...]]] = [("", ())]
    while waiting:
        prefix, outer = waiting.pop()
        folder = os.path.realpath(os.path.join(directory, prefix))
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            continue
        for entry in entries:
            name = prefix + entry.name
            if skip(name):
                continue
            with contextlib.suppress(FileNotFoundError):
                if entry.is_dir():
                    if not entry.is_symlink() or os.path.realpath(entry.path) not in (*outer, folder):
                        waiting.append((name + "/", (*outer, folder)))
                elif entry.is_file():
                    status = entry.stat()
                    found[name] = (status.st_size, max(status.st_mtime_ns, status.st_ctime_ns))
    return dict(sorted(found.items()))


def _below(base: str, name: str) -> str:
    return f"{base.rstrip('/')}/{name}" if name else base


def _each(function: Callable[[str], None], names: list[str]) -> None:
    if len(names) < 3:
        for name in names:
            function(name)
        return
    with ThreadPoolExecutor(min(THREADS, len(names)), thread_name_prefix="aktis-transfer") as pool:
        pending = [pool.submit(function, name) for name in names]
        try:
            for future in pending:
                future.result()
        finally:
            for future in pending:  # after a failure: no use in copying the rest
                future.cancel()


@contextlib.contextmanager
def _failing(doing: str) -> Iterator[None]:
    try:
        yield
    except (StorageError, CheckpointNotFoundError):
        raise
    except Exception as error:
        raise StorageError(f"{doing} failed: {type(error).__name__}: {error}") from error
