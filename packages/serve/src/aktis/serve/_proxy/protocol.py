"""HTTP/1.1 at the edge: uvicorn's protocol, hardened, with a short way from the parser to the dispatcher and back.

::

    bytes ─► httptools ─► on_header… ─► on_headers_complete ─► on_message_complete ─► dispatcher.begin(exchange)
                              │ not a request that we take          │
                              ▼                                     ▼
                           refuse(), and the connection closes    exchange.write_whole ─► replied(): the next one
                           400 408 413 414 431 503 505

Guarantees: replies leave in the order of their requests, one request of a connection is worked on at a time; while replies wait
for a slow reader, no further request of it is begun; a request that is framed ambiguously (both or several lengths, an unknown
transfer coding) is never passed on, and ends its connection, so that no two readers of the same bytes see different requests.
Requests run through uvicorn's own cycle when there are middlewares; WebSocket upgrades go to uvicorn's WebSocket protocol.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from random import Random
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from aktis.serve._proxy.edge import LONGEST_TARGET, MOST_HEADERS, Edge
from aktis.serve._proxy.exchange import STATUS_LINES, WHOLE_BODY, DirectExchange
from aktis.serve._proxy.routes import parse_target

if TYPE_CHECKING:
    from aktis.serve._proxy.exchange import Exchange

IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))
LINGER = 2.0  # seconds that a connection we close may take to tell us the rest
LINGER_BYTES = 64 * 1024 * 1024
LEAST_RATE = 256  # bytes per second of a body, once body_timeout_s are over
LONGEST_ID = 128
MOST_AHEAD = 8  # requests that a client may send before the reply to the first, until we stop reading
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/+=@")
_random = Random()  # request ids need not be secret
_random.seed()


class Phase(enum.IntEnum):
    """Where a connection is, as far as reading goes."""

    IDLE = 0  # between requests
    HEADERS = 1  # of a request come
    BODY = 2  # of a request comes
    LINGER = 3  # the last reply is written; what still comes is thrown away
    UPGRADED = 4  # it is no HTTP any more
    CLOSED = 5


class RefusedError(Exception):
    """Leaves the parser: the request will not be taken."""


class EdgeProtocol(HttpToolsProtocol):
    """One connection. See the module's docstring."""

    edge: Edge  # of the class that :func:`protocol_class` makes

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.phase = Phase.IDLE
        self.since = 0.0  # when something was last heard (loop time)
        self.began_at = 0.0  # when the headers of this request began
        self.exchange: Exchange | None = None  # the request that is worked on
        self.incoming: DirectExchange | None = None  # the request whose body comes
        self.waiting: deque[DirectExchange] = deque()  # those behind it
        self.refusal: tuple[int, str] | None = None
        self.header_bytes = 0
        self.url = b""
        self._deaf = False  # what comes is no HTTP that we know
        self._pumping = False
        self._lingered = 0
        self._marked: dict[bytes, bytes] = {}
        self._framing: list[bytes] = []
        self._hosts = 0
        self._write_paused_at = 0.0
        self._direct = not self.edge.asgi

    # connection ------------------------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        edge = self.edge
        edge.opened += 1
        self.since = self.loop.time()
        edge.connections.add(self)
        if edge.max_connections and len(edge.connections) > edge.max_connections:
            self._refuse_now(503, "Too many connections.", b"retry-after: 1\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self.edge.connections.discard(self)
        upgraded = self.phase is Phase.UPGRADED
        self.phase = Phase.CLOSED
        current, self.exchange = self.exchange, None
        self.waiting.clear()
        if not upgraded:
            super().connection_lost(exc)
        for ex in (current, self.incoming):
            if ex is not None:
                ex.gone = True
                ex.wake()
        self.incoming = None
        if current is not None and current.on_gone is not None:
            current.on_gone(current)

    def check_time(self, now: float) -> None:
        """The edge's clock: has this client been slow for too long?"""
        edge = self.edge
        if self.flow.write_paused:
            if now - self._write_paused_at > edge.write_timeout:
                self.transport.abort()
            return
        if self.refusal is not None:
            return  # requests before it are worked on
        phase = self.phase
        quiet = now - self.since
        if phase is Phase.IDLE:
            if self.exchange is None and not self._busy_asgi() and quiet > edge.keep_alive_timeout:
                self.transport.close()
        elif phase is Phase.HEADERS:
            if now - self.began_at > edge.header_timeout:
                self.refuse(408, "The headers of the request took too long.")
        elif phase is Phase.BODY:
            if not self.flow.read_paused and (quiet > edge.body_timeout or self._drips(now)):
                self._slow_body()
        elif phase is Phase.LINGER:
            unsent = self.transport.get_write_buffer_size()
            if quiet > (edge.write_timeout if unsent else LINGER):
                self.transport.abort()

    def _drips(self, now: float) -> bool:
        """Whether the client sends just enough not to be quiet. (Later parts of large bodies wait for the replica, too.)"""
        ex = self.incoming
        if ex is None or ex is self.exchange:
            return False
        least: float = LEAST_RATE * (now - self.began_at - self.edge.body_timeout)
        return ex.body_bytes < least

    def _slow_body(self) -> None:
        ex = self.exchange
        if isinstance(ex, DirectExchange) and ex is self.incoming and not ex.head_sent and ex.task is not None:
            ex.timed_out = True
            ex.task.cancel()
        elif self.exchange is None and not self._busy_asgi():
            self.refuse(408, "The body of the request took too long.")
        else:
            self.transport.abort()

    def _busy_asgi(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    # reading ---------------------------------------------------------------------------------------------------------
    def data_received(self, data: bytes) -> None:
        phase = self.phase
        if phase >= Phase.LINGER or self._deaf or self.refusal is not None:
            self._lingered += len(data)
            if self._lingered > LINGER_BYTES:
                self.transport.abort()
            return
        self.since = self.loop.time()
        began = self.headers
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            status, message = self.refusal or (400, "Invalid HTTP request received.")
            self.refuse(status, message)
            return
        if phase is Phase.HEADERS and self.phase is Phase.HEADERS and self.headers is began:
            # A line that has not ended is not seen by on_header: it counts all the same.
            self.header_bytes += len(data)
            if self.header_bytes > 2 * self.edge.max_header_bytes + LONGEST_TARGET:
                self.refuse(431, "The headers of the request are too large.")

    def on_message_begin(self) -> None:
        if self._direct:
            self.url = b""
            self.headers = []
            self.expect_100_continue = False
        else:
            super().on_message_begin()
        self.phase = Phase.HEADERS
        self.began_at = self.loop.time()
        self.header_bytes = 0
        self._hosts = 0
        if self._marked:
            self._marked = {}
        if self._framing:
            self._framing = []

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > LONGEST_TARGET:
            self._out(414, "The target of the request is too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self.header_bytes += len(name) + len(value) + 4
        if self.phase is Phase.BODY:  # a trailer: what comes after the body must not change what was decided before it
            if self.header_bytes > self.edge.max_header_bytes:
                self._out(431, "The trailers of the request are too large.")
            return
        if name in _MARKED:
            if name == b"host":
                self._hosts += 1
                self._marked[name] = value
            elif name == b"content-length" or name == b"transfer-encoding":
                self._framing.append(name)
                self._marked[name] = value
            elif name == b"expect":
                self.expect_100_continue = value.lower() == b"100-continue"
            elif name == b"x-forwarded-for" and name in self._marked:
                self._marked[name] += b"," + value
            else:
                self._marked[name] = value
        if self.header_bytes > self.edge.max_header_bytes:
            self._out(431, "The headers of the request are too large.")
        self.headers.append((name, value))

    def _out(self, status: int, message: str) -> None:
        """Leaves the parser and refuses the request."""
        self.refusal = (status, message)
        raise RefusedError(message)

    def on_headers_complete(self) -> None:
        parser = self.parser
        version = parser.get_http_version()
        self._check(version)
        self.phase = Phase.BODY
        upgrade = parser.should_upgrade()
        if upgrade and self._should_upgrade():
            return
        if upgrade and parser.get_method() == b"CONNECT":
            self._out(405, "CONNECT is not taken here: this is no forward proxy.")
        if upgrade and self._framing:  # the parser would not read the body
            self._out(400, "Unsupported upgrade request.")
        if not self._direct:
            self._enter_asgi()
            return
        ex = DirectExchange(self)
        ex.method = parser.get_method().decode("ascii")
        try:
            ex.target = parse_target(self._origin_form())
        except ValueError as error:
            self._out(400, f"Bad request: {error}.")
        ex.headers = self.headers
        if version != "1.1":
            ex.http_version = version
        ex.scheme = self.scheme or "http"
        ex.client = self.client
        ex.server = self.server  # type: ignore[assignment]
        ex.keep_alive = not upgrade and parser.should_keep_alive()
        ex.idempotent = ex.method in IDEMPOTENT
        describe(ex, self._marked, self.edge)
        self.incoming = ex
        if self.expect_100_continue:
            ex.expects_continue = True
            if self.exchange is None and not self.waiting:
                self._continue(ex)

    def _check(self, version: str) -> None:
        """Refuses what is ambiguous or too much."""
        if version != "1.1" and version != "1.0":
            self._out(505, f"HTTP/{version} is not spoken here.")
        if len(self.headers) > MOST_HEADERS:
            self._out(431, f"The request has more than {MOST_HEADERS} headers.")
        if self._hosts != 1 and (version == "1.1" or self._hosts):
            self._out(400, "A request must have exactly one Host header.")
        framing = self._framing
        if not framing:
            return
        if len(framing) > 1:
            self._out(400, "A request must have at most one Content-Length or Transfer-Encoding header.")
        value = self._marked[framing[0]]
        if framing[0] == b"transfer-encoding":
            if value.lower() != b"chunked" or version == "1.0":
                self._out(400, "The only Transfer-Encoding of a request that is taken here is chunked.")
        elif not value.isdigit():
            self._out(400, "Content-Length must be a number.")
        elif self.edge.max_body and int(value) > self.edge.max_body:
            self._out(413, f"The body of the request is larger than {self.edge.max_body} bytes.")

    def _origin_form(self) -> bytes:
        """The target as a path; the absolute form only if it names the host that Host names."""
        url = self.url
        if url.startswith(b"/") or url == b"*":
            return url
        scheme, separator, rest = url.partition(b"://")
        if not separator or scheme.lower() not in (b"http", b"https"):
            raise ValueError("the target of a request must be a path that begins with /")
        host, slash, path = rest.partition(b"/")
        if host.lower() != self._marked.get(b"host", b"").lower() or b"?" in host:
            raise ValueError("the target of the request and its Host header name different hosts")
        return slash + path if slash else b"/"

    def _enter_asgi(self) -> None:
        """Middlewares want ASGI: uvicorn's own cycle makes it."""
        try:
            origin = self._origin_form()
            parse_target(origin)
        except ValueError as error:
            self._out(400, f"Bad request: {error}.")
        self.url = origin
        self.scope["aktis"] = (self, self._marked)  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._direct:
            super().on_body(body)
            return
        ex = self.incoming
        if ex is None:
            return
        ex.put(body)
        size = ex.body_bytes
        if self.edge.max_body and size > self.edge.max_body and not ex.finished:
            if ex is self.exchange:
                return  # the dispatcher sees it, and cancels what runs
            self._out(413, f"The body of the request is larger than {self.edge.max_body} bytes.")
        if ex is self.exchange:
            if ex.is_full:
                self.flow.pause_reading()
        elif size > WHOLE_BODY:
            self._arrived(ex)

    def on_message_complete(self) -> None:
        self.phase = Phase.IDLE
        if not self._direct:
            super().on_message_complete()
            return
        ex = self.incoming
        if ex is None:
            return
        self.incoming = None
        ex.put_end()
        if ex is not self.exchange and (not self.waiting or self.waiting[-1] is not ex) and not ex.finished:
            self._arrived(ex)

    # one after the other ---------------------------------------------------------------------------------------------
    def _arrived(self, ex: DirectExchange) -> None:
        """A request is there: all of it, or the first part of a large one."""
        if ex in self.waiting:
            return
        if self.exchange is None and not self.waiting and not self.flow.write_paused and not self._pumping:
            self.exchange = ex
            self._begin(ex)
            return
        self.waiting.append(ex)
        if len(self.waiting) >= MOST_AHEAD or ex.is_full:  # who is not read cannot tell us that it has left
            self.flow.pause_reading()

    def _begin(self, ex: DirectExchange) -> None:
        ex.seal_first()
        self.edge.dispatcher.begin(ex)

    def replied(self, ex: DirectExchange) -> None:
        """The reply is written: what comes next?"""
        if self.exchange is ex:
            self.exchange = None
        self.server_state.total_requests += 1
        if self.phase is Phase.CLOSED or self.transport.is_closing():
            return
        self.since = self.loop.time()
        if not ex.body_done:
            self._linger()
        elif not ex.keep_alive:
            self._close()
        elif self.waiting or self.refusal is not None:
            if not self._pumping:
                self.loop.call_soon(self._pump)
        elif not self.flow.write_paused:
            if self.flow.read_paused:
                self.flow.resume_reading()
            if self.incoming is not None and self.incoming.expects_continue:
                self._continue(self.incoming)

    def _continue(self, ex: DirectExchange) -> None:
        """The client waits for our word before it sends the body."""
        ex.expects_continue = False
        if not ex.body_done:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _pump(self) -> None:
        """Begins what waits, until something takes time or the client is slow to read."""
        if self._pumping or self.phase is Phase.CLOSED:
            return
        self._pumping = True
        try:
            while self.waiting and self.exchange is None and not self.flow.write_paused:
                if self.transport.is_closing() or self.phase is Phase.LINGER:
                    self.waiting.clear()
                    return
                ex = self.exchange = self.waiting.popleft()
                self._begin(ex)
        finally:
            self._pumping = False
        if self.exchange is None and not self.waiting and not self.flow.write_paused:
            if self.refusal is not None:
                self._refuse_now(*self.refusal)
            else:
                self.flow.resume_reading()
                if self.incoming is not None and self.incoming.expects_continue:
                    self._continue(self.incoming)

    def want_body(self) -> None:
        """The dispatcher has taken what there was of the body."""
        if self.flow.read_paused and not self.waiting:
            self.flow.resume_reading()

    def pause_writing(self) -> None:
        self._write_paused_at = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._direct and self.exchange is None and self.phase < Phase.LINGER:
            self.loop.call_soon(self._pump)

    # ends ------------------------------------------------------------------------------------------------------------
    def refuse(self, status: int, message: str) -> None:
        """This is the end of the connection; requests before it get their replies first."""
        self.refusal = (status, message)
        self.flow.pause_reading()
        if self.incoming is not None and self.incoming is self.exchange:
            self.transport.abort()  # in the middle of a body that is being worked on
        elif self._busy_asgi():
            self.cycle.keep_alive = False
            if not self.cycle.response_started and self.cycle.more_body:
                self.transport.abort()
        elif self.exchange is None and not self.waiting:
            self._refuse_now(status, message)

    def _refuse_now(self, status: int, message: str, extra: bytes = b"") -> None:
        self.refusal = None
        self.edge.counters.refuse(status)
        body = message.encode()
        self.transport.write(
            b"%b%bcontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n%bconnection: close\r\n\r\n%b"
            % (STATUS_LINES[status], self.edge.date_line, len(body), extra, body)
        )
        self._linger()

    def _linger(self) -> None:
        """Close, but not before the client could read the reply: it may still be sending, and a reset would destroy it."""
        self.phase = Phase.LINGER
        self.incoming = None
        self.since = self.loop.time()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _close(self) -> None:
        self.phase = Phase.LINGER if self.phase is not Phase.CLOSED else self.phase
        self.transport.close()

    def shutdown(self) -> None:
        """The proxy drains: idle connections close, busy ones after their reply."""
        if not self._direct:
            super().shutdown()
        elif self.exchange is None and not self.waiting and self.phase is not Phase.HEADERS and self.incoming is None:
            self.transport.close()

    # WebSocket -------------------------------------------------------------------------------------------------------
    def _upgrade(self, rest: bytes) -> None:
        if not self._should_upgrade():  # answered as if it had not asked; what follows cannot be read
            self._deaf = True
            if self._busy_asgi():
                self.cycle.keep_alive = False
            return
        if self.exchange is not None or self.waiting:
            self.refuse(400, "A WebSocket cannot begin behind requests that are still worked on.")
            return
        self.phase = Phase.UPGRADED
        self.edge.connections.discard(self)
        method = self.parser.get_method()
        self.scope = {"method": method.decode("ascii"), "headers": self.headers}  # type: ignore[typeddict-item]
        self.url = self._origin_form()
        self.handle_websocket_upgrade()
        if rest:
            self.transport.get_protocol().data_received(rest)  # type: ignore[attr-defined]


_MARKED = frozenset(
    (
        b"host", b"content-length", b"transfer-encoding", b"expect", b"x-request-id", b"x-forwarded-for", b"x-forwarded-proto",
        b"serve_multiplexed_model_id", b"idempotency-key", b"traceparent", b"tracestate", b"baggage",
    )
)  # fmt: skip


def describe(ex: Exchange, marked: dict[bytes, bytes], edge: Edge) -> None:
    """What some headers say about a request: its id, its model, who sent it, whether it may be run again."""
    given = marked.get(b"x-request-id")
    if given is not None and 0 < len(given) <= LONGEST_ID and _PLAIN.issuperset(given):
        ex.request_id = given.decode("ascii")
    else:
        ex.request_id = f"{_random.getrandbits(128):032x}"
    if len(marked) <= 1:
        return
    if b"serve_multiplexed_model_id" in marked:
        ex.model_id = marked[b"serve_multiplexed_model_id"].decode("latin-1")
    if b"idempotency-key" in marked:
        ex.idempotent = True
    if b"traceparent" in marked:
        names = (b"traceparent", b"tracestate", b"baggage")
        ex.trace = {name.decode(): marked[name].decode("latin-1") for name in names if name in marked}
    if edge.trusted and ex.client is not None and edge.trusted.trusts(ex.client[0]):
        proto = marked.get(b"x-forwarded-proto", b"").strip().lower()
        if proto in (b"http", b"https", b"ws", b"wss"):
            ex.scheme = proto.decode()
        if b"x-forwarded-for" in marked:
            host = edge.trusted.client_of(marked[b"x-forwarded-for"].decode("latin-1"))
            if host:
                ex.client = (host, 0)


def protocol_class(edge: Edge) -> type[EdgeProtocol]:
    """The protocol for the connections of one edge."""
    return type("EdgeProtocol", (EdgeProtocol,), {"edge": edge})
