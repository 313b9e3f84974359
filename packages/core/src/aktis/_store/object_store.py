"""The store as a driver or worker sees it: write objects, map them, and use its own dead segments again.

The node says who may have how much memory (``allocate``), and after that it is out of the way. A segment that this
process wrote stays open and mapped here, within bounds. When its object is freed, the next object of that size goes
into the same, warm memory, without a word to the node: the lock and the id in the header (see
:mod:`aktis._store.segment`) decide whether the node was faster and gave the segment to somebody else.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aktis._store import segment as _segment
from aktis.exceptions import AktisError, ObjectStoreFullError, OutOfDiskError

if TYPE_CHECKING:
    from aktis._serialization.values import Packed

Allocate = Callable[[int, bytes], str]

KEPT_SEGMENTS = 8
KEPT_FRACTION = 0.5  # of the store's capacity: the memory is the node's all the same, this is about mappings
ATTEMPTS = 20  # to get a segment that nobody is in the way of


class ObjectMissing(Exception):
    """The object is neither in its segment nor in the spill directory."""

    def __init__(self, object_id: bytes) -> None:
        super().__init__(object_id)
        self.object_id = object_id

    def __str__(self) -> str:
        return f"object {self.object_id.hex()} is neither in shared memory nor on disk"


def allocation_error(value: Any) -> AktisError:
    """What to raise when the node refused an allocation; ``value`` is that of its REPLY."""
    kind, text = value
    return OutOfDiskError(text) if kind == "out_of_disk" else ObjectStoreFullError(text)


class _Kept:
    """A segment that this process wrote and still has open."""

    __slots__ = ("capacity", "dead", "fd", "mapping", "name", "object_id")

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self.fd = fd
        self.capacity = _segment.capacity_of(name)
        self.mapping: mmap.mmap | None = None
        self.object_id = b""
        self.dead = False  # its object is freed

    def map(self) -> mmap.mmap:
        if self.mapping is None:
            populate = getattr(mmap, "MAP_POPULATE", 0)
            self.mapping = mmap.mmap(self.fd, self.capacity, mmap.MAP_SHARED | populate)
        return self.mapping

    def close(self) -> None:
        if self.mapping is not None:
            self.mapping.close()
        os.close(self.fd)


class ObjectStore:
    """Safe to use from several threads.

    ``allocate(size, object_id)`` asks the node for a segment and returns its name, or raises;
    ``abandon(object_id)`` tells the node that an allocation is not going to be used (STORE_FREED).
    """

    def __init__(
        self,
        store_dir: str,
        spill_dir: str,
        allocate: Allocate,
        *,
        abandon: Callable[[bytes], None] | None = None,
        capacity: int | None = None,
    ) -> None:
        self.store_dir = store_dir
        self.spill_dir = spill_dir
        self._allocate = allocate
        self._abandon = abandon or (lambda object_id: None)
        self._max_kept_bytes = int((capacity or 1 << 40) * KEPT_FRACTION)
        self._lock = threading.Lock()  # of the table; nothing slow happens under it
        self._kept: OrderedDict[str, _Kept] = OrderedDict()  # by last use
        self._pid = os.getpid()

    # writing ----------------------------------------------------------------------------------------------------

    def write(self, object_id: bytes, packed: Packed) -> tuple[str, int]:
        """Copy a value into shared memory, once. Returns (segment name, size), to be sent as STORE_SEALED."""
        buffers = [buffer.raw() for buffer in packed.buffers]
        layout = _segment.Layout(object_id, len(packed.data), [buffer.nbytes for buffer in buffers])
        kept = self._reuse(layout.size)
        if kept is not None:
            try:
                # It pays to map now: an object of this size comes again and again.
                _segment.write_to_mapping(kept.map(), layout, packed.data, buffers)
            except BaseException:
                _segment.stamp_id(kept.fd, kept.object_id)  # what the node expects to find
                kept.close()
                raise
        else:
            kept = self._new(layout.size, object_id)
            try:
                _segment.write_to_file(kept.fd, layout, packed.data, buffers)
            except BaseException:
                kept.close()
                self._abandon(object_id)
                raise
        fcntl.flock(kept.fd, fcntl.LOCK_UN)
        kept.object_id = object_id
        self._keep(kept)
        return kept.name, layout.size

    def _new(self, size: int, object_id: bytes) -> _Kept:
        """A segment from the node, locked and backed by memory."""
        for attempt in range(ATTEMPTS):
            name = self._allocate(size, object_id)
            path = os.path.join(self.store_dir, name)
            fd = _segment.open_for_writing(path, create=True)
            try:
                # A reader that came too late holds its lock for a moment, until it has seen the wrong id.
                if _segment.try_lock(fd, fcntl.LOCK_EX) and _segment.read_id(fd) in (b"", object_id):
                    _segment.reserve(fd, _segment.capacity_of(name))
                    return _Kept(name, fd)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    os.ftruncate(fd, 0)
                os.close(fd)
                self._abandon(object_id)
                if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
                    raise
                raise ObjectStoreFullError(
                    f"no room for an object of {size:,} bytes in {self.store_dir} ({error.strerror}): free objects, "
                    "or give the store another limit with aktis.init(object_store_memory=...)"
                ) from error
            except BaseException:
                os.close(fd)
                self._abandon(object_id)
                raise
            os.close(fd)
            self._abandon(object_id)
            time.sleep(0.001 * attempt)
        raise ObjectStoreFullError(f"no segment for an object of {size:,} bytes could be locked in {ATTEMPTS} attempts")

    # using segments again -----------------------------------------------------------------------------------------

    def recycle(self, name: str, object_id: bytes) -> bool:
        """This object is freed. True when its segment was kept here, for the next object of its size.

        The segment may hold another object by now: the freed one may have been spilled long ago.

        To be called besides (before or after) STORE_FREED; the node need not be told anything else.
        """
        with self._lock:
            kept = self._kept.get(name)
            if kept is None or kept.object_id != object_id:
                return False
            kept.dead = True
            self._kept.move_to_end(name)
            return True

    def _reuse(self, size: int) -> _Kept | None:
        """A dead segment of about that size, locked, if there is one that nobody reads and the node did not take."""
        if os.getpid() != self._pid:
            self._forget_parent()
        largest = size + (size >> 2) + _segment.MIN_CAPACITY
        with self._lock:
            fitting = [kept for kept in self._kept.values() if kept.dead and size <= kept.capacity <= largest]
            for kept in fitting:
                if not _segment.try_lock(kept.fd, fcntl.LOCK_EX):
                    continue  # still read by somebody
                del self._kept[kept.name]
                kept.dead = False
                status = os.fstat(kept.fd)
                untouched = status.st_nlink and status.st_size >= kept.capacity
                if untouched and _segment.read_id(kept.fd) == kept.object_id:
                    return kept
                kept.close()  # the node gave it to somebody else, or gave its memory back
        return None

    def _keep(self, kept: _Kept) -> None:
        """Hold on to a segment, and let go of the oldest ones that are too much."""
        dropped: list[_Kept] = []
        with self._lock:
            before = self._kept.pop(kept.name, None)
            if before is not None:  # the node took it from us, and gave it to us again
                dropped.append(before)
            self._kept[kept.name] = kept
            total = sum(one.capacity for one in self._kept.values())
            while len(self._kept) > KEPT_SEGMENTS or total > self._max_kept_bytes:
                oldest = self._kept.popitem(last=False)[1]
                total -= oldest.capacity
                dropped.append(oldest)
        for one in dropped:
            one.close()

    def trim(self) -> None:
        """Let go of everything that is kept. Objects are not touched."""
        with self._lock:
            dropped = list(self._kept.values())
            self._kept.clear()
        for kept in dropped:
            kept.close()

    def close(self) -> None:
        self.trim()

    def _forget_parent(self) -> None:
        """After a fork in user code: locks are shared with the parent, so its segments are not ours to write to."""
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self.trim()

    # reading ------------------------------------------------------------------------------------------------------

    def read(self, object_id: bytes, name: str) -> tuple[memoryview, list[memoryview]]:
        """The pickle stream and the buffers, read-only views that keep the memory for as long as one of them lives.

        Raises ObjectMissing.
        """
        found = None
        if name:
            found = _segment.map_object(os.path.join(self.store_dir, name), object_id)
        if found is None:
            found = _segment.map_object(os.path.join(self.spill_dir, object_id.hex()), object_id)
        if found is None:
            raise ObjectMissing(object_id)
        return found
