"""One request and its reply, as the dispatcher sees them, whoever speaks HTTP underneath.

:class:`Exchange` has what both kinds share. :class:`DirectExchange` writes through the transport of our own protocol: the quick way
(``protocol.py``). :class:`ASGIExchange` goes through ``receive`` and ``send``: used when the user configured middlewares.
"""

from __future__ import annotations

import asyncio
import http
from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from aktis.serve._protocol import HTTPRequest, RequestMeta

if TYPE_CHECKING:
    from aktis.serve._proxy.dispatch import Route
    from aktis.serve._proxy.protocol import EdgeProtocol
    from aktis.serve._proxy.routes import Target

Headers = Iterable[tuple[bytes, bytes]]

# A request's body up to here travels inside the first message; of larger ones, this is the first part.
WHOLE_BODY = 1 << 20
# Parts of a large body that wait for the replica; more, and we stop reading from the client.
BODY_HIGH_WATER = 256 * 1024

REQUEST_ID = b"x-request-id"
# Headers of a reply that are about the connection between us and the client: ours to decide.
_CONNECTION = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"te", b"trailer")
)
_MARKED = _CONNECTION | {b"content-length", REQUEST_ID, b"date"}


def _status_line(code: int) -> bytes:
    try:
        phrase = http.HTTPStatus(code).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {code} {phrase}\r\n".encode()


STATUS_LINES = {code: _status_line(code) for code in range(100, 600)}


class InvalidReplyError(Exception):
    """What the application answers cannot be written as HTTP: header values with line breaks, a wrong Content-Length."""


class ClientGoneError(Exception):
    """The client has closed the connection."""


class Exchange:
    """One request and its reply."""

    __slots__ = (
        "began",
        "body_bytes",
        "call_id",
        "call_over",
        "client",
        "finished",
        "first_body",
        "gone",
        "head_sent",
        "headers",
        "http_version",
        "idempotent",
        "lease",
        "line",
        "meta",
        "method",
        "model_id",
        "more_body",
        "on_gone",
        "replica",
        "request_id",
        "route",
        "scheme",
        "sent",
        "server",
        "span",
        "status",
        "target",
        "task",
        "timed_out",
        "timer",
        "trace",
    )

    def __init__(self) -> None:
        self.began = perf_counter()
        # The request.
        self.method = ""
        self.target: Target = None  # type: ignore[assignment]
        self.headers: list[tuple[bytes, bytes]] = []
        self.http_version = "1.1"
        self.scheme = "http"
        self.client: tuple[str, int] | None = None
        self.server: tuple[str, int] | None = None
        self.request_id = ""
        self.model_id = ""
        self.idempotent = False
        self.trace: dict[str, str] | None = None
        self.first_body = b""
        self.body_bytes = 0
        self.more_body = False  # first_body is not all of it
        # Where it went.
        self.route: Route | None = None
        self.meta: RequestMeta | None = None
        self.call_id = ""
        self.lease: Any = None  # while a replica has it
        self.line: Any = None  # which it went by to its replica, if not by a call of core
        self.call_over = False  # the reply has begun: what is left of it is streamed
        self.replica = ""
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.span: Any = None
        # The reply.
        self.status = 0
        self.sent = 0  # bytes of the body
        self.head_sent = False
        self.finished = False  # nothing more will be written, and it is counted
        self.timed_out = False
        self.gone = False
        self.on_gone: Callable[[Exchange], None] | None = None

    def request(self, root_path: str, kind: str = "http", subprotocols: tuple[str, ...] = ()) -> HTTPRequest:
        """The message for the replica."""
        target = self.target
        path, raw_path = target.path, target.raw_path
        route = self.route
        assert route is not None
        if root_path and not (path == root_path or path.startswith(root_path + "/")):
            path = root_path + path
            raw_path = root_path.encode("latin-1") + raw_path
        return HTTPRequest(
            kind, self.method, path, raw_path, target.query, route.root_path, self.headers, self.client, self.server,
            self.scheme, self.http_version, self.first_body, self.more_body, subprotocols, route.development,
        )  # fmt: skip

    # What the dispatcher does with it. -----------------------------------------------------------------------------
    @property
    def body_over(self) -> bool:
        """The client has sent all of the body, and all of it was taken."""
        raise NotImplementedError("each kind of exchange says when its body is over")

    def wake(self) -> None:
        """Make :meth:`next_part` return, where it can."""

    async def next_part(self) -> bytes:
        """More of a large body; b"" when it is over, or after :meth:`wake` or :meth:`stop_reading`.

        Raises:
            ClientGoneError: the client left.
        """
        raise NotImplementedError("each kind of exchange reads bodies in its own way")

    def stop_reading(self) -> None:
        """Nobody wants the rest of the body."""
        raise NotImplementedError("each kind of exchange does this in its own way")

    async def send_whole(self, status: int, headers: Headers, body: bytes) -> None:
        """The whole reply."""
        raise NotImplementedError("each kind of exchange does this in its own way")

    async def send_head(self, status: int, headers: Headers, body: bytes) -> None:
        """The beginning of a reply that goes on."""
        raise NotImplementedError("each kind of exchange does this in its own way")

    async def send_part(self, body: bytes) -> None:
        """More of the reply. Waits while the client does not take what it got."""
        raise NotImplementedError("each kind of exchange does this in its own way")

    async def send_end(self) -> None:
        """The end of a reply that was begun with :meth:`send_head`."""
        raise NotImplementedError("each kind of exchange does this in its own way")

    def abort(self) -> None:
        """The reply cannot be finished: the client sees the connection break."""
        raise NotImplementedError("each kind of exchange does this in its own way")


class DirectExchange(Exchange):
    """An exchange of an :class:`EdgeProtocol`, written through its transport."""

    __slots__ = (
        "_chunked",
        "_left",
        "_parts",
        "_queued",
        "_reader",
        "_stopped",
        "body_done",
        "expects_continue",
        "keep_alive",
        "protocol",
    )

    def __init__(self, protocol: EdgeProtocol) -> None:
        Exchange.__init__(self)
        self.protocol = protocol
        self.keep_alive = True
        self.body_done = False  # the client has sent all of its body
        self.expects_continue = False
        self._parts: list[bytes] = []
        self._queued = 0
        self._reader: asyncio.Future[None] | None = None
        self._stopped = False
        self._chunked = False
        self._left: int | None = None  # bytes of the reply that Content-Length still promises

    # The request's body: the protocol puts, the dispatcher takes. ----------------------------------------------------
    def put(self, data: bytes) -> None:
        """A part of the body came."""
        self.body_bytes += len(data)
        if self._stopped or self.finished:
            return
        self._parts.append(data)
        self._queued += len(data)
        self.wake()

    def put_end(self) -> None:
        self.body_done = True
        self.wake()

    def seal_first(self) -> None:
        """What has come by now is what the first message carries."""
        parts = self._parts
        if parts:
            self.first_body = parts[0] if len(parts) == 1 else b"".join(parts)
            self._parts = []
            self._queued = 0
        self.more_body = not self.body_done

    def wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    @property
    def body_over(self) -> bool:
        return self.body_done and not self._parts

    async def next_part(self) -> bytes:
        if not self._parts and not self.body_done and not self._stopped:
            if self.gone:
                raise ClientGoneError
            self.protocol.want_body()
            self._reader = self.protocol.loop.create_future()
            await self._reader
        parts, self._parts, self._queued = self._parts, [], 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @property
    def is_full(self) -> bool:
        return self._queued > BODY_HIGH_WATER

    def stop_reading(self) -> None:
        self._stopped = True
        self._parts = []
        self._queued = 0
        self.wake()

    # The reply. ------------------------------------------------------------------------------------------------------
    def _head(self, status: int, headers: Headers, length: int | None) -> bytes:
        """Status line and headers; ``length``: of the whole body, where it is known."""
        edge = self.protocol.edge
        if not 200 <= status < 600:
            raise InvalidReplyError(f"the status of the reply is {status}")
        lines = [STATUS_LINES[status], edge.date_line]
        count = 2
        declared: bytes | None = None
        has_id = False
        for name, value in headers:
            lower = name.lower()
            if lower in _MARKED:
                if lower == b"content-length":
                    declared = value
                    continue
                if lower == REQUEST_ID:
                    has_id = True
                elif lower == b"date":
                    lines[1] = b""
                    count -= 1
                else:
                    if lower == b"connection" and b"close" in value.lower():
                        self.keep_alive = False
                    continue
            lines += (name, b": ", value, b"\r\n")
            count += 1
        if not has_id:
            lines += (b"x-request-id: ", self.request_id.encode("latin-1"), b"\r\n")
            count += 1
        count += self._frame(lines, status, length, declared)
        if edge.draining or not self.body_done:
            self.keep_alive = False
        if not self.keep_alive:
            lines.append(b"connection: close\r\n\r\n")
            count += 1
        elif self.http_version == "1.0":
            lines.append(b"connection: keep-alive\r\n\r\n")
            count += 1
        else:
            lines.append(b"\r\n")
        head = b"".join(lines)
        _check_head(head, count + 1)
        return head

    def _frame(self, lines: list[bytes], status: int, length: int | None, declared: bytes | None) -> int:
        """Decides how the client learns where the body ends; returns how many headers that took."""
        if status in (204, 304):
            self._left = 0
            if status == 304 and declared is not None:
                lines += (b"content-length: ", declared, b"\r\n")
                return 1
            return 0
        if self.method == "HEAD":
            self._left = 0
            if declared is None and length is None:
                return 0
            lines += (b"content-length: ", declared if declared is not None else b"%d" % length, b"\r\n")  # type: ignore[str-format]
            return 1
        if length is None:
            if declared is None:
                if self.http_version == "1.0":
                    self.keep_alive = False  # the end of the connection is the end of the body
                    return 0
                self._chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
                return 1
            try:
                self._left = int(declared)
            except ValueError:
                raise InvalidReplyError(f"Content-Length of the reply is {declared!r}") from None
        elif declared is not None and declared != b"%d" % length:
            raise InvalidReplyError(f"the reply's Content-Length is {declared!r}, and its body has {length} bytes")
        lines += (b"content-length: ", declared if declared is not None else b"%d" % length, b"\r\n")  # type: ignore[str-format]
        return 1

    def write_whole(self, status: int, headers: Headers, body: bytes) -> None:
        """The whole reply, at once. Raises InvalidReplyError before anything is written."""
        head = self._head(status, headers, len(body))
        transport = self.protocol.transport
        if not body or self._left is not None:
            transport.write(head)
        else:
            self.sent = len(body)
            if self.sent < 16384:
                transport.write(head + body)
            else:
                transport.write(head)
                transport.write(body)
        self.status = status
        self.head_sent = True
        self.protocol.replied(self)

    async def send_whole(self, status: int, headers: Headers, body: bytes) -> None:
        self.write_whole(status, headers, body)

    async def send_head(self, status: int, headers: Headers, body: bytes) -> None:
        head = self._head(status, headers, None)
        self.status = status
        self.head_sent = True
        self.protocol.transport.write(head)
        if body:
            await self.send_part(body)

    async def send_part(self, body: bytes) -> None:
        protocol = self.protocol
        if protocol.flow.write_paused and not self.gone:
            await protocol.flow.drain()
        if self.gone:
            raise ClientGoneError
        if not body or self.method == "HEAD" or self.status in (204, 304):
            return
        self.sent += len(body)
        if self._chunked:
            protocol.transport.write(b"%x\r\n%b\r\n" % (len(body), body))
            return
        if self._left is not None:
            self._left -= len(body)
            if self._left < 0:
                raise InvalidReplyError("the reply's body is longer than its Content-Length")
        protocol.transport.write(body)

    async def send_end(self) -> None:
        if self.gone:
            raise ClientGoneError
        if self._left:
            raise InvalidReplyError("the reply's body is shorter than its Content-Length")
        if self._chunked and self.method != "HEAD":
            self.protocol.transport.write(b"0\r\n\r\n")
        self.protocol.replied(self)

    def abort(self) -> None:
        self.protocol.transport.abort()


def _check_head(head: bytes, ends: int) -> None:
    """No header may smuggle in a line: there are as many line ends as we wrote."""
    if head.count(b"\n") != ends or head.count(b"\r") != ends or b"\0" in head:
        raise InvalidReplyError("a header of the reply has a line break or a zero byte in it")


class ASGIExchange(Exchange):
    """An exchange that goes through ASGI's ``receive`` and ``send``."""

    __slots__ = ("_body_over", "_receive", "_send", "_stopped", "draining")

    def __init__(
        self, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]], draining: bool = False
    ) -> None:
        Exchange.__init__(self)
        self._receive = receive
        self._send = send
        self._body_over = False
        self._stopped = False
        self.draining = draining

    async def read_first(self, most: int) -> None:
        """Takes what the first message carries: the whole body if it is small."""
        parts: list[bytes] = []
        size = 0
        while size <= most and not self._body_over:
            data = await self._next()
            parts.append(data)
            size += len(data)
        self.first_body = b"".join(parts)
        self.more_body = not self._body_over

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] != "http.request":
            self.gone = True
            raise ClientGoneError
        data: bytes = message.get("body", b"")
        self.body_bytes += len(data)
        self._body_over = not message.get("more_body", False)
        return data

    @property
    def body_over(self) -> bool:
        return self._body_over

    async def next_part(self) -> bytes:
        while not self._body_over and not self._stopped:
            data = await self._next()
            if data:
                return data
        return b""

    def stop_reading(self) -> None:
        self._stopped = True

    def _headers(self, headers: Headers, length: int | None) -> list[tuple[bytes, bytes]]:
        kept = [(name.lower(), value) for name, value in headers]
        closes = self.draining or any(name == b"connection" and b"close" in value.lower() for name, value in kept)
        names = {name for name, _value in kept}
        result = [(name, value) for name, value in kept if name not in _CONNECTION]
        if length is not None and b"content-length" not in names:
            result.append((b"content-length", b"%d" % length))
        if REQUEST_ID not in names:
            result.append((REQUEST_ID, self.request_id.encode("latin-1")))
        if closes:
            result.append((b"connection", b"close"))
        for name, value in result:
            _check_head(name + value, 0)
        return result

    async def send_whole(self, status: int, headers: Headers, body: bytes) -> None:
        start = {"type": "http.response.start", "status": status, "headers": self._headers(headers, len(body))}
        await self._send(start)
        self.status, self.head_sent, self.sent = status, True, len(body)
        await self._send({"type": "http.response.body", "body": body})

    async def send_head(self, status: int, headers: Headers, body: bytes) -> None:
        start = {"type": "http.response.start", "status": status, "headers": self._headers(headers, None)}
        await self._send(start)
        self.status, self.head_sent = status, True
        if body:
            await self.send_part(body)

    async def send_part(self, body: bytes) -> None:
        if self.gone:
            raise ClientGoneError
        self.sent += len(body)
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def send_end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    def abort(self) -> None:
        # Its server breaks the connection when the application ends without having finished the reply.
        return
