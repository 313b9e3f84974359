"""Temporary directories that the holders of one checkpoint share, on one machine, over processes.

::

    <temporary directory>/aktis_checkpoints_<uid>/
        <key>/         the directory, made whole by whoever comes first
        <key>.lock     holders have it locked shared; who makes or removes the directory, exclusively

Guarantees: the directory is there as long as anyone holds it; the last one to let go removes it. A process that is killed lets
go by itself (the kernel drops its locks), and what it leaves is removed by the next one that comes along.

Lock files are unlinked with their directories, so whoever got a lock checks that its file is still the one of that name.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator

from aktis.util.files import folder_made_whole, private_folder


def root() -> str:
    """Where these directories are."""
    return str(private_folder(os.path.join(tempfile.gettempdir(), f"aktis_checkpoints_{os.getuid()}")))


@contextlib.contextmanager
def shared(key: str, fill: Callable[[str], None]) -> Iterator[str]:
    """The directory of ``key``; ``fill(path)`` is called to make it, if nobody has it yet."""
    top = root()
    path = os.path.join(top, key)
    lock = os.path.join(top, f"{key}.lock")
    held = _hold(path, lock, fill, top)
    try:
        yield path
    finally:
        _let_go(held, path, lock)


def _hold(path: str, lock: str, fill: Callable[[str], None], top: str) -> int:
    """Lock shared, with the directory there."""
    while True:
        held = _locked(lock, fcntl.LOCK_SH)
        if os.path.isdir(path):
            return held
        os.close(held)
        # Not waited for: by now others may hold it with the directory there, for as long as they like.
        try:
            held = _locked(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.001)
            continue
        try:
            if not os.path.isdir(path):
                _sweep(top)
                with folder_made_whole(path) as directory:
                    fill(directory)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(lock)
            os.close(held)
            raise
        # Not simply downgraded: flock does that in two steps, and somebody may remove the directory in between. So again.
        os.close(held)


def _let_go(held: int, path: str, lock: str) -> None:
    fcntl.flock(held, fcntl.LOCK_UN)  # and not by closing alone: a forked child may have the descriptor, too
    os.close(held)
    remove_unless_held(path, lock)


def remove_unless_held(path: str, lock: str) -> None:
    """Remove a directory that nobody holds, and its lock file."""
    try:
        mine = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_current(mine, lock):
            shutil.rmtree(path, ignore_errors=True)
            os.unlink(lock)
    except BlockingIOError:
        pass  # somebody holds it
    finally:
        os.close(mine)


def _locked(lock: str, how: int) -> int:
    while True:
        held = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, how)
        except BlockingIOError:
            os.close(held)
            raise
        if _is_current(held, lock):
            return held
        os.close(held)


def _is_current(held: int, lock: str) -> bool:
    try:
        there = os.stat(lock)
    except FileNotFoundError:
        return False
    mine = os.fstat(held)
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def _sweep(top: str) -> None:
    """Remove what killed processes left."""
    for name in os.listdir(top):
        path = os.path.join(top, name)
        if name.endswith(".lock"):
            remove_unless_held(path.removesuffix(".lock"), path)
        elif name.startswith(".") and name.endswith(".tmp") and _is_abandoned(top, name[1:].partition(".")[0]):
            shutil.rmtree(path, ignore_errors=True)


def _is_abandoned(top: str, key: str) -> bool:
    """Whether nobody is about to make the directory of ``key``."""
    try:
        mine = os.open(os.path.join(top, f"{key}.lock"), os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(mine, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(mine)
    return True
