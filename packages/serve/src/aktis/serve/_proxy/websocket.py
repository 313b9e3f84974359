"""WebSockets: messages of the application come as a stream from the replica, those of the client go there through push().

::

    client ──receive()──► this task ──push(call_id, [message])──► replica
    client ◄──send()──── pump task ◄──websocket(meta, request)── replica       (a streaming generator, with back-pressure)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from aktis.exceptions import AktisError
from aktis.serve._protocol import Rejected
from aktis.serve._proxy.exchange import Exchange
from aktis.serve._proxy.leases import MOST_ATTEMPTS, acquire, end_lease
from aktis.serve._routing.calls import is_death, may_have_begun
from aktis.serve.exceptions import BackPressureError, DeploymentUnavailableError, RequestTimeoutError

if TYPE_CHECKING:
    from aktis.serve._proxy.dispatch import Dispatcher
    from aktis.serve._proxy.edge import Edge

logger = logging.getLogger("aktis.serve")

GOING_AWAY, INTERNAL_ERROR, SERVICE_RESTART, TRY_LATER = 1001, 1011, 1012, 1013


class WebSockets:
    """The WebSockets of one proxy."""

    def __init__(self, dispatcher: Dispatcher, edge: Edge) -> None:
        self._dispatcher = dispatcher
        self._edge = edge
        self._sessions: set[Session] = set()

    async def leave(self) -> None:
        """The proxy drains: clients are told to connect anew."""
        await asyncio.gather(*(session.go_away() for session in list(self._sessions)))

    async def serve(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """One WebSocket, from its handshake to its end."""
        from aktis.serve._proxy.app import fill

        dispatcher = self._dispatcher
        ex = Exchange()
        fill(ex, scope, self._edge)
        await receive()  # websocket.connect
        path = ex.target.matched
        view = dispatcher.table.match(dispatcher.table.strip(path))
        if view is None or self._edge.draining:
            status, text = (503, "This proxy is draining.") if view is not None else (404, f"Path '{path}' not found.")
            await deny(scope, send, status, text)
            return
        route = dispatcher.routes[view]
        dispatcher.counters.websockets += 1
        dispatcher.ongoing += 1
        session = Session(dispatcher, ex, route, scope, receive, send)
        self._sessions.add(session)
        try:
            status = await session.run()
        except BaseException:
            dispatcher.close(ex, 500)
            raise
        finally:
            dispatcher.counters.websockets -= 1
            self._sessions.discard(session)
        dispatcher.close(ex, status)


async def deny(scope: MutableMapping[str, Any], send: Callable[[Any], Awaitable[None]], status: int, text: str) -> None:
    """Refuses a handshake."""
    if "websocket.http.response" in (scope.get("extensions") or {}):
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text.encode()))]
        await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": text.encode()})
    else:
        await send({"type": "websocket.close", "code": TRY_LATER if status == 503 else 1000, "reason": text[:100]})


class Session:
    """One WebSocket that has a route."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        ex: Exchange,
        route: Any,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        self._dispatcher = dispatcher
        self._ex = ex
        self._scope = scope
        self._receive = receive
        self._send = send
        ex.route = route
        ex.call_id = dispatcher.new_call_id()
        ex.meta = dispatcher.meta_of(ex, route.view, 0.0)
        self._request = ex.request(dispatcher.table.root_path, "websocket", tuple(scope.get("subprotocols") or ()))
        self._accepted = False
        self._closed = False  # the application, or we, said the last word
        self._gone = False  # the client did

    async def run(self) -> int:
        """Returns the status that is counted."""
        try:
            lease, stream = await self._open()
        except (BackPressureError, DeploymentUnavailableError, RequestTimeoutError) as error:
            status = error.status_code if isinstance(error, BackPressureError) else 503
            await deny(self._scope, self._send, status, str(error))
            return status
        ex = self._ex
        ex.replica = lease.replica.id.unique
        actor = lease.replica.actor
        pump = asyncio.ensure_future(self._pump(stream))
        feed = asyncio.ensure_future(self._feed(actor))
        try:
            await asyncio.wait((pump, feed), return_when=asyncio.FIRST_COMPLETED)
            if not pump.done() and self._gone:  # the application says good-bye, or is told to
                await asyncio.wait((pump,), timeout=10.0)
            return self._result(pump)
        finally:
            for task in (pump, feed):
                task.cancel()
            await asyncio.gather(pump, feed, return_exceptions=True)
            if not self._closed and not self._gone:
                await self._bye(SERVICE_RESTART if self._lost else INTERNAL_ERROR)
            try:
                actor.cancel.remote(ex.call_id)
            except AktisError:
                pass
            lease.release()

    def _result(self, pump: asyncio.Future[None]) -> int:
        error = pump.exception() if pump.done() and not pump.cancelled() else None
        if error is None:
            return 101
        if is_death(error):  # killed, or it had to leave before the client did: clients connect anew
            self._lost = True
            logger.warning("WebSocket %s of %s ends with its replica", self._ex.request_id, self._ex.target.path)
            return 502
        logger.error("WebSocket %s of %s failed", self._ex.request_id, self._ex.target.path, exc_info=error)
        return 500

    async def _open(self) -> tuple[Any, Any]:
        """A replica that has taken it, and the stream of the application's messages."""
        ex = self._ex
        assert ex.route is not None and ex.meta is not None
        again = admitted = False
        attempt = 0
        while True:
            lease = await acquire(ex.route.router, ex.meta, again=again, admitted=admitted)
            again = True
            admitted = admitted or lease.waited
            try:
                stream = lease.replica.actor.websocket.remote(ex.meta, self._request)
                first = await (await stream.__anext__())
            except BaseException as error:
                end_lease(lease, error)
                if not is_death(error):
                    raise
                attempt += may_have_begun(error)
                admitted = True
                if attempt >= MOST_ATTEMPTS:
                    raise DeploymentUnavailableError(lease.replica.id.deployment, "its replicas died") from None
                continue
            if isinstance(first, Rejected):
                lease.rejected(first)
                admitted = admitted or first.draining
                continue
            return lease, stream

    async def _pump(self, stream: Any) -> None:
        """The application's messages to the client."""
        async for ref in stream:
            message = await ref
            if self._closed or self._gone:
                return
            kind = message["type"]
            if kind == "websocket.accept":
                self._accepted = True
            elif kind == "websocket.close":
                self._closed = True
            await self._send(message)
            if kind == "websocket.http.response.body" and not message.get("more_body"):
                self._closed = True

    async def _feed(self, actor: Any) -> None:
        """The client's messages to the application; the next one is read when there is room for it."""
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self._gone = True
            taken = await actor.push.remote(self._ex.call_id, [message])
            if self._gone or taken == -1:
                return

    async def go_away(self) -> None:
        """Says good-bye to the client; the application learns of it as if the client had left."""
        if self._accepted and not self._closed:
            await self._bye(GOING_AWAY)

    async def _bye(self, code: int) -> None:
        self._closed = True
        try:
            await self._send({"type": "websocket.close", "code": code, "reason": ""})
        except Exception:  # it was closed meanwhile
            pass
