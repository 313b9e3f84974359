"""Files and folders that nobody ever sees half written."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def written_whole(path: str) -> Iterator[str]:
    """A temporary path beside ``path``; what was written there gets its name when the block ends well."""
    temporary = os.path.join(
        os.path.dirname(path), f".{os.path.basename(path)[:100]}.{os.getpid()}-{os.urandom(4).hex()}.tmp"
    )
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def folder_made_whole(target: str, merge: Callable[[str, str], None] | None = None) -> Iterator[str]:
    """A folder to fill, which becomes ``target`` when the block ends well.

    If there is a ``target`` with files in it by then, ``merge(folder, target)`` is called instead.
    """
    target = os.path.abspath(target)
    parent, name = os.path.split(target)
    os.makedirs(parent, exist_ok=True)
    temporary = os.path.join(parent, f".{name[:100]}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
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


def _remove(path: str) -> None:
    import shutil

    shutil.rmtree(path, ignore_errors=True)


def move_tree(source: str, target: str, skip: Callable[[str], bool]) -> None:
    """Put the files of a folder into another one on the same file system, each at once."""
    for folder, names, files in os.walk(source):
        place = os.path.join(target, os.path.relpath(folder, source))
        links = [name for name in names if os.path.islink(os.path.join(folder, name))]
        for name in set(names) - set(links):
            os.makedirs(os.path.join(place, name), exist_ok=True)
        for name in files + links:
            path = os.path.join(folder, name)
            if not skip(os.path.relpath(path, source)):
                os.replace(path, os.path.join(place, name))
