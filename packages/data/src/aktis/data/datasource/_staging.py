"""Files that nobody sees until all of them are there.

::

    target/                                    driver: open()    the hidden folder, whose name says who made it
    └── .aktis-staging-OWNER.TOKEN/            tasks:  task()    each run of a task has a folder of its own in it
        ├── commit.json    while renaming      driver: commit()  renames, or discard()
        └── 000007-RANDOM/000000               the first file of task 7

What readers find in the target, if the writing process is killed:

- while tasks write: what was there before. The next write to the same target takes the hidden folder away.
- while an append is committed: each file is there wholly or not at all. ``commit.json`` was written before the first rename,
  so the next write to the same target brings the commit to its end before it does anything else.
- while an overwrite is committed, on local Linux file systems: all old files, or all new ones. The new files are collected in a
  folder beside the target, and the two folders change places in one step (``renameat2`` with ``RENAME_EXCHANGE``).
- while an overwrite is committed elsewhere: first all new files are moved in, then the old ones are deleted, so that at
  each moment at least one of the two is complete; the next write ends what was begun.

Object stores have no renames: "moving" a file there is a copy by the store, which shows the object when it is complete, and a
deletion. That costs requests, but no transfers.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import posixpath
import shutil
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pyarrow import fs as pafs

from aktis.data.exceptions import WriteError
from aktis.util.files import sync
from aktis.util.processes import is_alive, started

PREFIX = ".aktis-staging-"
_SWAP = ".aktis-swap-"
_COMMIT = "commit.json"
_GONE = ".gone"  # end of the name of a staging folder that is being deleted
_FOREIGN_AGE = 24 * 3600.0  # seconds after which the folder of a writer on another machine is taken for abandoned


class SaveMode(str, Enum):
    """What a write does when the target is there already."""

    APPEND = "append"  # add files
    OVERWRITE = "overwrite"  # replace everything in the folder
    IGNORE = "ignore"  # do nothing
    ERROR = "error"  # raise TargetExistsError

    @classmethod
    def of(cls, mode: SaveMode | str) -> SaveMode:
        """The mode itself, or the one with this name."""
        try:
            return cls(mode.lower() if isinstance(mode, str) else mode)
        except ValueError:
            known = ", ".join(repr(m.value) for m in cls)
            raise ValueError(f"mode is a SaveMode or one of {known}, got {mode!r}") from None


class TargetExistsError(WriteError, FileExistsError, ValueError):
    """``mode=SaveMode.ERROR``, and there is something at the target."""


def write_error(message: str, cause: BaseException | None = None) -> WriteError:
    """A :class:`WriteError` with the error number of its cause."""
    error = WriteError(message if cause is None else f"{message}: {describe(cause)}")
    if isinstance(cause, OSError) and cause.errno is not None:
        error.errno = cause.errno  # strerror stays None, or the message would be lost
    error.__cause__ = cause
    return error


def describe(cause: BaseException) -> str:
    """The error in one line."""
    text = str(cause).strip() or type(cause).__name__
    return text if isinstance(cause, OSError) else f"{type(cause).__name__}: {text}"


def is_hidden(name: str) -> bool:
    """Whether readers pass over files and folders with this name."""
    return name.startswith((".", "_"))


@dataclass(frozen=True)
class Move:
    """One step of a commit. Paths are relative: to the staging folder, and to the target."""

    staged: str
    final: str


@dataclass
class Staging:
    """A hidden folder in the target of a write. Pickled to the tasks."""

    filesystem: pafs.FileSystem
    target: str
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    owner: str = field(default_factory=lambda: _sign())
    created_target: bool = False

    @property
    def signature(self) -> str:
        """Who writes, and which write it is."""
        return f"{self.owner}.{self.token}"

    @property
    def root(self) -> str:
        return posixpath.join(self.target, PREFIX + self.signature)

    @property
    def local(self) -> bool:
        return isinstance(self.filesystem, pafs.LocalFileSystem)

    def open(self, *, create_target: bool) -> None:
        """Make the folder, and the target if need be."""
        info = self.filesystem.get_file_info(self.target)
        if info.type == pafs.FileType.File:
            raise write_error(f"cannot write to {self.target!r}: it is a file, and a folder is needed")
        if info.type == pafs.FileType.NotFound:
            if not create_target and self.local:
                raise write_error(
                    f"cannot write to {self.target!r}: there is no such folder, and try_create_dir is False"
                )
            self.created_target = True
        self.filesystem.create_dir(self.root, recursive=True)

    def task(self, index: int) -> StagedTask:
        """In a task: a folder for its files."""
        name = f"{index:06}-{uuid.uuid4().hex[:12]}"
        # Not recursive: when the write has been aborted, nothing may come up again.
        self.filesystem.create_dir(posixpath.join(self.root, name), recursive=False)
        return StagedTask(self.filesystem, self.root, name)

    def commit(self, moves: Sequence[Move], *, overwrite: bool) -> None:
        """Make the files visible under their final names; with ``overwrite``, instead of all that is in the target.

        Raises:
            WriteError: nothing of the new files is visible.
        """
        if overwrite and self.local and _exchange_commit(self, moves):
            return
        files = self.filesystem
        finals = {move.final for move in moves}
        old = [path for path in _listing(files, self.target) if path not in finals] if overwrite else []
        plan = {"moves": [[move.staged, move.final] for move in moves], "delete": old}
        pending = posixpath.join(self.root, _COMMIT + ".tmp")
        manifest = posixpath.join(self.root, _COMMIT)
        write_file(files, pending, json.dumps(plan).encode())
        files.move(pending, manifest)
        done: list[str] = []
        try:
            for move in moves:
                done.append(move.final)
                self._move(move)
        except BaseException as error:
            self._roll_back(manifest, done, moves)
            if isinstance(error, Exception):
                raise write_error(f"cannot write {posixpath.join(self.target, done[-1])!r}", error) from error
            raise
        _delete_all(files, self.target, old)
        if self.local:
            for folder in {posixpath.dirname(posixpath.join(self.target, move.final)) for move in moves}:
                sync(folder)
        self.discard()

    def _move(self, move: Move) -> None:
        final = posixpath.join(self.target, move.final)
        if "/" in move.final:
            self.filesystem.create_dir(posixpath.dirname(final), recursive=True)
        self.filesystem.move(posixpath.join(self.root, move.staged), final)

    def _roll_back(self, manifest: str, done: list[str], moves: Sequence[Move]) -> None:
        """Hide what was made visible. A file of the same name that was there before cannot be brought back."""
        with contextlib.suppress(OSError):
            self.filesystem.delete_file(manifest)  # first: nobody shall bring this commit to its end
        for move in moves[: len(done)]:
            staged = posixpath.join(self.root, move.staged)
            if self.filesystem.get_file_info(staged).type == pafs.FileType.NotFound:
                with contextlib.suppress(OSError):
                    self.filesystem.delete_file(posixpath.join(self.target, move.final))

    def discard(self) -> None:
        """Take away the hidden folder with all that is in it, and the target if it was made for nothing."""
        with contextlib.suppress(OSError):
            if self.local:  # renamed first: tasks that are still at work cannot put anything there any more
                gone = self.root + _GONE
                os.rename(self.root, gone)
                _remove(gone)
            else:
                self.filesystem.delete_dir(self.root)
        if self.created_target:
            with contextlib.suppress(OSError):
                selector = pafs.FileSelector(self.target, allow_not_found=True)
                if not self.filesystem.get_file_info(selector):
                    self.filesystem.delete_dir(self.target)


@dataclass
class StagedTask:
    """The files of one run of a task."""

    filesystem: pafs.FileSystem
    root: str
    name: str
    count: int = 0

    @contextlib.contextmanager
    def file(self, *, compression: str | None, **open_args: Any) -> Iterator[StagedFile]:
        """A new file to write to. When the block ends, it is on the disk."""
        relative = f"{self.name}/{self.count:06}"
        self.count += 1
        path = posixpath.join(self.root, relative)
        stream = self.filesystem.open_output_stream(path, compression=compression, **open_args)
        try:
            staged = StagedFile(relative, stream)
            yield staged
        except BaseException:
            with contextlib.suppress(Exception):  # a full disk fails here once more
                stream.close()
            raise
        stream.close()
        if isinstance(self.filesystem, pafs.LocalFileSystem):
            sync(path)
            staged.size = os.path.getsize(path)

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self.filesystem.delete_dir(posixpath.join(self.root, self.name))


@dataclass
class StagedFile:
    path: str  # relative to the staging folder
    stream: Any  # pyarrow.NativeFile
    size: int = 0  # bytes on disk, where that is known


def write_file(filesystem: pafs.FileSystem, path: str, data: bytes) -> None:
    """A small file, durable on local file systems."""
    with filesystem.open_output_stream(path, compression=None) as stream:
        stream.write(data)
    if isinstance(filesystem, pafs.LocalFileSystem):
        sync(path)


def _remove(folder: str) -> None:
    """Delete a local folder, even if a system call of a task, begun before, still puts something into it."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return
        time.sleep(0.005)


def _listing(filesystem: pafs.FileSystem, target: str) -> list[str]:
    """All files in the target, relative, without those of writes that go on."""
    infos = filesystem.get_file_info(pafs.FileSelector(target, recursive=True, allow_not_found=True))
    base = target.rstrip("/") + "/"
    paths = [info.path.removeprefix(base) for info in infos if info.type == pafs.FileType.File]
    return [path for path in paths if not path.startswith(PREFIX)]


def _delete_all(filesystem: pafs.FileSystem, target: str, old: Sequence[str]) -> None:
    """Delete files, and folders that are empty then."""
    for relative in old:
        try:
            filesystem.delete_file(posixpath.join(target, relative))
        except FileNotFoundError:
            pass
    folders: set[str] = set()
    for relative in old:
        while relative := posixpath.dirname(relative):
            folders.add(relative)
    for relative in sorted(folders, key=len, reverse=True):
        path = posixpath.join(target, relative)
        with contextlib.suppress(OSError):
            if not filesystem.get_file_info(pafs.FileSelector(path)):
                filesystem.delete_dir(path)


# --------------------------------------------------------------------------------------- what dead writers have left


@functools.cache
def _place() -> str:
    """Where process ids mean the same: this machine since it was started, this container. A short digest."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as stream:
        parts.append(stream.read().strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]


def _sign() -> str:
    """Who and when: part of the name of a staging folder, so that it is signed in the moment that it is made."""
    pid = os.getpid()
    return f"{_place()}.{pid}.{started(pid) or 0}.{int(time.time())}"


def _is_alive(signature: str) -> bool:
    """Whether the writer with this :attr:`Staging.signature` may still be at work."""
    try:
        place, pid, birth, when = signature.split(".")[:4]
        number, made = int(pid), int(when)
    except ValueError:
        return False  # not from here
    if place != _place():
        return time.time() - made < _FOREIGN_AGE
    return is_alive(number) and str(started(number) or 0) == birth


def sweep(filesystem: pafs.FileSystem, target: str) -> None:
    """End what writers that are dead have begun in this target: commits are completed, other leftovers deleted.

    Raises:
        WriteError: an interrupted commit cannot be completed.
    """
    for folder in _staging_folders(filesystem, target):
        if not folder.rstrip("/").endswith(_GONE) and _is_alive(_signature(folder)):
            continue
        try:
            _roll_forward(filesystem, target, folder)
        except OSError as error:
            raise write_error(
                f"cannot complete an earlier write to {target!r}, which was interrupted", error
            ) from error
    if isinstance(filesystem, pafs.LocalFileSystem):
        _sweep_swaps(target)


def _signature(folder: str) -> str:
    return posixpath.basename(folder.rstrip("/")).removeprefix(PREFIX)


def _staging_folders(filesystem: pafs.FileSystem, target: str) -> list[str]:
    selector = pafs.FileSelector(target, allow_not_found=True)
    try:
        infos = filesystem.get_file_info(selector)
    except NotADirectoryError:
        return []
    return [info.path for info in infos if posixpath.basename(info.path.rstrip("/")).startswith(PREFIX)]


def _roll_forward(filesystem: pafs.FileSystem, target: str, folder: str) -> None:
    if folder.rstrip("/").endswith(_GONE):
        filesystem.delete_dir(folder)
        return
    owner, _, token = _signature(folder).rpartition(".")
    staging = Staging(filesystem, target, token, owner)
    try:
        with filesystem.open_input_stream(posixpath.join(folder, _COMMIT), compression=None) as stream:
            plan = json.loads(stream.read())
    except (FileNotFoundError, ValueError):
        staging.discard()
        return
    for staged, final in plan["moves"]:
        if filesystem.get_file_info(posixpath.join(folder, staged)).type == pafs.FileType.File:
            staging._move(Move(staged, final))
    _delete_all(filesystem, target, plan["delete"])
    staging.discard()


# ------------------------------------------------------------------------ overwriting in one step, on local file systems


def _swap_path(target: str, signature: str) -> str:
    parent, name = os.path.split(target.rstrip("/"))
    return os.path.join(parent, f".{name}{_SWAP}{signature}")


def _sweep_swaps(target: str) -> None:
    parent, name = os.path.split(target.rstrip("/"))
    prefix = f".{name}{_SWAP}"
    try:
        entries = os.listdir(parent or ".")
    except OSError:
        return
    for entry in entries:
        if entry.startswith(prefix) and not _is_alive(entry.removeprefix(prefix)):
            shutil.rmtree(os.path.join(parent, entry), ignore_errors=True)


def _exchange_commit(staging: Staging, moves: Sequence[Move]) -> bool:
    """Overwrite the target in one atomic step. False, and nothing has changed: that is not possible here."""
    target = staging.target.rstrip("/")
    if len(_staging_folders(staging.filesystem, target)) != 1 or not _may_exchange(target):
        return False
    swap = _swap_path(target, staging.signature)
    moved: list[tuple[str, str]] = []
    try:
        os.mkdir(swap)
        shutil.copymode(target, swap)
        folders = {swap}
        for move in moves:
            source, final = os.path.join(staging.root, move.staged), os.path.join(swap, move.final)
            os.makedirs(os.path.dirname(final), exist_ok=True)
            os.rename(source, final)
            moved.append((source, final))
            folders.add(os.path.dirname(final))
        for folder in folders:
            sync(folder)
        _exchange(swap, target)
    except BaseException as error:
        for source, final in moved:
            with contextlib.suppress(OSError):
                os.rename(final, source)
        shutil.rmtree(swap, ignore_errors=True)
        if isinstance(error, OSError):
            return False
        raise
    sync(os.path.dirname(target) or ".")
    shutil.rmtree(swap, ignore_errors=True)  # holds what was in the target, our staging folder included
    return True


def _may_exchange(target: str) -> bool:
    parent = os.path.dirname(target)
    try:
        ours, above = os.stat(target), os.stat(parent)
    except OSError:
        return False
    same_owner = ours.st_uid == os.geteuid() and ours.st_gid == os.getegid()
    return same_owner and ours.st_dev == above.st_dev and not os.path.ismount(target) and os.access(parent, os.W_OK)


def _exchange(first: str, second: str) -> None:
    """Two folders change places, atomically. OSError where the system or the file system cannot do that."""
    import ctypes

    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError) as error:
        raise OSError(38, "no renameat2 here") from error
    here = ctypes.c_int(-100)  # AT_FDCWD
    if renameat2(here, os.fsencode(first), here, os.fsencode(second), ctypes.c_uint(2)):  # RENAME_EXCHANGE
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), first)
