"""The requests of a replica: counted, held back, run; and the numbers that come of them. The base of the actor."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any

import aktis
from aktis.serve._observe import tracing
from aktis.serve._protocol import DeploymentSpec, Rejected, ReplicaID, RequestMeta
from aktis.serve._replica import logs
from aktis.serve._replica.callables import Method, UserCallable
from aktis.serve._replica.running import Running, running_context
from aktis.serve._replica.stats import Metrics, Stats
from aktis.serve._replica.threads import Threads
from aktis.serve.config import DeploymentConfig
from aktis.serve.context import request_context

if TYPE_CHECKING:
    from aktis.serve._replica.thread_call import ThreadCall

NOWHERE = contextvars.Context()  # of timers, which outlive the request that sets them: theirs would keep it
METRICS_S = 1.0  # after the start, when metrics are made


class Requests:
    """What is running, and how user code is run for a request. Everything here belongs to the loop's thread."""

    def __init__(self, id: ReplicaID, spec: DeploymentSpec, app: str) -> None:
        self._id = id
        self._spec = spec
        self._app_name = app
        self._config: DeploymentConfig = spec.config
        self._limit = self._config.max_ongoing_requests
        self._ongoing = 0
        self._held = 0  # of these, those that wait for reconfigure()
        self._draining = False
        self._late = 0.0  # when a request came last that was sent before its caller knew that we drain
        self._gate: asyncio.Future[None] | None = None  # while reconfigure() waits or runs
        self._idle: list[asyncio.Future[None]] = []
        self._calls: dict[str, Running] = {}
        self._stats = Stats()
        self._metrics: Metrics | None = None
        self._unreported: list[tuple[dict[str, list[float]], dict[str, int]]] = []  # what the metrics have yet to get
        self._ticker: asyncio.TimerHandle | None = None
        self._log_requests = False
        self._traced = bool(tracing.exporter_path())
        self._loop: asyncio.AbstractEventLoop
        self._threads: Threads
        self._user: UserCallable

    # counting -----------------------------------------------------------------------------------
    def _rejected(self) -> Rejected:
        if self._draining:
            self._late = self._loop.time()
        return Rejected(self._ongoing, self._draining)

    def _begin(self, meta: RequestMeta, task: ThreadCall | None = None) -> Running:
        """It counts from now on. ``task``: where it runs, if that is not the present task."""
        self._ongoing += 1
        running = Running(meta, perf_counter())
        if meta.call_id:
            running.task = asyncio.current_task(self._loop) if task is None else task
            self._calls[meta.call_id] = running
        if self._traced:
            meta = self._begin_span(running)
        request_context.set(meta)
        running_context.set(running)
        if self._ticker is None:
            self._ticker = self._loop.call_later(1.0, self._tick, context=NOWHERE)
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
        failed = running.error is not None
        if failed:
            stats.errors += 1
            stats.failed[meta.route] += 1
        if running.at_end_calls is not None:
            for callback in running.at_end_calls:
                callback()
        running.error = running.task = None  # frames and contexts of theirs have the request: no circle is to be left
        if self._idle:
            self._wake_idle()
        if self._log_requests:
            took = (perf_counter() - running.began) * 1000
            logs.LOGGER.debug("%s %s %.2f ms", meta.method, "ERROR" if failed else "OK", took)

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

    # user code ----------------------------------------------------------------------------------
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
        return await self._in_thread(running, method.function, args, kwargs)

    async def _in_thread(self, running: Running, function: Any, args: Any, kwargs: Any) -> Any:
        future = self._threads.run(function, args, kwargs)
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

    def _failed(self, running: Running, error: BaseException) -> bool:
        """Note what a request raised. Whether it is only that the request was cancelled."""
        if isinstance(error, asyncio.CancelledError) and running.cancelled:
            return True
        running.error = error
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            raise self._no_exit(running, error) from error
        if isinstance(error, Exception):
            self._log_error(running, error)
        return False

    def _is_generator(self, meta: RequestMeta) -> TypeError:
        return TypeError(
            f"{meta.method} of deployment {self._id.deployment!r} returned a generator: "
            "call it with handle.options(stream=True)"
        )

    def _no_exit(self, running: Running, error: BaseException) -> RuntimeError:
        """What a request gets that raised SystemExit: it would end the replica, and then, run again, the next one."""
        method = running.meta.method
        wanted = RuntimeError(f"{method} raised {error!r}. A request cannot end its replica: raise another error.")
        wanted.__cause__ = error
        self._log_error(running, wanted)
        return wanted

    def _log_error(self, running: Running, error: BaseException) -> None:
        meta = running.meta
        if request_context.get() is meta:  # each line has its id
            logs.LOGGER.error("%s() raised %s", meta.method, type(error).__name__, exc_info=error)
        else:
            logs.LOGGER.error(
                "request %s: %s() raised %s", meta.request_id, meta.method, type(error).__name__, exc_info=error
            )

    def _iterate(self, running: Running, value: Any) -> Any:
        """An asynchronous iterator of what user code returned; None if that is no iterator."""
        if hasattr(type(value), "__anext__"):
            return value
        if hasattr(type(value), "__next__"):
            items = self._threads.iterate(value)
            running.parts += 1
            running.items = items
            items.ended.add_done_callback(lambda _: self._end(running))
            return items
        return None
