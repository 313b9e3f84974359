"""Files and folders that nobody ever sees half written, and folders that are this user's alone.

What is written goes to a temporary path beside the real one, ``.NAME.PID-RANDOM.tmp``, and gets its name in one step: readers,
and a run after a crash, find the old content or the new one. The temporary path is removed when writing fails; what a killed
process leaves has a name that uploads and listings pass over.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

_CANNOT_SYNC = (errno.EINVAL, errno.EOPNOTSUPP)


@contextlib.contextmanager
def written_whole(path: str | os.PathLike[str], *, durable: bool = False, mode: int | None = None) -> Iterator[str]:
    """A temporary path beside ``path``; what was written there gets its name when the block ends well.

    Args:
        path: The file, or what takes its place.
        durable: Whether it is on the disk by then, so that it outlives a machine that loses its power, too.
        mode: Permissions of the file. Those of any other new file, if not given.
    """
    path = os.fspath(path)
    temporary = _temporary(path)
    try:
        if mode is not None:
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        yield temporary
        if durable:
            sync(temporary)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    if durable:
        sync(os.path.dirname(path) or os.curdir)


def write_whole(
    path: str | os.PathLike[str], data: str | bytes, *, durable: bool = False, mode: int | None = None
) -> None:
    """Write a file by :func:`written_whole`; text in UTF-8."""
    with written_whole(path, durable=durable, mode=mode) as temporary, open(temporary, "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def folder_made_whole(target: str | os.PathLike[str], merge: Callable[[str, str], None] | None = None) -> Iterator[str]:
    """A folder to fill, which becomes ``target`` when the block ends well.

    If there is a ``target`` with files in it by then, ``merge(folder, target)`` is called instead; what it leaves in ``folder`` is
    removed.
    """
    target = os.path.abspath(target)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    temporary = _temporary(target)
    os.mkdir(temporary)
    try:
        yield temporary
        try:
            os.rename(temporary, target)
        except OSError as error:
            if merge is None or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            merge(temporary, target)
            _remove(temporary)
    except BaseException:
        _remove(temporary)
        raise


def keep_the_other(folder: str, target: str) -> None:
    """A ``merge`` of :func:`folder_made_whole` for folders that are the same whoever makes them: the first one stays."""


def _temporary(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name[:100]}.{os.getpid()}-{os.urandom(4).hex()}.tmp")


def _remove(path: str) -> None:
    import shutil

    shutil.rmtree(path, ignore_errors=True)


def sync(path: str) -> None:
    """Bring a file's content, or a folder's entries, to the disk; nothing on file systems that cannot."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:  # a broken or full disk counts
            raise
    finally:
        os.close(descriptor)


def is_private(folder: str | os.PathLike[str]) -> bool:
    """Whether it is a folder of this user's, no link to one, which nobody else can write to."""
    facts = os.lstat(folder)
    is_ours = not hasattr(os, "getuid") or (facts.st_uid == os.getuid() and not facts.st_mode & 0o022)
    return stat.S_ISDIR(facts.st_mode) and is_ours  # without users, as on Windows, folders are the profile's


def private_folder(path: str | os.PathLike[str], way_out: str = "set TMPDIR to a directory of your own") -> Path:
    """A folder that only this user can write to, made if there is none: what is read from there is not somebody else's.

    Args:
        path: The folder.
        way_out: What the error names as another way than to remove the folder.

    Raises:
        PermissionError: there is something else, of somebody else, or open to others.
    """
    folder = Path(path)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not is_private(folder):
        raise PermissionError(f"{folder} is not a directory that only this user can write to: remove it, or {way_out}")
    return folder
