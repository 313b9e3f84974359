"""The proxy as an ASGI application: for WebSockets, and for HTTP when the user configured middlewares."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from aktis.serve._proxy import replies
from aktis.serve._proxy.exchange import WHOLE_BODY, ASGIExchange, ClientGoneError
from aktis.serve._proxy.protocol import IDEMPOTENT, describe
from aktis.serve._proxy.routes import parse_target
from aktis.serve._proxy.websocket import WebSockets

if TYPE_CHECKING:
    from aktis.serve._proxy.dispatch import Dispatcher
    from aktis.serve._proxy.edge import Edge

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class ProxyApp:
    """See the module's docstring."""

    def __init__(self, dispatcher: Dispatcher, edge: Edge) -> None:
        self._dispatcher = dispatcher
        self._edge = edge
        self.websockets = WebSockets(dispatcher, edge)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "websocket":
            await self.websockets.serve(scope, receive, send)
        elif kind == "lifespan":
            await _lifespan(receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        ex = ASGIExchange(receive, send, self._edge.draining)
        fill(ex, scope, self._edge)
        protocol = scope.get("aktis", (None,))[0]
        if protocol is not None:
            protocol.exchange = ex
        try:
            await ex.read_first(WHOLE_BODY)
            limit = self._dispatcher.max_body
            if limit and ex.body_bytes > limit:
                await ex.send_whole(*replies.too_large(limit))
                return
            await self._dispatcher.run(ex)
        except ClientGoneError:
            return
        finally:
            if protocol is not None and protocol.exchange is ex:
                protocol.exchange = None


def fill(ex: Any, scope: Scope, edge: Edge) -> None:
    """Describes a request from its ASGI scope."""
    ex.method = scope.get("method", "GET")
    raw = scope.get("raw_path") or scope["path"].encode()
    query = scope.get("query_string", b"")
    ex.target = parse_target(raw + b"?" + query if query else raw)
    ex.headers = list(scope["headers"])
    ex.http_version = scope.get("http_version", "1.1")
    ex.scheme = scope.get("scheme", "http")
    client, server = scope.get("client"), scope.get("server")
    ex.client = tuple(client) if client else None
    ex.server = tuple(server) if server else None
    ex.idempotent = ex.method in IDEMPOTENT
    describe(ex, dict(ex.headers), edge)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def wrap(app: ASGIApp, middlewares: Any) -> ASGIApp:
    """The application inside the user's middlewares; the first one is the outermost.

    Args:
        app: what they surround.
        middlewares: each a starlette ``Middleware``, an iterable ``(class, args, kwargs)`` or ``(class, kwargs)``, or a
            callable that takes the application.
    """
    for middleware in reversed(list(middlewares)):
        if hasattr(middleware, "cls"):
            arguments = (
                getattr(middleware, "args", ()),
                dict(getattr(middleware, "kwargs", getattr(middleware, "options", {}))),
            )
            app = middleware.cls(app, *arguments[0], **arguments[1])
        elif isinstance(middleware, (tuple, list)):
            cls, *rest = middleware
            kwargs = rest.pop() if rest and isinstance(rest[-1], dict) else {}
            app = cls(app, *(rest[0] if rest else ()), **kwargs)
        elif callable(middleware):
            app = middleware(app)
        else:
            raise TypeError(f"a middleware must be a starlette.middleware.Middleware or a callable, got {middleware!r}")
    return app


__all__ = ["ProxyApp", "fill", "wrap"]
