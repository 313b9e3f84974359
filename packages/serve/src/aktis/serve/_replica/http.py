"""An HTTP request becomes a call of user code, and what that gives becomes a reply. What ASGI says is known here only."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from aktis.serve._protocol import HTTPReply, HTTPRequest
from aktis.serve._replica import encode
from aktis.serve._replica.streams import ClientGone, Inbox, Message, Outbox
from aktis.serve.exceptions import BackPressureError, DeploymentUnavailableError, RequestTimeoutError

if TYPE_CHECKING:
    from starlette.requests import Request

Scope = MutableMapping[str, Any]
ASGIApp = Callable[[Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

_ASGI = {"version": "3.0", "spec_version": "2.4"}
HTTP_FAREWELL: Message = {"type": "http.disconnect"}
WEBSOCKET_FAREWELL: Message = {"type": "websocket.disconnect", "code": 1006, "reason": ""}


def scope_of(request: HTTPRequest, state: dict[str, Any] | None = None) -> dict[str, Any]:
    """The ASGI scope of a request. ``state``: what the application's lifespan left for requests."""
    scope: dict[str, Any] = {
        "type": request.type,
        "asgi": _ASGI,
        "http_version": request.http_version,
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.raw_path,
        "query_string": request.query_string,
        "root_path": request.root_path,
        "headers": request.headers,
        "client": request.client,
        "server": request.server,
        "extensions": {},
    }
    if request.type == "websocket":
        del scope["method"]
        scope["subprotocols"] = list(request.subprotocols)
        scope["extensions"] = {"websocket.http.response": {}}
    if state is not None:
        scope["state"] = state.copy()
    return scope


def inbox_of(request: HTTPRequest) -> Inbox:
    """Where the application receives the request's body, or a websocket's messages."""
    if request.type == "websocket":
        return Inbox({"type": "websocket.connect"}, WEBSOCKET_FAREWELL)
    first = {"type": "http.request", "body": request.body, "more_body": request.more_body}
    return Inbox(first, HTTP_FAREWELL)


_request_class: type[Request] | None = None


def starlette_request(request: HTTPRequest, inbox: Inbox) -> Request:
    """What user code gets that is no ASGI application."""
    global _request_class
    if _request_class is None:
        from starlette.requests import Request

        _request_class = Request
    return _request_class(scope_of(request), inbox.receive)


async def whole_body(request: HTTPRequest, inbox: Inbox) -> HTTPRequest:
    """The request with all of its body, for code that cannot wait for the rest of it."""
    parts = []
    while True:
        message = await inbox.receive()
        if message["type"] != "http.request":
            raise ClientGone("the client left while it sent the body")
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return request._replace(body=b"".join(parts), more_body=False)


# Replies -------------------------------------------------------------------------------------------------------------


def reply_of(value: Any) -> HTTPReply | ASGIApp:
    """The reply for what user code returned; an ASGI application if it takes more than one message to say."""
    responses = sys.modules.get("starlette.responses")
    if responses is not None and isinstance(value, responses.Response):
        plain = type(value).__call__ is responses.Response.__call__ and value.background is None
        return HTTPReply(value.status_code, value.raw_headers, bytes(value.body)) if plain else value
    if type(value) in _PLAIN:
        return encode.encode(value)
    if hasattr(type(value), "__anext__"):
        return _stream(value)
    return encode.encode(value)


_PLAIN = frozenset({str, dict, list, bytes, type(None), int, float, bool})


def _stream(items: AsyncIterator[Any]) -> ASGIApp:
    """An application that sends what a generator yields; the first item decides the content type."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        begun = False
        try:
            async for item in items:
                if not begun:
                    begun = True
                    await send({"type": "http.response.start", "status": 200, "headers": [encode.stream_header(item)]})
                await send({"type": "http.response.body", "body": encode.encode_item(item), "more_body": True})
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()
        if not begun:
            await send({"type": "http.response.start", "status": 200, "headers": [encode.TEXT]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


def error_reply(error: BaseException, request_id: str, development: bool) -> tuple[HTTPReply, bool]:
    """The reply for what user code raised, and whether it is the fault of the server (to be logged)."""
    exceptions = sys.modules.get("starlette.exceptions")
    if exceptions is not None and isinstance(error, exceptions.HTTPException):
        reply = encode.encode({"detail": error.detail})
        headers = [
            (str(name).lower().encode("latin-1"), str(value).encode("latin-1"))
            for name, value in (error.headers or {}).items()
        ]
        return reply._replace(status=error.status_code, headers=reply.headers + headers), error.status_code >= 500
    if isinstance(error, (BackPressureError, DeploymentUnavailableError)):
        status = error.status_code if isinstance(error, BackPressureError) else 503
        return _text(status, f"Service Unavailable: {error}\nrequest id: {request_id}\n"), False
    if isinstance(error, RequestTimeoutError):
        return _text(408, f"Request Timeout: {error}\nrequest id: {request_id}\n"), False
    text = f"Internal Server Error\nrequest id: {request_id}\n"
    if development:
        text += "\n" + "".join(traceback.format_exception(error))
    return _text(500, text), True


def says_client_gone(error: BaseException) -> bool:
    """Whether an application raised because the client had left: that is nobody's fault."""
    if isinstance(error, ClientGone):
        return True
    requests, websockets = sys.modules.get("starlette.requests"), sys.modules.get("starlette.websockets")
    return (requests is not None and isinstance(error, requests.ClientDisconnect)) or (
        websockets is not None and isinstance(error, websockets.WebSocketDisconnect)
    )


def _text(status: int, text: str) -> HTTPReply:
    return encode.encode(text)._replace(status=status)


# ASGI applications ---------------------------------------------------------------------------------------------------


class Exchange:
    """One request in an ASGI application: its ``send``, and the reply that comes of it.

    A reply that is whole by the next turn of the loop is given in one piece; of others the first part, and the rest
    goes through ``outbox``.
    """

    __slots__ = ("_headers", "_loop", "_on_open", "_status", "complete", "inbox", "outbox", "reply")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, inbox: Inbox, on_open: Callable[[Outbox], None] | None, reply: Any
    ) -> None:
        self._loop = loop
        self.inbox = inbox
        self.outbox: Outbox | None = None
        self.reply = reply  # a future, or an Answer of a line
        self.complete = False
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._on_open = on_open  # None: nobody can fetch the rest, so the reply is given whole

    @property
    def begun(self) -> bool:
        """Whether something of the reply is (or may be) on its way to the client."""
        return self.complete or self.outbox is not None

    async def send(self, message: Message) -> None:
        """ASGI's ``send``."""
        kind = message["type"]
        if kind == "http.response.start":
            if self._status:
                raise RuntimeError("the application sent http.response.start twice")
            self._status, self._headers = message["status"], list(message.get("headers") or ())
        elif kind == "http.response.body":
            await self._send_body(message.get("body", b""), message.get("more_body", False))
        else:
            raise RuntimeError(f"the application sent {kind!r} in reply to an HTTP request")

    async def _send_body(self, body: bytes, more: bool) -> None:
        if not self._status or self.complete:
            raise RuntimeError(
                "the application sent a body " + ("after its end" if self.complete else "before http.response.start")
            )
        if self.outbox is None:
            if not more:
                self._give(bytes(body))
                return
            self.outbox = Outbox()
            if self._on_open is not None:
                self._loop.call_soon(self._open)
        if self.outbox.closed:
            raise ClientGone("the client has gone")
        if more and self._on_open is not None:
            await self.outbox.put(bytes(body), len(body))
            return
        if body:
            self.outbox.add(bytes(body), len(body))
        if not more:
            self.outbox.end()
            if self.reply.done():
                self.complete = True
                self.inbox.leave()
            else:
                self._give(b"".join(self.outbox.take()))

    def _give(self, body: bytes) -> None:
        self.complete = True
        self.inbox.leave()
        if not self.reply.done():
            self.reply.set_result(HTTPReply(self._status, self._headers, body))

    def _open(self) -> None:
        if not self.reply.done() and self.outbox is not None and self._on_open is not None:
            self.reply.set_result(HTTPReply(self._status, self._headers, b"".join(self.outbox.take()), True))
            self._on_open(self.outbox)

    def fail(self, error: BaseException, reply: HTTPReply | None) -> None:
        """The application raised: ``reply`` if nothing was sent yet, else the rest breaks off."""
        self.inbox.leave()
        if self.outbox is not None:
            self.outbox.end(error)
        if not self.reply.done():
            if reply is None or self.outbox is not None:
                self.reply.set_exception(error)
            else:
                self.reply.set_result(reply)


class Lifespan:
    """Start and end of an ASGI application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._inbox = Inbox({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
        self._answer: asyncio.Future[str] | None = None
        self._task: asyncio.Task[None] | None = None
        self.state: dict[str, Any] = {}

    async def start(self) -> None:
        """Runs the application's start. Raises what it raised; applications that know no lifespan are fine."""
        failure = await self._ask()
        if failure is not None:
            task, self._task = self._task, None
            if task is not None:
                await asyncio.wait([task])
                if not task.cancelled() and task.exception() is not None:
                    raise task.exception()  # type: ignore[misc]
            raise RuntimeError(f"the application could not start: {failure or 'it gave no reason'}")

    async def end(self) -> None:
        """Runs the application's end; raises what it raised."""
        if self._task is None or self._task.done():
            return
        self._inbox.leave()
        failure = await self._ask()
        if failure is not None:
            raise RuntimeError(f"the application could not end as it should: {failure or 'it gave no reason'}")

    async def _ask(self) -> str | None:
        """Waits for the answer to start or end: None when all is well."""
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        if self._task is None:
            self._task = loop.create_task(self._run())
        answer = self._answer
        both: list[asyncio.Future[Any]] = [self._task, answer]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        return (answer.result() or None) if answer.done() else None

    async def _run(self) -> None:
        scope: Scope = {"type": "lifespan", "asgi": _ASGI, "state": self.state}
        try:
            await self._app(scope, self._inbox.receive, self._send)
        except Exception:
            if self._answer is None or self._answer.done():
                raise  # it has said so itself
            # Raised before any answer: by the specification it knows no lifespan.

    async def _send(self, message: Message) -> None:
        if self._answer is not None and not self._answer.done():
            failed = message["type"].endswith(".failed")
            self._answer.set_result((message.get("message") or "no reason given") if failed else "")


__all__ = [
    "Exchange",
    "Lifespan",
    "error_reply",
    "inbox_of",
    "reply_of",
    "says_client_gone",
    "scope_of",
    "starlette_request",
    "whole_body",
]
