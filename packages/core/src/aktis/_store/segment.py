"""One object in one file: the layout, and the locks that make it safe to use a file again.

::

    0    magic (8), object id (20), number of buffers (4), length of the pickle stream (8), length of everything (8)
    48   a table: offset (8) and length (8) of each buffer
    ...  the pickle stream, at a multiple of 64
    ...  the buffers, each at a multiple of 64

A spilled object is the same bytes in a file of the spill directory.

Guarantees
==========
- A reader holds a shared ``flock`` for as long as any view of its mapping lives: the lock belongs to the open file,
  which the mapping keeps. A process that is killed lets go by itself.
- Whoever writes to a segment holds the exclusive lock and has found in the header the id of the object that it knows
  to be dead (or its own, which the node stamped into it). So two that want to use the same segment again cannot both
  succeed, and nobody has to send a message first.
- The object id is the first thing to be written, and a reader checks it after it got its lock: what it maps is what it
  asked for.
- Pages are allocated before they are written, so a full file system is an error here and not a SIGBUS later.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

MAGIC = b"AKTSEG01"
HEADER = struct.Struct("<8s20sIQQ")
ENTRY = struct.Struct("<QQ")
ID_OFFSET = 8
ID_SIZE = 20
ALIGNMENT = 64  # a cache line, and what Arrow and AVX-512 want
MIN_CAPACITY = 64 * 1024
COPY_SLICE = 32 << 20  # between slices other threads, and Ctrl-C, get their turn
PARALLEL_FROM = 64 << 20  # a second thread pays: one core does not saturate the memory
SLOW_COPY_SLICE = 2 << 20  # the same where the copy holds the GIL: 0.2 ms at 10 GB/s
_NUMPY_FROM = 1 << 20

_OPEN_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_OPEN_WRITE = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


def capacity_for(size: int) -> int:
    """The size class of an object: eight classes between two powers of two, so at most 1/8 is wasted."""
    if size <= MIN_CAPACITY:
        return MIN_CAPACITY
    step = 1 << max((size - 1).bit_length() - 4, 12)
    return -(-size // step) * step


def segment_name(number: int, capacity: int) -> str:
    return f"s{number:x}-{capacity:x}"


def capacity_of(name: str) -> int:
    """The capacity, which stands in the segment's name. Raises ValueError for other names."""
    head, dash, tail = name.partition("-")
    if not (head.startswith("s") and dash) or "/" in name:
        raise ValueError(f"{name!r} is not the name of a segment")
    return int(tail, 16)


class Layout:
    """Where things stand in the segment of one object."""

    __slots__ = ("data_offset", "head", "offsets", "size")

    def __init__(self, object_id: bytes, data_length: int, lengths: Sequence[int]) -> None:
        if len(object_id) != ID_SIZE:
            raise ValueError(f"an object id has {ID_SIZE} bytes, not {len(object_id)}")
        position = HEADER.size + ENTRY.size * len(lengths)
        self.data_offset = position = _align(position)
        position += data_length
        self.offsets: list[int] = []
        for length in lengths:
            position = _align(position)
            self.offsets.append(position)
            position += length
        self.size = position
        head = bytearray(HEADER.pack(MAGIC, object_id, len(lengths), data_length, position))
        for offset, length in zip(self.offsets, lengths):
            head += ENTRY.pack(offset, length)
        self.head = bytes(head)


def _align(position: int) -> int:
    return (position + ALIGNMENT - 1) & -ALIGNMENT


# Reading -------------------------------------------------------------------------------------------------------------


def map_object(path: str, object_id: bytes) -> tuple[memoryview, list[memoryview]] | None:
    """Map the object at ``path``: the pickle stream and the buffers, read-only. None when it is not there."""
    try:
        fd = os.open(path, _OPEN_READ)
    except FileNotFoundError:
        return None
    try:
        # Only somebody who found the object dead holds the exclusive lock, so there is nothing to wait for.
        if not try_lock(fd, fcntl.LOCK_SH):
            return None
        head = os.pread(fd, HEADER.size, 0)
        if len(head) < HEADER.size:
            return None
        magic, found, count, data_length, size = HEADER.unpack(head)
        if magic != MAGIC or found != object_id:
            return None
        mapping = mmap.mmap(fd, size, access=mmap.ACCESS_READ)  # has its own duplicate of fd, and with it the lock
    finally:
        os.close(fd)
    view = memoryview(mapping)
    table = HEADER.size
    data_offset = _align(table + ENTRY.size * count)
    buffers = []
    for position in range(table, table + ENTRY.size * count, ENTRY.size):
        offset, length = ENTRY.unpack_from(view, position)
        buffers.append(view[offset : offset + length])
    return view[data_offset : data_offset + data_length], buffers


def try_lock(fd: int, kind: int) -> bool:
    """Take a lock without waiting; False when somebody is in the way."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# Writing -------------------------------------------------------------------------------------------------------------


def open_for_writing(path: str, create: bool) -> int:
    return os.open(path, _OPEN_WRITE | (os.O_CREAT if create else 0), 0o600)


def read_id(fd: int) -> bytes:
    """The id in the header; b"" in a file that was never written."""
    return os.pread(fd, ID_SIZE, ID_OFFSET)


def stamp_id(fd: int, object_id: bytes) -> None:
    os.pwrite(fd, object_id, ID_OFFSET)


def reserve(fd: int, capacity: int) -> None:
    """Make sure that the file has its pages. Raises OSError (ENOSPC) when there is no room for them."""
    if os.fstat(fd).st_size >= capacity:
        return
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, 0, capacity)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
    zeros = bytes(1 << 20)  # a file system without fallocate: write
    position = 0
    while position < capacity:
        position += os.pwrite(fd, zeros[: capacity - position], position)


def write_to_file(fd: int, layout: Layout, data: bytes, buffers: Sequence[memoryview]) -> None:
    """Write an object with system calls.

    For pages that this process has not mapped yet this is twice as fast as mapping them and taking a page fault for
    each.
    """
    _pwrite(fd, layout.head, 0)
    _pwrite(fd, data, layout.data_offset)
    for offset, buffer in zip(layout.offsets, buffers):
        _pwrite(fd, buffer, offset)


def _pwrite(fd: int, buffer: bytes | memoryview, position: int) -> None:
    view = memoryview(buffer)
    while view:
        written = os.pwrite(fd, view[:COPY_SLICE], position)
        view = view[written:]
        position += written


def write_to_mapping(mapping: mmap.mmap, layout: Layout, data: bytes, buffers: Sequence[memoryview]) -> None:
    """Write an object into memory that is mapped already: at the speed of memcpy."""
    mapping[: len(layout.head)] = layout.head
    _copy(mapping, layout.data_offset, memoryview(data))
    for offset, buffer in zip(layout.offsets, buffers):
        _copy(mapping, offset, buffer)


def _copy_slices(copy: Callable[[Any, Any], None], target: Any, array: Any) -> None:
    """In slices, so that an interrupt does not have to wait for gigabytes."""
    for start in range(0, len(array), COPY_SLICE):
        copy(target[start : start + COPY_SLICE], array[start : start + COPY_SLICE])


def _copy(mapping: mmap.mmap, position: int, source: memoryview) -> None:
    numpy: Any = sys.modules.get("numpy") if source.nbytes >= _NUMPY_FROM else None
    if numpy is not None and hasattr(numpy, "copyto"):  # lets go of the GIL
        target = numpy.frombuffer(mapping, numpy.uint8, source.nbytes, position)
        array = numpy.frombuffer(source, numpy.uint8)
        if source.nbytes < PARALLEL_FROM:
            _copy_slices(numpy.copyto, target, array)
            return
        half = source.nbytes // 2
        other = threading.Thread(target=_copy_slices, args=(numpy.copyto, target[half:], array[half:]), daemon=True)
        other.start()
        try:
            _copy_slices(numpy.copyto, target[:half], array[:half])
        finally:
            other.join()
        return
    for start in range(0, source.nbytes, SLOW_COPY_SLICE):
        part = source[start : start + SLOW_COPY_SLICE]
        mapping[position + start : position + start + part.nbytes] = part
