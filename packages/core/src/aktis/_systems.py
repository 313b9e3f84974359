"""What Linux and macOS do differently: for each call that only Linux has, the same with what macOS has.

Linux is what the tests run on. What stands here for macOS follows its manual pages, and is tested against stand-ins only.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
from typing import Any, cast

__all__ = [
    "FAILED",
    "HUNG_UP",
    "LONGEST_SOCKET_PATH",
    "READABLE",
    "WRITABLE",
    "Poller",
    "count_cpus",
    "peak_memory",
    "peer",
]

LONGEST_SOCKET_PATH = 107 if sys.platform.startswith("linux") else 103
"""Bytes that the path of a Unix socket may have."""

# The bits of epoll, also where there is none.
READABLE, WRITABLE, FAILED, HUNG_UP = 0x001, 0x004, 0x008, 0x010


_system: Any = select  # with names that are not there on Linux


class KqueuePoller:
    """The part of ``select.epoll`` that we use, over ``select.kqueue``."""

    def __init__(self) -> None:
        self._queue: Any = _system.kqueue()
        self._writes: set[int] = set()  # descriptors that are watched for room as well

    def _control(self, fd: int, write: bool, add: bool) -> None:
        kind = _system.KQ_FILTER_WRITE if write else _system.KQ_FILTER_READ
        flags = _system.KQ_EV_ADD if add else _system.KQ_EV_DELETE
        self._queue.control([_system.kevent(fd, kind, flags)], 0, 0)

    def register(self, fd: int, events: int = READABLE) -> None:
        """Watch a descriptor for bytes to read, and with ``WRITABLE`` for room to write."""
        self._control(fd, write=False, add=True)
        self.modify(fd, events)

    def modify(self, fd: int, events: int) -> None:
        """Whether it is watched for room as well."""
        wanted = bool(events & WRITABLE)
        if wanted != (fd in self._writes):
            self._control(fd, write=True, add=wanted)
            (self._writes.add if wanted else self._writes.discard)(fd)

    def unregister(self, fd: int) -> None:
        """Forget a descriptor. OSError where it is closed already, as with epoll."""
        if fd in self._writes:
            self._writes.discard(fd)
            self._control(fd, write=True, add=False)
        self._control(fd, write=False, add=False)

    def poll(self, timeout: float | None = None, maxevents: int = 256) -> list[tuple[int, int]]:
        """What has come, as ``(descriptor, events)``; None and negative numbers wait without end."""
        limit = None if timeout is None or timeout < 0 else timeout
        found: dict[int, int] = {}
        for event in self._queue.control(None, maxevents, limit):
            bit = WRITABLE if event.filter == _system.KQ_FILTER_WRITE else READABLE
            if event.flags & _system.KQ_EV_EOF:
                bit |= HUNG_UP
            found[event.ident] = found.get(event.ident, 0) | bit
        return list(found.items())

    def fileno(self) -> int:
        """Readable when :meth:`poll` has something."""
        return int(self._queue.fileno())

    def close(self) -> None:
        """End it; the descriptors stay open."""
        self._queue.close()


Poller: type[select.epoll] = select.epoll if hasattr(select, "epoll") else cast(Any, KqueuePoller)


def peer(sock: socket.socket) -> tuple[int, int]:
    """(process id, user id) of who is at the other end of a Unix socket, by the kernel's word."""
    if hasattr(socket, "SO_PEERCRED"):
        pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return pid, uid
    sol_local, local_peercred, local_peerpid = 0, 1, 2
    _, uid = struct.unpack_from("=2I", sock.getsockopt(sol_local, local_peercred, 76))  # struct xucred
    (pid,) = struct.unpack("=i", sock.getsockopt(sol_local, local_peerpid, 4))
    return pid, uid


def count_cpus() -> int:
    """CPUs that this process may use, as far as the system says."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory() -> int:
    """The most resident bytes that this process has had."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
