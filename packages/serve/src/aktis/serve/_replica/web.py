"""HTTP and websockets of a replica: replies whole and in parts, applications in tasks of their own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any

import aktis
from aktis.serve._protocol import DeploymentSpec, HTTPReply, HTTPRequest, Rejected, ReplicaID, RequestMeta
from aktis.serve._replica import http as _http
from aktis.serve._replica.eager import start_task
from aktis.serve._replica.line import Answer, Lines
from aktis.serve._replica.requests import NOWHERE, Requests
from aktis.serve._replica.running import Running
from aktis.serve._replica.streams import ClientGone, Inbox, Outbox
from aktis.serve.exceptions import RequestCancelledError, ServeError

FETCH_S = 60.0  # how long the rest of a reply waits for the proxy to fetch it
WEBSOCKET_GRACE_S = 5.0  # how long an application may take to end after its websocket's client has gone
AHEAD = 8  # chunks of a stream that core may hold for a slow reader


class Web(Requests):
    """What proxies call."""

    def __init__(self, id: ReplicaID, spec: DeploymentSpec, app: str) -> None:
        super().__init__(id, spec, app)
        self._streams: dict[str, Running] = {}  # replies whose rest nobody has fetched yet
        self._asgi: _http.ASGIApp | None = None
        self._lifespan: _http.Lifespan | None = None
        self._lines = Lines()

    # HTTP ---------------------------------------------------------------------------------------
    async def http(self, meta: RequestMeta, request: HTTPRequest) -> HTTPReply | Rejected:
        """Answer an HTTP request."""
        if self._ongoing >= self._limit or self._draining:
            return self._rejected()
        running = self._begin(meta)
        try:
            if self._gate is not None:
                running.inbox = _http.inbox_of(request)
                await self._hold()
            if self._asgi is not None:
                return await self._exchange(running, self._asgi, request)
            value = await self._answer(running, request)
            if hasattr(type(value), "__next__"):
                value = self._iterate(running, value)
            reply = _http.reply_of(value)
            return reply if type(reply) is HTTPReply else await self._exchange(running, reply, request)  # type: ignore[arg-type]
        except asyncio.CancelledError as error:
            if self._failed(running, error):
                raise RequestCancelledError(running.meta.request_id) from None
            raise
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # a request does not end its replica
            if running.cancelled:
                raise
            return self._http_error(running, error, request)
        finally:
            self._leave(running)

    async def answer(self, answer: Answer, meta: RequestMeta, request: HTTPRequest) -> None:
        """:meth:`http` for lines: the reply goes to ``answer``, so an application needs no task beside this one."""
        app = self._asgi
        if app is None or self._traced or self._gate is not None or request.development:
            answer.set_result(await self.http(meta, request))
            return
        if self._ongoing >= self._limit or self._draining:
            answer.set_result(self._rejected())
            return
        running = self._begin(meta)
        await self._run_app(running, app, request, self._new_exchange(running, request, answer))

    async def open_line(self) -> str:
        """Where a proxy of this machine connects, to send requests with less effort than calls take. "": nowhere."""
        folder = aktis.get_runtime_context().get_session_dir() if aktis.is_initialized() else ""
        # Beside the sockets of core's processes: the session's folder is its user's alone.
        return await self._lines.open(self, folder) if folder else ""

    async def _answer(self, running: Running, request: HTTPRequest) -> Any:
        """What the user's function or ``__call__`` returns for a request."""
        method = self._user.method(running.meta.method)
        if not method.takes_request:
            return await self._invoke(running, method, (), {})
        inbox = running.inbox
        if inbox is None:
            inbox = running.inbox = _http.inbox_of(request)
        if request.more_body and not method.direct:
            request = await _http.whole_body(request, inbox)
            inbox = _http.inbox_of(request)
        return await self._invoke(running, method, (_http.starlette_request(request, inbox),), {})

    def _http_error(self, running: Running, error: BaseException, request: HTTPRequest) -> HTTPReply:
        reply, ours = _http.error_reply(error, running.meta.request_id, request.development)
        if ours:
            running.error = error
            self._log_error(running, error)
        return reply

    async def _exchange(self, running: Running, app: _http.ASGIApp, request: HTTPRequest) -> HTTPReply:
        """The reply of an ASGI application, which runs in a task of its own: it may go on when the reply has begun."""
        future: asyncio.Future[HTTPReply] = self._loop.create_future()
        exchange = self._new_exchange(running, request, future)
        running.parts += 1
        running.task = task = start_task(self._loop, self._run_app(running, app, request, exchange))
        if not running.entered:
            task.add_done_callback(lambda _: None if running.entered else self._app_ended(running, exchange))
        try:
            reply = await future
        except asyncio.CancelledError:
            running.cancel()
            raise
        if request.development and reply.status >= 500 and not reply.more:
            await asyncio.wait([task], timeout=1.0)  # applications answer first, and raise what it was afterwards
            if running.error is not None:
                return _http.error_reply(running.error, running.meta.request_id, True)[0]
        return reply

    def _new_exchange(self, running: Running, request: HTTPRequest, reply: Any) -> _http.Exchange:
        inbox = running.inbox
        if inbox is None:
            inbox = running.inbox = _http.inbox_of(request)
        open_stream = partial(self._stream_begins, running) if running.meta.call_id else None
        return _http.Exchange(self._loop, inbox, open_stream, reply)

    def _stream_begins(self, running: Running, outbox: Outbox) -> None:
        """The rest of a reply is to be fetched."""
        call_id = running.meta.call_id
        running.outbox = outbox
        running.parts += 1
        running.stream_ended = lambda: self._end(running)
        self._stats.streams += 1
        self._streams[call_id] = running
        running.timer = self._loop.call_later(FETCH_S, self._nobody_fetched, call_id, context=NOWHERE)

    async def _run_app(
        self, running: Running, app: _http.ASGIApp, request: HTTPRequest, exchange: _http.Exchange
    ) -> None:
        running.entered = True
        scope = _http.scope_of(request, self._lifespan.state if self._lifespan is not None else None)
        try:
            await app(scope, exchange.inbox.receive, exchange.send)
            if not exchange.complete:
                raise RuntimeError("the application returned without a whole reply")
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            if _http.says_client_gone(error):
                exchange.fail(error, None)
            elif exchange.begun:
                running.error = error
                self._log_error(running, error)
                exchange.fail(error, None)
            else:
                exchange.fail(error, self._http_error(running, error, request))
        finally:
            self._app_ended(running, exchange)

    def _app_ended(self, running: Running, exchange: _http.Exchange) -> None:
        """Called by the application's task; by its callback where it was cancelled before its first step."""
        if running.items is not None:
            running.items.close()
        if not exchange.complete:  # no effect after a failure of its own
            exchange.fail(RequestCancelledError(running.meta.request_id), None)
        self._end(running)

    def _nobody_fetched(self, call_id: str) -> None:
        running = self._streams.pop(call_id, None)
        if running is not None:
            running.cancel()

    @aktis.method(_generator_backpressure_num_objects=AHEAD)
    async def http_rest(self, call_id: str) -> AsyncIterator[bytes]:
        """The rest of a reply that was given with ``more=True``."""
        running = self._streams.pop(call_id, None)
        if running is None or running.outbox is None:
            raise ServeError(f"there is no reply to fetch for call {call_id!r}: it was cancelled, or fetched before")
        running.stop_timer()
        outbox = running.outbox
        try:
            while chunks := await outbox.get():
                yield chunks[0] if len(chunks) == 1 else b"".join(chunks)
        finally:
            if outbox.spent:
                running.fetched()
            else:  # the client has gone
                running.cancel()

    async def push(self, call_id: str, messages: list[dict[str, Any]]) -> int:
        """ASGI messages of the client. Returns when there is room for more: how many were taken, or -1: nobody reads them."""
        running = self._calls.get(call_id)
        if running is None:
            return -1
        inbox = running.inbox
        if inbox is None:
            if not running.meta.method.startswith("grpc:"):
                return -1
            inbox = self._inbox_of_call(call_id)
        return await inbox.push(messages)

    def _inbox_of_call(self, call_id: str) -> Inbox:
        """Where the requests of a gRPC client that streams arrive."""
        running = self._calls[call_id]
        if running.inbox is None:
            running.inbox = Inbox(None, {"type": "grpc.disconnect"})
        return running.inbox

    # websockets ---------------------------------------------------------------------------------
    @aktis.method(_generator_backpressure_num_objects=AHEAD)
    async def websocket(self, meta: RequestMeta, request: HTTPRequest) -> AsyncIterator[Any]:
        """ASGI messages of the application for one websocket; first None, or a Rejected."""
        if self._ongoing >= self._limit or self._draining:
            yield self._rejected()
            return
        running = self._begin(meta)
        self._stats.streams += 1
        inbox = running.inbox = _http.inbox_of(request)
        outbox = running.outbox = Outbox()
        try:
            yield None
            if self._gate is not None:
                await self._hold()
            if self._asgi is None:
                yield {"type": "websocket.close", "code": 1003, "reason": "this deployment has no websockets"}
                return
            running.parts += 1
            running.websocket = True
            running.task = task = self._loop.create_task(self._run_websocket(running, self._asgi, request))
            task.add_done_callback(lambda _: None if running.entered else self._websocket_ended(running, outbox))
            while messages := await outbox.get():
                for message in messages:
                    yield message
        finally:
            inbox.leave()
            outbox.close()
            if running.task is not None and self._asgi is not None:
                self._loop.call_later(WEBSOCKET_GRACE_S, running.task.cancel, context=NOWHERE)
            self._leave(running)

    def _websocket_ended(self, running: Running, outbox: Outbox) -> None:
        outbox.end()
        self._end(running)

    async def _run_websocket(self, running: Running, app: _http.ASGIApp, request: HTTPRequest) -> None:
        running.entered = True
        inbox, outbox = running.inbox, running.outbox
        assert inbox is not None and outbox is not None

        async def send(message: dict[str, Any]) -> None:
            await outbox.put(message, len(message.get("bytes") or b"") + len(message.get("text") or ""))

        try:
            await app(
                _http.scope_of(request, self._lifespan.state if self._lifespan is not None else None),
                inbox.receive,
                send,
            )
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            if _http.says_client_gone(error):
                return
            running.error = error
            self._log_error(running, error)
            with suppress(ClientGone):
                outbox.add({"type": "websocket.close", "code": 1011, "reason": "Internal Server Error"}, 0)
        finally:
            self._websocket_ended(running, outbox)

    async def cancel(self, call_id: str) -> None:
        """The client has gone, or waits no longer."""
        self.cancel_now(call_id)

    def cancel_now(self, call_id: str) -> None:
        """:meth:`cancel`, on the loop's thread."""
        running = self._calls.get(call_id)
        if running is not None and not running.cancelled:
            running.cancelled = True
            self._streams.pop(call_id, None)
            running.cancel()
            calls = sys.modules.get("aktis.serve._routing.calls")  # not there: nothing here has called anything
            if calls is not None:
                calls.cancel_children(call_id)
