"""The node's event loop and its connections: one thread, epoll, non-blocking sockets.

Messages that are sent while events are handled leave together at the end of the round, one frame per peer.
"""

from __future__ import annotations

import heapq
import itertools
import socket
import sys
import traceback
from collections.abc import Callable
from time import monotonic
from typing import Any

from aktis._native.frames import HELLO_LIMIT, Decoder, FrameError, encode
from aktis._systems import READABLE, WRITABLE, Poller

READ_SIZE = 1 << 18
BACKLOG_LIMIT = 256 << 20
"""Unsent bytes after which a peer counts as stuck and is cut off, so that it cannot eat the node's memory."""

Message = tuple[Any, ...]


class Timer:
    """A callback in the future."""

    __slots__ = ("callback", "cancelled", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False


class Loop:
    """Readiness of descriptors, and timers. ``after_round`` runs before every sleep."""

    def __init__(self) -> None:
        self._epoll = Poller()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._dirty: list[Peer] = []
        self.after_round: Callable[[], None] = lambda: None
        self.running = True

    def register(self, fd: int, handler: Callable[[int], None]) -> None:
        """Call ``handler(events)`` whenever ``fd`` is readable."""
        self._handlers[fd] = handler
        self._epoll.register(fd, READABLE)

    def want_write(self, fd: int, wanted: bool) -> None:
        """Whether to be told that ``fd`` takes bytes again."""
        self._epoll.modify(fd, READABLE | (WRITABLE if wanted else 0))

    def unregister(self, fd: int) -> None:
        """Forget a descriptor; before it is closed."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call back once, unless the timer is cancelled."""
        timer = Timer(monotonic() + delay, callback)
        heapq.heappush(self._timers, (timer.when, next(self._order), timer))
        return timer

    def mark_dirty(self, peer: Peer) -> None:
        """The peer has messages to send at the end of this round."""
        self._dirty.append(peer)

    def flush(self) -> None:
        """Send what is queued."""
        while self._dirty:
            dirty, self._dirty = self._dirty, []
            for peer in dirty:
                peer.flush()

    def run(self) -> None:
        """Until ``running`` is False."""
        while self.running:
            self.round(None)

    def round(self, limit: float | None) -> None:
        """Wait for events, handle them, send the answers."""
        self._guarded(self.after_round)
        self.flush()
        if not self.running:
            return
        timeout = limit
        if self._timers:
            due = max(0.0, self._timers[0][0] - monotonic())
            timeout = due if timeout is None else min(timeout, due)
        for fd, events in self._epoll.poll(-1 if timeout is None else timeout):
            handler = self._handlers.get(fd)
            if handler is not None:
                self._guarded(lambda handler=handler, events=events: handler(events))  # type: ignore[misc]
        now = monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if not timer.cancelled:
                self._guarded(timer.callback)

    def _guarded(self, callback: Callable[[], None]) -> None:
        """The node must outlive any single mistake; it is written down."""
        try:
            callback()
        except Exception:
            complain()


class Peer:
    """A connected driver, worker or tool. Until its HELLO has come, ``kind`` is ""."""

    __slots__ = (
        "_loop", "_on_close", "_on_message", "_tail", "_writing", "closed", "decoder", "info", "job_id", "kind", "out", "pid",
        "address", "process_id", "queued", "sock", "worker",
    )  # fmt: skip

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        on_message: Callable[[Peer, Message], None],
        on_close: Callable[[Peer], None],
    ) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._on_message = on_message
        self._on_close = on_close
        self._tail = b""
        self._writing = False
        self.sock = sock
        self.decoder = Decoder(HELLO_LIMIT)
        self.out: list[Message] = []
        self.queued = False
        self.closed = False
        self.kind = ""
        self.process_id = b""
        self.pid = 0
        self.address = ""
        self.job_id = b""
        self.info: dict[str, Any] = {}
        self.worker: Any = None
        loop.register(sock.fileno(), self._on_event)

    def send(self, *message: Any) -> None:
        """Queue a message for the end of this round."""
        if self.closed:
            return
        self.out.append(message)
        if not self.queued:
            self.queued = True
            self._loop.mark_dirty(self)

    def flush(self) -> None:
        """Send what is queued, as far as the socket takes it."""
        self.queued = False
        if self.closed:
            return
        if self.out:
            messages, self.out = self.out, []
            try:
                self._tail += encode(messages)
            except Exception:  # something in it cannot be pickled: that is a bug here, but not a reason to die
                complain()
        if self._tail:
            self._send_tail()

    def drain(self) -> None:
        """Handle everything that has arrived already: the peer is dead, but its last words count."""
        while not self.closed and self._read():
            pass

    def close(self) -> None:
        """Close, and tell the owner once."""
        if self.closed:
            return
        self.closed = True
        self._loop.unregister(self.sock.fileno())
        self.sock.close()
        self.out.clear()
        self._tail = b""
        self._on_close(self)

    def _on_event(self, events: int) -> None:
        if events & WRITABLE:
            self._send_tail()
        if events & ~WRITABLE and not self.closed:
            self._read()

    def _read(self) -> bool:
        try:
            data = self.sock.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            return False
        try:
            for message in self.decoder.feed(data):
                self._on_message(self, message)
                if self.closed:
                    return False
        except FrameError as error:
            note(f"closing the connection of {self.describe()}: {error}")
            self.close()
            return False
        except Exception:
            note(f"closing the connection of {self.describe()}: one of its messages cannot be handled")
            complain()
            self.close()
            return False
        return True

    def _send_tail(self) -> None:
        try:
            sent = self.sock.send(self._tail)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.close()
            return
        self._tail = self._tail[sent:]
        if len(self._tail) > BACKLOG_LIMIT:
            note(f"closing the connection of {self.describe()}: it has not read {len(self._tail):,} bytes")
            self.close()
            return
        if bool(self._tail) != self._writing:
            self._writing = not self._writing
            self._loop.want_write(self.sock.fileno(), self._writing)

    def describe(self) -> str:
        """For the node's log."""
        return f"{self.kind or 'an unknown peer'} (pid {self.pid or '?'})"


def note(text: str) -> None:
    """A line in the node's log. A full disk must not stop the node."""
    try:
        sys.stderr.write(f"aktis node: {text}\n")
        sys.stderr.flush()
    except OSError:
        pass


def complain() -> None:
    """The current exception into the node's log."""
    try:
        traceback.print_exc()
        sys.stderr.flush()
    except OSError:
        pass
