"""Files and folders that nobody ever sees half written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


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
def folder_made_whole(target: str) -> Iterator[str]:
    """A folder to fill, which becomes ``target`` when the block ends well. A ``target`` with files in it is filled itself."""
    if os.path.isdir(target) and os.listdir(target):
        yield target
        return
    import shutil
    import tempfile

    parent = os.path.dirname(os.path.abspath(target))
    os.makedirs(parent, exist_ok=True)
    temporary = tempfile.mkdtemp(
        prefix=f".{os.path.basename(os.path.abspath(target))[:100]}.", suffix=".tmp", dir=parent
    )
    try:
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o777 & ~umask)  # like any other new folder
        yield temporary
        os.rename(temporary, os.path.abspath(target))
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
