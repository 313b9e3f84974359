"""The node daemon's side of the store: the ledger's decisions turned into replies, files and copies to disk.

Threads: everything runs in the daemon's one thread and does not block, but for copies to the spill directory, which a
thread of their own makes, one after the other. It is started with the first one. Work goes to it through a queue;
outcomes come back in a deque, and a byte in a pipe (:meth:`NodeStore.fileno`) wakes the daemon to call
:meth:`NodeStore.poll`.
"""

from __future__ import annotations

import fcntl
import os
import queue
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from aktis._brain.ledger import DeleteSpilled, Outcome, Reply, Spill, StoreLedger
from aktis._store import segment as _segment

StoreReply = tuple[bytes, int, bool, Any]
"""(process id, request, ok, value), to be sent as REPLY. The value is the segment's name, or (kind, text)."""

DISK_LIMIT = 0.95  # of the disk may be in use for us to write to it
_CHUNK = 16 << 20


class _Files:
    """What the ledger asks of the file system."""

    def __init__(self, store_dir: str) -> None:
        self._dir = store_dir

    def hand_over(self, name: str, expected: bytes | None, object_id: bytes) -> Outcome:
        return self._with_lock(name, expected, object_id)

    def delete(self, name: str, expected: bytes | None) -> Outcome:
        return self._with_lock(name, expected, None)

    def _with_lock(self, name: str, expected: bytes | None, object_id: bytes | None) -> Outcome:
        path = os.path.join(self._dir, name)
        try:
            fd = _segment.open_for_writing(path, create=False)
        except FileNotFoundError:
            return Outcome.GONE
        try:
            if not _segment.try_lock(fd, fcntl.LOCK_EX):
                return Outcome.BUSY
            if expected is not None and _segment.read_id(fd) != expected:
                return Outcome.BUSY
            if object_id is not None and os.fstat(fd).st_size >= _segment.capacity_of(name):
                _segment.stamp_id(fd, object_id)
                return Outcome.DONE
            # The memory goes back at once, even if its keeper has it mapped: it looks at the size before it touches it.
            os.ftruncate(fd, 0)
            os.unlink(path)
            return Outcome.DONE if object_id is None else Outcome.GONE
        finally:
            os.close(fd)

    def room(self) -> int:
        status = os.statvfs(self._dir)
        return status.f_bavail * status.f_frsize


class NodeStore:
    """To be used by one thread. Every ``handle_...`` and :meth:`poll` returns the replies that have become ready."""

    def __init__(self, store_dir: str, spill_dir: str, capacity: int, *, grace: float | None = None) -> None:
        self.store_dir = store_dir
        self.spill_dir = spill_dir
        os.makedirs(store_dir, mode=0o700, exist_ok=True)
        self._ledger = StoreLedger(capacity, _Files(store_dir))
        if grace is not None:
            self._ledger.grace = grace
        self._work: queue.SimpleQueue[Spill | None] = queue.SimpleQueue()
        self._outcomes: deque[tuple[Spill, str | None]] = deque()
        self._thread: threading.Thread | None = None
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    # events -------------------------------------------------------------------------------------------------------

    def handle_alloc(self, process_id: bytes, request: int, size: int, object_id: bytes) -> list[StoreReply]:
        """STORE_ALLOC. The answer comes at once, or out of a later call when there is no room now."""
        self._ledger.allocate(process_id, request, size, object_id, time.monotonic())
        return self._act()

    def handle_sealed(self, process_id: bytes, items: Iterable[tuple[bytes, str, int]]) -> list[StoreReply]:
        """STORE_SEALED."""
        now = time.monotonic()
        for object_id, name, size in items:
            self._ledger.sealed(process_id, object_id, name, size, now)
        return self._act()

    def handle_freed(self, process_id: bytes, object_ids: Iterable[bytes]) -> list[StoreReply]:
        """STORE_FREED."""
        now = time.monotonic()
        for object_id in object_ids:
            self._ledger.freed(process_id, object_id, now)
        self._ledger.tick(now)
        return self._act()

    def process_gone(self, process_id: bytes) -> list[StoreReply]:
        self._ledger.process_gone(process_id, time.monotonic())
        return self._act()

    def poll(self, now: float | None = None) -> list[StoreReply]:
        """Take note of what the spill thread did, and of the time."""
        now = time.monotonic() if now is None else now
        self._drain()
        while self._outcomes:
            work, problem = self._outcomes.popleft()
            if problem is None:
                self._ledger.spilled(work.object_id, work.segment, now)
            else:
                self._ledger.spill_failed(work.object_id, problem, now)
        self._ledger.tick(now)
        return self._act()

    def next_poll(self, now: float | None = None) -> float | None:
        """In how many seconds to poll although :meth:`fileno` is silent; None: no need."""
        return self._ledger.next_tick(time.monotonic() if now is None else now)

    def fileno(self) -> int:
        """Readable when a poll is due (a copy to disk has ended)."""
        return self._wake_read

    def has_object(self, object_id: bytes) -> bool:
        return object_id in self._ledger.objects

    def stats(self) -> dict[str, int]:
        ledger = self._ledger
        return {
            "capacity": ledger.capacity,
            "used": ledger.used - ledger.pooled,
            "pooled": ledger.pooled,
            "objects": len(ledger.objects),
            "spilled_objects": sum(one.spilled for one in ledger.objects.values()),
            "spilled_bytes": ledger.spilled_bytes,
            "waiting": len(ledger.queue),
            "spilling": len(ledger.spilling),
            "busy": bool(ledger.queue or ledger.spilling),
        }

    def objects(self) -> list[dict[str, Any]]:
        """What is in the store, oldest first."""
        return [
            {
                "object_id": one.object_id.hex(),
                "size": one.size,
                "where": "memory" if one.segment is not None else "disk" if one.spilled else "lost",
                "written_by": one.segment.keeper.hex() if one.segment is not None else "",
            }
            for one in self._ledger.objects.values()
        ]

    def close(self) -> None:
        """Stop spilling and delete all files of the store; readers keep what they have mapped."""
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()
        shutil.rmtree(self.store_dir, ignore_errors=True)
        shutil.rmtree(self.spill_dir, ignore_errors=True)
        os.close(self._wake_read)
        os.close(self._wake_write)

    # commands -----------------------------------------------------------------------------------------------------

    def _act(self) -> list[StoreReply]:
        replies: list[StoreReply] = []
        for command in self._ledger.take_commands():
            if isinstance(command, Reply):
                replies.append((command.process_id, command.request, command.ok, command.value))
            elif isinstance(command, DeleteSpilled):
                _unlink(self._spill_path(command.object_id))
            else:
                self._start_spill(command)
        return replies

    def _start_spill(self, work: Spill) -> None:
        if self._thread is None:
            os.makedirs(self.spill_dir, mode=0o700, exist_ok=True)
            self._thread = threading.Thread(target=self._spill_loop, name="aktis-spill", daemon=True)
            self._thread.start()
        self._work.put(work)

    def _spill_path(self, object_id: bytes) -> str:
        return os.path.join(self.spill_dir, object_id.hex())

    def _drain(self) -> None:
        try:
            while os.read(self._wake_read, 4096):
                pass
        except BlockingIOError:
            pass

    # the spill thread ---------------------------------------------------------------------------------------------

    def _spill_loop(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                problem = self._copy(work)
            except OSError as error:
                problem = f"{error.strerror or error} ({self.spill_dir})"
            self._outcomes.append((work, problem))
            try:
                os.write(self._wake_write, b"\0")
            except BlockingIOError:  # full of bytes that say the same
                pass

    def _copy(self, work: Spill) -> str | None:
        """Copy a segment to disk. None when it is done, "" when it is not there any more, else what the problem is."""
        status = os.statvfs(self.spill_dir)
        free = status.f_bavail * status.f_frsize - work.size
        if free < (1 - DISK_LIMIT) * status.f_blocks * status.f_frsize:
            return f"the disk of {self.spill_dir} would be more than {DISK_LIMIT:.0%} full"
        try:
            source = os.open(os.path.join(self.store_dir, work.segment), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return ""
        path = self._spill_path(work.object_id)
        temporary = f"{path}.part"
        try:
            if not _segment.try_lock(source, fcntl.LOCK_SH) or _segment.read_id(source) != work.object_id:
                return ""
            target = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                _copy_file(source, target, work.size)
            finally:
                os.close(target)
            os.rename(temporary, path)
        except OSError:
            _unlink(temporary)
            raise
        finally:
            os.close(source)
        return None


def _copy_file(source: int, target: int, size: int) -> None:
    position = 0
    while position < size:
        try:
            sent = os.sendfile(target, source, position, min(_CHUNK, size - position))
        except OSError:
            if position:
                raise
            break  # this system sends to sockets only
        if not sent:
            raise OSError(f"the segment ended after {position} of {size} bytes")
        position += sent
    while position < size:
        part = os.pread(source, min(_CHUNK, size - position), position)
        if not part:
            raise OSError(f"the segment ended after {position} of {size} bytes")
        view = memoryview(part)
        while view:
            view = view[os.write(target, view) :]
        position += len(part)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
