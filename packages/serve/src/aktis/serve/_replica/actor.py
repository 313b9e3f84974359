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
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from functools import partial
from typing import Any

import aktis
from aktis.serve._loops import new_event_loop
from aktis.serve._observe import tracing
from aktis.serve._protocol import (
    DeploymentSpec,
    ReplicaID,
    ReplicaInfo,
    ReplicaStats,
    RequestMeta,
)
from aktis.serve._replica import http as _http
from aktis.serve._replica import logs
from aktis.serve._replica.callables import GENERATORS, Method, UserCallable
from aktis.serve._replica.requests import METRICS_S
from aktis.serve._replica.thread_call import ThreadCall
from aktis.serve._replica.threads import Threads
from aktis.serve._replica.web import Web
from aktis.serve.config import DeploymentConfig
from aktis.serve.context import ReplicaContext, set_replica_context
from aktis.serve.exceptions import RequestCancelledError

_new = tuple.__new__  # half the time of RequestMeta(...)
LATE_S, LATE_AT_MOST_S = 0.25, 5.0  # without a request until a drained replica may end; and how long that may take


class ReplicaActor(Web):
    """See docs/internals-serve.md for what each method means to its callers."""

    def __init__(self, id: ReplicaID, spec: DeploymentSpec, app: str) -> None:
        super().__init__(id, spec, app)
        self._log_file: str | None = None
        self._reconfiguring: asyncio.Lock

    @staticmethod
    def __aktis_event_loop__() -> asyncio.AbstractEventLoop:
        return new_event_loop()

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
        await self._start_http(servable)
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
        wanted = config is None or config.enable_access_log
        self._log_requests = wanted and logs.LOGGER.isEnabledFor(10)  # DEBUG: proxies have an access log anyway

    async def _start_http(self, servable: Any) -> None:
        """What requests over HTTP need: imported now, and not with the first of them."""
        if self._spec.is_asgi:
            from aktis.serve._graph.asgi_app import make_fastapi_app_bound_to
            from aktis.serve._replica.endpoints import anyio_thread, in_threads

            around = anyio_thread(self._loop)
            if around is not None:
                self._threads.around = around
            adapt = None if around is None else partial(in_threads, threads=self._threads, end=self._end)
            self._asgi = make_fastapi_app_bound_to(servable, adapt)
            self._lifespan = _http.Lifespan(self._asgi)
            self._let_applications_have_threads()
            await self._lifespan.start()
        elif self._spec.is_ingress and callable(servable) and self._user.method("__call__").takes_request:
            import starlette.requests  # noqa: F401

    def _let_applications_have_threads(self) -> None:
        """Starlette runs synchronous endpoints in threads of its own, 40 at most: as many as requests, if those are more."""
        from anyio.to_thread import current_default_thread_limiter

        limiter = current_default_thread_limiter()
        limiter.total_tokens = max(limiter.total_tokens, self._limit)

    async def reconfigure(self, config: DeploymentConfig) -> None:
        """Take over what changed. A new ``user_config`` waits until what runs is done, and holds new requests meanwhile."""
        self._limit = config.max_ongoing_requests
        if self._asgi is not None:
            self._let_applications_have_threads()
        async with self._reconfiguring:
            old, self._config = self._config, config
            if config.logging_config != old.logging_config:
                self._set_up_logs(_facts().get("logs"))
            if config.user_config is None or _same(config.user_config, old.user_config):
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
        """Take no more requests; returns True when nothing runs any more, False when ``timeout_s`` are over.

        Callers hear of it in their own time: until none has asked for a moment, there is somebody here who tells them
        to ask another replica. What comes after that would be lost with the process.
        """
        self._draining = True
        self._late = self._loop.time()
        done = True
        try:
            await asyncio.wait_for(self._until(lambda: not self._ongoing), timeout_s)
        except asyncio.TimeoutError:
            done = False
            logs.LOGGER.warning("%d requests still run after graceful_shutdown_timeout_s", self._ongoing)
        quiet = min(wait_loop_s, LATE_S)
        end = self._late + LATE_AT_MOST_S
        while (now := self._loop.time()) < min(end, self._late + quiet):
            await asyncio.sleep(self._late + quiet - now)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._finish(), max(timeout_s, 1.0))
        return done

    async def _finish(self) -> None:
        """The end of the user's object. What it raises is logged: nobody could do anything about it."""
        self._flush()
        self._lines.close()
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
        routing = sys.modules.get("aktis.serve._routing.watcher")  # not there: it called nobody
        if routing is not None:
            routing.stop()  # the controller would wait for us to hear of those we called

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

    # calls of handles ---------------------------------------------------------------------------
    def quick(
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
    ) -> Awaitable[Any]:
        """:meth:`call`, in the form that costs least: core sends numbers and short strings as they are, without pickling each
        call by itself. ``packed``: (args, kwargs) of built-in types, pickled; None: ``args`` is all there is."""
        meta = _new(RequestMeta, (request_id, call_id, method, app, route, model_id, idempotent, deadline, None))
        return self._quick(meta, args) if packed is None else self.call(meta, *pickle.loads(packed))

    def root(self, request_id: str, method: str, *args: Any) -> Awaitable[Any]:
        """:meth:`quick` for a call that no request has made, and that says nothing of its own: the usual one of a program."""
        app = self._app_name
        return self._quick(_new(RequestMeta, (request_id, request_id, method, app, "", "", False, 0.0, None)), args)

    def _quick(self, meta: RequestMeta, args: tuple[Any, ...]) -> Awaitable[Any]:
        known = self._user.known(meta.method)
        if known is None or self._gate is not None or self._ongoing >= self._limit or self._draining:
            return self.call(meta, args, {})
        if known.direct:
            return self._on_loop(known, meta, args)
        if self._traced:
            return self.call(meta, args, {})
        return ThreadCall(self, meta, known.function, args)

    async def _on_loop(self, known: Method, meta: RequestMeta, args: tuple[Any, ...]) -> Any:
        running = self._begin(meta)  # as call() does, in fewer coroutines
        try:
            value = known.function(*args)
            if known.is_coroutine:
                value = await value
            if type(value) in GENERATORS:
                raise self._is_generator(meta)
            return value
        except BaseException as error:
            if self._failed(running, error):
                raise RequestCancelledError(meta.request_id) from None
            raise
        finally:
            self._leave(running)

    async def call(self, meta: RequestMeta, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a method of the user's object."""
        if self._ongoing >= self._limit or self._draining:
            return self._rejected()
        running = self._begin(meta)
        try:
            if self._gate is not None:
                await self._hold()
            value = await self._invoke(running, self._user.method(meta.method), args, kwargs)
            if type(value) in GENERATORS:
                raise self._is_generator(meta)
            return value
        except BaseException as error:
            if self._failed(running, error):
                raise RequestCancelledError(running.meta.request_id) from None
            raise
        finally:
            self._leave(running)

    # streams of handles -------------------------------------------------------------------------
    @aktis.method(_generator_backpressure_num_objects=64)
    async def stream(self, meta: RequestMeta, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncIterator[Any]:
        """Items of the generator that a method of the user's returns; first None, or a Rejected."""
        if self._ongoing >= self._limit or self._draining:
            yield self._rejected()
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
            if self._failed(running, error):
                raise RequestCancelledError(running.meta.request_id) from None
            raise
        finally:
            if items is not None:
                with suppress(Exception):
                    await items.aclose()
            self._leave(running)


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
