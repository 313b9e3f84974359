"""The actor that runs one replica of a deployment.

::

    router ── call / http / stream / websocket ──► enough to do, or leaving? Rejected : count it
                                                     └► held while reconfigure() changes the user's object
                                                          └► async code: here on the loop; sync code: a thread
    proxy ── http_rest, push, cancel (call_id) ────► the request of that id
    controller ── start, reconfigure, check_health, stats, drain

Guarantees. All state belongs to the loop's thread. A request counts from the moment it is taken until user code has
returned and the last byte of its reply was fetched, so never more than ``max_ongoing_requests`` run, whoever sent them, and
``drain`` does not return before the last of them. A request is rejected before anything of it runs.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from time import perf_counter
from typing import Any

import aktis
from aktis.serve._observe import tracing
from aktis.serve._protocol import (
    DeploymentSpec,
    HTTPReply,
    HTTPRequest,
    Rejected,
    ReplicaID,
    ReplicaInfo,
    ReplicaStats,
    RequestMeta,
)
from aktis.serve._replica import http as _http
from aktis.serve._replica import logs
from aktis.serve._replica.callables import GENERATORS, Method, UserCallable
from aktis.serve._replica.running import Running, running_context
from aktis.serve._replica.stats import Metrics, Stats
from aktis.serve._replica.streams import ClientGone, Outbox
from aktis.serve._replica.threads import Threads
from aktis.serve.config import DeploymentConfig
from aktis.serve.context import ReplicaContext, request_context, set_replica_context
from aktis.serve.exceptions import RequestCancelledError

LINGER_S = 0.5  # from the beginning of drain() to its end at least: what callers may take to learn of it, and more
FETCH_S = 60.0  # how long the rest of a reply waits for the proxy to fetch it
WEBSOCKET_GRACE_S = 5.0  # how long an application may take to end after its websocket's client has gone
METRICS_S = 1.0  # after the start, when metrics are made
OBSERVE, OBSERVE_S = 50, 0.002  # latencies that go into the histogram at once, and seconds between two such times
AHEAD = 8  # chunks of a stream that core may hold for a slow reader


class ReplicaActor:
    """See docs/internals-serve.md for what each method means to its callers."""

    def __init__(self, id: ReplicaID, spec: DeploymentSpec, app: str) -> None:
        self._id = id
        self._spec = spec
        self._app_name = app
        self._config: DeploymentConfig = spec.config
        self._limit = self._config.max_ongoing_requests
        self._ongoing = 0
        self._held = 0  # of these, those that wait for reconfigure()
        self._draining = False
        self._gate: asyncio.Future[None] | None = None  # while reconfigure() waits or runs
        self._idle: list[asyncio.Future[None]] = []
        self._calls: dict[str, Running] = {}
        self._streams: dict[str, Running] = {}  # replies whose rest nobody has fetched yet
        self._stats = Stats()
        self._metrics: Metrics | None = None
        self._unreported: list[tuple[dict[str, list[float]], dict[str, int]]] = []  # what the metrics have yet to get
        self._observing = False
        self._ticker: asyncio.TimerHandle | None = None
        self._asgi: _http.ASGIApp | None = None
        self._lifespan: _http.Lifespan | None = None
        self._log_requests = False
        self._traced = bool(tracing.exporter_path())
        self._log_file: str | None = None
        self._loop: asyncio.AbstractEventLoop
        self._threads: Threads
        self._user: UserCallable
        self._reconfiguring: asyncio.Lock

    @staticmethod
    def __aktis_event_loop__() -> asyncio.AbstractEventLoop:
        try:
            import uvloop
        except ImportError:
            return asyncio.new_event_loop()
        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop

    # life ---------------------------------------------------------------------------------------
    async def start(self, user_config: Any = None) -> ReplicaInfo:
        """Make the user's object. Returns when it can take requests; raises what user code raised."""
        self._loop = asyncio.get_running_loop()
        self._threads = Threads(f"serve-{self._id.deployment}", self._loop)
        self._user = UserCallable(self._spec, self._threads)
        self._user.inbox = self._inbox_of_call
        self._reconfiguring = asyncio.Lock()
        facts = _facts()
        self._set_up_logs(facts.get("logs"))
        self._set_context(None)
        servable = await self._user.construct()
        self._set_context(servable)
        if user_config is not None:
            await self._user.reconfigure(user_config)
        self._config = _with_user_config(self._config, user_config)
        await self._start_asgi(servable)
        await self._user.check_health()
        self._loop.call_later(METRICS_S, self._start_metrics)
        logs.LOGGER.info("replica %s is ready", self._id)
        return ReplicaInfo(
            pid=os.getpid(),
            node_id=facts.get("node_id", ""),
            actor_id=facts.get("actor_id", ""),
            docs_path=self._spec.docs_path,
            log_file=self._log_file,
        )

    def _set_context(self, servable: Any) -> None:
        context = ReplicaContext(
            app_name=self._app_name,
            deployment=self._id.deployment,
            replica_tag=str(self._id),
            replica_id=self._id,
            servable_object=servable,
        )
        set_replica_context(context, of_process=True)

    def _set_up_logs(self, folder: str | None) -> None:
        config = self._config.logging_config
        self._log_file = logs.set_up(config, self._id, folder)
        self._log_requests = logs.LOGGER.isEnabledFor(10)

    async def _start_asgi(self, servable: Any) -> None:
        if not self._spec.is_asgi:
            return
        from aktis.serve._graph.asgi_app import make_fastapi_app_bound_to

        self._asgi = make_fastapi_app_bound_to(servable)
        self._lifespan = _http.Lifespan(self._asgi)
        await self._lifespan.start()

    async def reconfigure(self, config: DeploymentConfig) -> None:
        """Take over what changed. A new ``user_config`` waits until what runs is done, and holds new requests meanwhile."""
        async with self._reconfiguring:
            old, self._config = self._config, config
            self._limit = config.max_ongoing_requests
            if config.logging_config != old.logging_config:
                self._set_up_logs(_facts().get("logs"))
            if _same(config.user_config, old.user_config):
                return
            self._gate = self._loop.create_future()
            try:
                await self._until(lambda: self._ongoing == self._held)
                await self._user.reconfigure(config.user_config)
            except BaseException:
                self._config = _with_user_config(config, old.user_config)  # the next attempt is one again
                raise
            finally:
                gate, self._gate = self._gate, None
                gate.set_result(None)

    async def check_health(self) -> None:
        """The user's ``check_health``; what it raises comes out."""
        await self._user.check_health()

    async def drain(self, wait_loop_s: float, timeout_s: float) -> bool:
        """Take no more requests; returns True when nothing runs any more, False when ``timeout_s`` are over."""
        self._draining = True
        began = self._loop.time()
        done = True
        try:
            await asyncio.wait_for(self._until(lambda: not self._ongoing), timeout_s)
        except asyncio.TimeoutError:
            done = False
            logs.LOGGER.warning("%d requests still run after graceful_shutdown_timeout_s", self._ongoing)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._finish(), max(timeout_s, 1.0))
        # Callers that have not heard of it yet still send requests here: they are rejected, and do not find a dead process.
        await asyncio.sleep(min(wait_loop_s, LINGER_S) + began - self._loop.time())
        return done

    async def _finish(self) -> None:
        """The end of the user's object. What it raises is logged: nobody could do anything about it."""
        self._flush()
        if self._lifespan is not None:
            try:
                await self._lifespan.end()
            except Exception:
                logs.LOGGER.exception("the application raised while it ended")
        try:
            await self._user.destroy()
        except Exception:
            logs.LOGGER.exception("__del__ raised")
        multiplex = sys.modules.get("aktis.serve.multiplex")  # not there: nothing was loaded
        if multiplex is not None:
            await multiplex.unload_models(self._user.object)
        if self._traced:
            tracing.close(f"replica_{self._id}")

    async def stats(self) -> ReplicaStats:
        """Numbers for the controller."""
        self._flush()
        return ReplicaStats(
            ongoing=self._ongoing,
            processed=self._stats.processed,
            errors=self._stats.errors,
            streams=self._stats.streams,
            latencies=self._stats.percentiles(0.5, 0.95, 0.99),
            user=await self._user.autoscaling_stats(),
        )

    # counting -----------------------------------------------------------------------------------
    def _begin(self, meta: RequestMeta) -> Running:
        self._ongoing += 1
        running = Running(meta, perf_counter())
        if meta.call_id:
            running.task = asyncio.current_task()
            self._calls[meta.call_id] = running
        if self._traced:
            meta = self._begin_span(running)
        request_context.set(meta)
        running_context.set(running)
        if self._ticker is None:
            self._ticker = self._loop.call_later(1.0, self._tick)
        return running

    def _begin_span(self, running: Running) -> RequestMeta:
        """Tracing is on: what the request is now said to be a part of."""
        span = tracing.call_span(
            f"replica_{self._id}", f"{self._id.deployment}.{running.meta.method}", "SERVER", running.meta
        )
        if span is not None:
            running.span = span.enter()
            running.at_end(lambda: span.end(running.error, **{"aktis.replica": str(self._id)}))
            running.meta = running.meta._replace(trace=span.carrier)
        return running.meta

    def _end(self, running: Running) -> None:
        """One of the parts of a request has ended; with the last of them the request has."""
        running.parts -= 1
        if running.parts:
            return
        meta = running.meta
        if meta.call_id:
            self._calls.pop(meta.call_id, None)
        self._ongoing -= 1
        stats = self._stats
        stats.processed += 1
        stats.fresh[meta.route].append(perf_counter() - running.began)
        if running.error is not None:
            stats.errors += 1
            stats.failed[meta.route] += 1
        if running.at_end_calls is not None:
            for callback in running.at_end_calls:
                callback()
        if self._idle:
            self._wake_idle()
        if self._log_requests:
            took = (perf_counter() - running.began) * 1000
            logs.LOGGER.debug("%s %s %.2f ms", meta.method, "ERROR" if running.error else "OK", took)

    async def _until(self, condition: Any) -> None:
        while not condition():
            future = self._loop.create_future()
            self._idle.append(future)
            await future

    def _wake_idle(self) -> None:
        waiting, self._idle = self._idle, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def _hold(self) -> None:
        """Wait while the user's object changes."""
        self._held += 1
        self._wake_idle()
        try:
            while self._gate is not None:
                await asyncio.shield(self._gate)
        finally:
            self._held -= 1

    def _tick(self) -> None:
        """Each second while there are requests."""
        busy = self._ongoing or self._stats.fresh
        self._ticker = self._loop.call_later(1.0, self._tick) if busy else None
        self._flush()

    def _flush(self) -> None:
        """Numbers go from where requests count them to where they are read."""
        fresh, failed = self._stats.roll(self._loop.time())
        if fresh:
            self._unreported.append((fresh, failed))
        if self._metrics is None:
            return
        for fresh, failed in self._unreported:
            self._metrics.add(fresh, failed)
        self._unreported.clear()
        self._metrics.set_ongoing(self._ongoing)
        if not self._observing:
            self._observe()

    def _observe(self) -> None:
        self._observing = self._metrics is not None and self._metrics.observe(OBSERVE)
        if self._observing:
            self._loop.call_later(OBSERVE_S, self._observe)

    def _start_metrics(self) -> None:
        """In a thread, some time after the start: what it imports takes as long as hundreds of requests."""

        def make() -> None:
            metrics = Metrics(self._id)
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._metrics_ready, metrics)

        threading.Thread(target=make, name="serve-metrics", daemon=True).start()

    def _metrics_ready(self, metrics: Metrics) -> None:
        self._metrics = metrics
        metrics.started()
        self._flush()

    # calls of handles ---------------------------------------------------------------------------
    async def quick(
        self,
        request_id: str,
        call_id: str,
        method: str,
        app: str,
        route: str,
        model_id: str,
        idempotent: bool,
        deadline: float,
        packed: bytes | None,
        *args: Any,
    ) -> Any:
        """:meth:`call`, in the form that costs least: core sends numbers and short strings as they are, without pickling each
        call by itself. ``packed``: (args, kwargs) of built-in types, pickled; None: ``args`` is all there is."""
        meta = RequestMeta(request_id, call_id, method, app, route, model_id, idempotent, deadline)
        if packed is None:
            return await self.call(meta, args, {})
        return await self.call(meta, *pickle.loads(packed))

    async def call(self, meta: RequestMeta, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a method of the user's object."""
        if self._ongoing >= self._limit or self._draining:
            return Rejected(self._ongoing, self._draining)
        running = self._begin(meta)
        try:
            if self._gate is not None:
                await self._hold()
            value = await self._invoke(running, self._user.method(meta.method), args, kwargs)
            if type(value) in GENERATORS:
                raise TypeError(
                    f"{meta.method} of deployment {self._id.deployment!r} returned a generator: "
                    "call it with handle.options(stream=True)"
                )
            return value
        except BaseException as error:
            self._failed(running, error)
        finally:
            self._leave(running)

    async def _invoke(self, running: Running, method: Method, args: Any, kwargs: Any) -> Any:
        for arg in args:
            if isinstance(arg, aktis.ObjectRef):
                args = [await each if isinstance(each, aktis.ObjectRef) else each for each in args]
                break
        if kwargs:
            kwargs = {name: await each if isinstance(each, aktis.ObjectRef) else each for name, each in kwargs.items()}
        if method.is_coroutine:
            return await method.function(*args, **kwargs)
        if method.direct:
            return method.function(*args, **kwargs)
        future = self._threads.run(method.function, args, kwargs)
        try:
            value = await future
        except asyncio.CancelledError:
            running.abandoned = future
            raise
        return await value if hasattr(type(value), "__await__") else value

    def _leave(self, running: Running) -> None:
        """This coroutine is done with the request; a thread that was left behind may not be."""
        request_context.set(None)
        running_context.set(None)
        if running.span is not None:
            running.span.leave()
        if running.abandoned is None:
            self._end(running)
        else:
            self._threads.when_ended(running.abandoned, lambda: self._end(running))

    def _failed(self, running: Running, error: BaseException) -> None:
        """Note an error and raise it, as its caller is to see it."""
        if isinstance(error, asyncio.CancelledError) and running.cancelled:
            raise RequestCancelledError(f"request {running.meta.request_id} was cancelled") from None
        running.error = error
        if isinstance(error, Exception):
            self._log_error(running, error)
        raise error

    def _log_error(self, running: Running, error: BaseException) -> None:
        meta = running.meta
        logs.LOGGER.error("request %s: %s raised", meta.request_id, meta.method, exc_info=error)

    async def cancel(self, call_id: str) -> None:
        """The client has gone, or waits no longer."""
        running = self._calls.get(call_id)
        if running is not None and not running.cancelled:
            running.cancelled = True
            self._streams.pop(call_id, None)
            running.cancel()
            calls = sys.modules.get("aktis.serve._routing.calls")  # not there: nothing here has called anything
            if calls is not None:
                calls.cancel_children(call_id)

    # streams of handles -------------------------------------------------------------------------
    @aktis.method(_generator_backpressure_num_objects=64)
    async def stream(self, meta: RequestMeta, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncIterator[Any]:
        """Items of the generator that a method of the user's returns; first None, or a Rejected."""
        if self._ongoing >= self._limit or self._draining:
            yield Rejected(self._ongoing, self._draining)
            return
        running = self._begin(meta)
        self._stats.streams += 1
        items = None
        try:
            yield None
            if self._gate is not None:
                await self._hold()
            value = await self._invoke(running, self._user.method(meta.method), args, kwargs)
            items = self._iterate(running, value)
            if items is None:
                raise TypeError(
                    f"{meta.method} of deployment {self._id.deployment!r} returned a {type(value).__name__}, and with "
                    "stream=True it must return (or be) a generator: call it without stream=True"
                )
            async for item in items:
                yield item
        except GeneratorExit:
            raise
        except BaseException as error:
            self._failed(running, error)
        finally:
            if items is not None:
                with suppress(Exception):
                    await items.aclose()
            self._leave(running)

    def _iterate(self, running: Running, value: Any) -> Any:
        """An asynchronous iterator of what user code returned; None if that is no iterator."""
        if hasattr(type(value), "__anext__"):
            return value
        if hasattr(type(value), "__next__"):
            items = self._threads.iterate(value)
            running.parts += 1
            items.ended.add_done_callback(lambda _: self._end(running))
            return items
        return None

    # HTTP ---------------------------------------------------------------------------------------
    async def http(self, meta: RequestMeta, request: HTTPRequest) -> HTTPReply | Rejected:
        """Answer an HTTP request."""
        if self._ongoing >= self._limit or self._draining:
            return Rejected(self._ongoing, self._draining)
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
            self._failed(running, error)
            raise
        except Exception as error:
            return self._http_error(running, error, request)
        finally:
            self._leave(running)

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
        if ours and not (isinstance(error, ClientGone) and running.cancelled):
            running.error = error
            self._log_error(running, error)
        return reply

    async def _exchange(self, running: Running, app: _http.ASGIApp, request: HTTPRequest) -> HTTPReply:
        """The reply of an ASGI application, which runs in a task of its own: it may go on when the reply has begun."""
        inbox = running.inbox
        if inbox is None:
            inbox = running.inbox = _http.inbox_of(request)

        def open_stream(outbox: Outbox) -> None:
            call_id = running.meta.call_id
            running.outbox = outbox
            running.parts += 1
            running.stream_ended = lambda: self._end(running)
            self._stats.streams += 1
            self._streams[call_id] = running
            running.timer = self._loop.call_later(FETCH_S, self._nobody_fetched, call_id)

        exchange = _http.Exchange(inbox, open_stream if running.meta.call_id else None)
        running.parts += 1
        running.task = self._loop.create_task(self._run_app(running, app, request, exchange))
        try:
            return await exchange.reply
        except asyncio.CancelledError:
            running.cancel()
            raise

    async def _run_app(
        self, running: Running, app: _http.ASGIApp, request: HTTPRequest, exchange: _http.Exchange
    ) -> None:
        scope = _http.scope_of(request, self._lifespan.state if self._lifespan is not None else None)
        try:
            await app(scope, exchange.inbox.receive, exchange.send)
            if not exchange.complete:
                raise RuntimeError("the application returned without a whole reply")
        except asyncio.CancelledError:
            exchange.fail(RequestCancelledError(f"request {running.meta.request_id} was cancelled"), None)
        except ClientGone as error:
            exchange.fail(error, None)
        except BaseException as error:
            if exchange.begun:
                running.error = error
                self._log_error(running, error)
                exchange.fail(error, None)
            else:
                exchange.fail(error, self._http_error(running, error, request))
        finally:
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
            raise RequestCancelledError(
                f"there is no reply to fetch for call {call_id!r}: it was cancelled, or fetched before"
            )
        if running.timer is not None:
            running.timer.cancel()
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

    def _inbox_of_call(self, call_id: str) -> _http.Inbox:
        """Where the requests of a gRPC client that streams arrive."""
        running = self._calls[call_id]
        if running.inbox is None:
            running.inbox = _http.Inbox(None, {"type": "grpc.disconnect"})
        return running.inbox

    # websockets ---------------------------------------------------------------------------------
    @aktis.method(_generator_backpressure_num_objects=AHEAD)
    async def websocket(self, meta: RequestMeta, request: HTTPRequest) -> AsyncIterator[Any]:
        """ASGI messages of the application for one websocket; first None, or a Rejected."""
        if self._ongoing >= self._limit or self._draining:
            yield Rejected(self._ongoing, self._draining)
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
            running.task = self._loop.create_task(self._run_websocket(running, self._asgi, request))
            while messages := await outbox.get():
                for message in messages:
                    yield message
        finally:
            inbox.leave()
            outbox.close()
            if running.task is not None and self._asgi is not None:
                self._loop.call_later(WEBSOCKET_GRACE_S, running.task.cancel)
            self._leave(running)

    async def _run_websocket(self, running: Running, app: _http.ASGIApp, request: HTTPRequest) -> None:
        inbox, outbox = running.inbox, running.outbox
        assert inbox is not None and outbox is not None
        running.websocket = True

        async def send(message: dict[str, Any]) -> None:
            await outbox.put(message, len(message.get("bytes") or b"") + len(message.get("text") or ""))

        try:
            await app(
                _http.scope_of(request, self._lifespan.state if self._lifespan is not None else None),
                inbox.receive,
                send,
            )
        except (asyncio.CancelledError, ClientGone):
            pass
        except BaseException as error:
            running.error = error
            self._log_error(running, error)
            with suppress(ClientGone):
                outbox.add({"type": "websocket.close", "code": 1011, "reason": "Internal Server Error"}, 0)
        finally:
            outbox.end()
            self._end(running)


def _facts() -> dict[str, Any]:
    """Where this runs; empty outside of a session."""
    if not aktis.is_initialized():
        return {}
    context = aktis.get_runtime_context()
    return {
        "node_id": context.get_node_id() or "",
        "actor_id": context.get_actor_id() or "",
        "logs": os.path.join(context.get_session_dir(), "logs", "serve"),
    }


def _with_user_config(config: DeploymentConfig, user_config: Any) -> DeploymentConfig:
    from dataclasses import replace

    return replace(config, user_config=user_config)


def _same(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # arrays and the like: whether they are equal is not one answer
        return False
