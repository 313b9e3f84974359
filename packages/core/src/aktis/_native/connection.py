"""One framed, non-blocking stream to another process of the session.

Any thread may :meth:`Connection.post`; whoever flushes sends everything that is queued in one frame.
Reading happens in the pump's leader only.
"""

from __future__ import annotations

import pickle
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

from aktis._native.interrupts import guard
from aktis._native.pump import Pump
from aktis._systems import FAILED, HUNG_UP, READABLE, WRITABLE

_LENGTH = struct.Struct("<I")
_BIG = 1 << 16  # frames above this are read into a buffer of their own, without joining pieces
_KEPT = 4 << 20
_FRAME = 1 << 20  # bytes: the peer can begin with the first calls while the next frame is on its way
_SOCKET_BUFFER = 4 << 20
_FLUSH_AT = 64  # queued messages that are worth a system call while their producer goes on
_BROKEN = HUNG_UP | FAILED

Message = tuple[Any, ...]


class Connection:
    """A stream of messages. ``on_messages(connection, messages)`` and ``on_close(connection)`` run in the leader."""

    __slots__ = (
        "_big",
        "_big_view",
        "_fill",
        "_flush_lock",
        "_most_messages",
        "_pump",
        "_rest",
        "_tail",
        "address",
        "busy",
        "closed",
        "first_result",
        "functions",
        "loaded",
        "on_close",
        "on_messages",
        "out",
        "owner",
        "peer_id",
        "queued",
        "results",
        "sock",
    )

    def __init__(
        self,
        pump: Pump,
        sock: socket.socket,
        on_messages: Callable[[Connection, list[Message]], None],
        on_close: Callable[[Connection], None],
    ) -> None:
        sock.setblocking(False)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            try:
                sock.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER)
            except OSError:
                pass
        self._pump = pump
        self.sock = sock
        self.out: list[Message] = []
        self.queued = False  # a flush has been asked for
        self.closed = False
        self.address = ""
        self.peer_id = b""
        self.functions: set[int] = set()  # ids that the peer has been sent
        self.owner: Any = None  # the lease or actor client that this connection serves
        # executing side
        self.loaded: dict[int, Any] = {}  # functions that the peer has sent
        self.results: list[tuple[int, Any]] = []  # of finished calls, not yet sent
        self.busy = 0.0  # seconds spent running them
        self.first_result = 0.0  # when the oldest of them was ready
        self.on_messages = on_messages
        self.on_close = on_close
        self._tail: memoryview | None = None
        self._most_messages = 1 << 20  # in one frame, as the size of the last ones suggests
        self._rest = b""
        self._big = bytearray()  # for large frames; kept, because fresh memory costs more than the copy
        self._big_view: memoryview | None = None
        self._fill = 0
        self._flush_lock = threading.Lock()
        pump.register(sock.fileno(), self._on_event)

    # writing --------------------------------------------------------------------------------
    def post(self, message: Message) -> None:
        """Queue a message; it leaves soon."""
        self.out.append(message)
        if not self.queued:
            self.queued = True
            self._pump.flush_later(self)
        elif len(self.out) >= _FLUSH_AT and self._tail is None:
            self.flush_now()

    def post_in_pump(self, message: Message) -> None:
        """For handlers: queue a message; it leaves when this wake-up's events are handled."""
        self.out.append(message)
        if not self.queued:
            self.queued = True
            self._pump.mark_dirty(self)

    def send_now(self, message: Message) -> None:
        """Queue and send: for a caller that is about to wait, or a peer that is idle."""
        self.out.append(message)
        self.flush_now()

    def flush_now(self) -> None:
        """Send all that is queued. Lock-free for producers: they append, the flusher cuts off what it saw."""
        while (self.out or self._tail is not None) and not self.closed:
            with guard:  # what is cut off the queue must be sent
                if not self._flush_lock.acquire(False):
                    return  # the holder looks again after it lets go
                try:
                    if not self._flush_locked():
                        return
                finally:
                    self._flush_lock.release()

    def _flush_locked(self) -> bool:
        """Send one frame with what is queued; False when the socket's buffer is full."""
        self.queued = False
        if self._tail is not None and not self._send_tail():
            return False
        count = len(self.out)
        if not count:
            return True
        count = min(count, self._most_messages)
        batch = self.out[:count]
        del self.out[:count]
        data = pickle.dumps(batch, 5)
        self._most_messages = max(1, _FRAME * count // len(data))
        head = _LENGTH.pack(len(data))
        if len(data) < _BIG:
            data = head + data
            sent = self._send(data)
            if sent == len(data):
                return True
            self._tail = memoryview(data)[sent:]
        else:
            sent = self._send(head)
            self._tail = memoryview(data) if sent == len(head) else memoryview(head[sent:] + data)
        return self._send_tail()

    def _send(self, data: bytes | memoryview) -> int:
        try:
            return self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:  # the peer is gone: the reader will see it and close
            self.out.clear()
            return len(data)

    def _send_tail(self) -> bool:
        """Go on with a frame that did not fit into the socket's buffer; False when it still does not."""
        tail = self._tail
        while tail is not None and len(tail):
            sent = self._send(tail)
            if not sent:
                self._tail = tail
                self._pump.want_write(self.sock.fileno(), True)
                return False
            tail = tail[sent:]
        self._tail = None
        return True

    @property
    def blocked(self) -> bool:
        """Part of a frame waits for room in the socket's buffer."""
        return self._tail is not None

    def drain(self) -> None:
        """In the leader: read what lies in the socket, of a peer that is known to be gone."""
        while not self.closed:
            try:
                more = self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                more = b""
            self._read()
            if not more:
                return

    # reading --------------------------------------------------------------------------------
    def _on_event(self, event: int) -> None:
        if event & WRITABLE:
            if self._tail is not None:
                self.flush_now()
            if self._tail is None and not self.closed:
                self._pump.want_write(self.sock.fileno(), False)
        if event & (READABLE | _BROKEN):
            self._read()

    def _read(self) -> None:
        try:
            if self._big_view is not None:
                self._read_big()
                return
            # one buffer for all: a fresh one of this size would cost three system calls
            size = self.sock.recv_into(self._pump.read_buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            size = 0
        if not size:
            self.close()
            return
        data: memoryview | bytes = self._pump.read_view[:size]
        if self._rest:
            data = self._rest + data
            size = len(data)
            self._rest = b""
        position = 0
        frames = []
        while size - position >= 4:
            length = _LENGTH.unpack_from(data, position)[0]
            end = position + 4 + length
            if end > size:
                break
            messages = self._load(data[position + 4 : end])
            if messages is None:
                return
            frames.append(messages)
            position = end
        if position < size:
            self._keep(data, position)
        for messages in frames:  # only now: a handler may read other connections, into the same buffer
            self.on_messages(self, messages)
            if self.closed:
                return

    def _keep(self, data: memoryview | bytes, position: int) -> None:
        if len(data) - position >= 4:
            length = _LENGTH.unpack_from(data, position)[0]
            if length > _BIG:
                if len(self._big) < length:
                    self._big = bytearray(length)
                self._big_view = memoryview(self._big)[:length]
                self._fill = len(data) - position - 4
                self._big_view[: self._fill] = data[position + 4 :]
                return
        self._rest = bytes(data[position:])

    def _read_big(self) -> None:
        view = self._big_view
        assert view is not None
        try:
            count = self.sock.recv_into(view[self._fill :])
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            count = 0
        if not count:
            self.close()
            return
        self._fill += count
        if self._fill == len(view):
            self._big_view = None
            messages = self._load(view)
            if len(view) > _KEPT:
                self._big = bytearray()
            if messages is not None:
                self.on_messages(self, messages)

    def _load(self, frame: memoryview | bytes | bytearray) -> list[Message] | None:
        """The messages of a frame; None, and the connection closed, when it is none."""
        try:
            messages: list[Message] = pickle.loads(frame)
        except Exception as error:
            import logging

            text = "Closed the connection to %s, which sent %d bytes that are not a frame: %r"
            logging.getLogger("aktis").warning(text, self.address or "a process", len(frame), error)
            self.close()
            return None
        return messages

    def close(self) -> None:
        """Close, and tell the owner once."""
        if self.closed:
            return
        self.closed = True
        self._pump.unregister(self.sock.fileno())
        self.sock.close()
        self.on_close(self)
