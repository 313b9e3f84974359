"""The calls of a ``@serve.batch`` function: they wait, are put together, run, and get their results.

All state of a queue belongs to its loop; the settings are plain numbers that any thread may change. Nothing runs while
nobody waits: a call arms a timer or fills a batch, and a batch that ends starts the next one.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from aktis.serve.context import request_context

_END = object()


# Settings ------------------------------------------------------------------------------------------------------------


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, int) and not (isinstance(value, float) and value.is_integer()):
        raise TypeError(f"{name} must be an integer of at least 1, and it is {value!r}")
    if isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, and it is {value!r}")
    return int(value)


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds of at least 0, and it is {value!r}")
    if not value >= 0:
        raise ValueError(f"{name} must be a number of seconds of at least 0, and it is {value!r}")
    return float(value)


class Settings:
    """How one decorated function makes batches. Its own queues (of a plain function) do not travel with it."""

    def __init__(self, size: Any, wait: Any, concurrent: Any, size_fn: Callable[[list[Any]], int] | None) -> None:
        self.max_batch_size = _whole("max_batch_size", size)
        self.batch_wait_timeout_s = _seconds("batch_wait_timeout_s", wait)
        self.max_concurrent_batches = _whole("max_concurrent_batches", concurrent)
        if size_fn is not None and not callable(size_fn):
            raise TypeError(f"batch_size_fn must be a function of a list of items, or None, and it is {size_fn!r}")
        self.batch_size_fn = size_fn
        self.queues: Queues = Queues()

    def set_max_batch_size(self, max_batch_size: int) -> None:
        """Batches made from now on have at most ``max_batch_size`` items."""
        self.max_batch_size = _whole("max_batch_size", max_batch_size)

    def set_batch_wait_timeout_s(self, batch_wait_timeout_s: float) -> None:
        """Calls made from now on wait at most ``batch_wait_timeout_s`` seconds for others."""
        self.batch_wait_timeout_s = _seconds("batch_wait_timeout_s", batch_wait_timeout_s)

    def set_max_concurrent_batches(self, max_concurrent_batches: int) -> None:
        """At most so many batches run at the same time, from now on."""
        self.max_concurrent_batches = _whole("max_concurrent_batches", max_concurrent_batches)


class Queues(dict[int, "Queue"]):
    """Queues of one function or instance, by loop. Pickled without them: the copy has its own."""

    def of(self, function: Callable[..., Any], settings: Settings, instance: tuple[Any, ...]) -> Queue:
        """The queue of the running loop."""
        loop = asyncio.get_running_loop()
        queue = self.get(id(loop))
        if queue is None or queue.loop is not loop:
            for key in [key for key, other in self.items() if other.loop.is_closed()]:
                del self[key]
            queue = self[id(loop)] = Queue(loop, function, settings, instance)
        return queue

    def __reduce__(self) -> Any:
        return Queues, ()


# Queue ---------------------------------------------------------------------------------------------------------------


class _Call:
    """One call that waits for its batch, or for its result."""

    __slots__ = ("args", "batch", "context", "due", "future", "items", "kwargs", "meta")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, args: tuple[Any, ...], kwargs: dict[str, Any], due: float
    ) -> None:
        self.args = args
        self.kwargs = kwargs
        self.due = due
        self.future: asyncio.Future[Any] = loop.create_future()
        self.items: deque[Any] = deque()  # of a stream
        self.batch: _Batch | None = None
        self.context = contextvars.copy_context()
        self.meta = request_context.get()


class _Batch:
    """Calls that run together."""

    __slots__ = ("calls", "task", "wanted")

    def __init__(self, calls: list[_Call]) -> None:
        self.calls = calls
        self.wanted = len(calls)  # how many callers still wait
        self.task: asyncio.Task[None] | None = None


class Queue:
    """Calls of one function on one loop. ``instance``: the function's ``self`` in a tuple, or nothing."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        function: Callable[..., Any],
        settings: Settings,
        instance: tuple[Any, ...],
    ) -> None:
        self.loop = loop
        self._function = function
        self._settings = settings
        self._instance = instance
        self._signature = inspect.signature(function)
        self._parameters = list(self._signature.parameters.values())[len(instance) :]
        self._simple = len(self._parameters) == 1 and self._parameters[0].kind in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        )
        self._streams = inspect.isasyncgenfunction(function)
        self._waiting: deque[_Call] = deque()
        self._running = 0
        self._timer: asyncio.Handle | None = None
        self._starting = False

    # callers ------------------------------------------------------------------------------------
    def add(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call:
        """Put a call into the queue. Raises TypeError for arguments that the function does not take."""
        if kwargs or not self._simple or len(args) != 1:
            bound = self._signature.bind(*self._instance, *args, **kwargs)
            args, kwargs = bound.args[len(self._instance) :], bound.kwargs
        wait = self._settings.batch_wait_timeout_s
        call = _Call(self.loop, args, kwargs, self.loop.time() + wait)
        self._waiting.append(call)
        if self._running < self._settings.max_concurrent_batches:
            if len(self._waiting) >= self._settings.max_batch_size or self._settings.batch_size_fn is not None:
                self._start_full()
            if self._waiting and self._timer is None:
                self._timer = (
                    self.loop.call_later(wait, self._time_out) if wait else self.loop.call_soon(self._time_out)
                )
        return call

    def leave(self, call: _Call) -> None:
        """Its caller has been cancelled. A batch that nobody waits for any more is cancelled, too."""
        call.future.cancel()
        batch, call.batch = call.batch, None
        if batch is not None:
            batch.wanted -= 1
            if not batch.wanted and batch.task is not None:
                batch.task.cancel()

    # making batches -----------------------------------------------------------------------------
    def _time_out(self) -> None:
        self._timer = None
        self._start_due()

    def _start_due(self) -> None:
        """Start what is full, and what has waited long enough; else come again when it has."""
        self._starting = False
        now = self.loop.time()
        while self._running < self._settings.max_concurrent_batches:
            self._start_full()
            if not self._waiting or self._running >= self._settings.max_concurrent_batches:
                return
            due = self._waiting[0].due
            if due > now:
                if self._timer is None:
                    self._timer = self.loop.call_at(due, self._time_out)
                return
            self._start(self._take()[0])

    def _start_full(self) -> None:
        """Start batches that have no room for more."""
        while self._running < self._settings.max_concurrent_batches:
            size = self._settings.max_batch_size
            if self._settings.batch_size_fn is None and len(self._waiting) < size:
                return
            calls, full = self._take()
            if not full:
                self._waiting.extendleft(reversed(calls))
                return
            self._start(calls)

    def _take(self) -> tuple[list[_Call], bool]:
        """The first calls of the queue that fit into one batch, and whether it is full. Calls that nobody waits for are dropped."""
        waiting, most, measure = self._waiting, self._settings.max_batch_size, self._settings.batch_size_fn
        calls: list[_Call] = []
        items: list[Any] = []
        while waiting:
            if measure is None and len(calls) >= most:
                return calls, True
            call = waiting.popleft()
            if call.future.done():
                continue
            if measure is not None:
                items.append(call.args[0] if call.args else next(iter(call.kwargs.values()), None))
                try:
                    size = measure(list(items))
                except Exception as error:
                    items.pop()
                    call.future.set_exception(error)
                    continue
                if size > most and calls:
                    waiting.appendleft(call)
                    return calls, True
                if size > most:
                    items.pop()
                    call.future.set_exception(_too_large(size, most))
                    continue
                calls.append(call)
                if size == most:
                    return calls, True
            else:
                calls.append(call)
        return calls, measure is None and len(calls) >= most

    def _start(self, calls: list[_Call]) -> None:
        if not calls:
            return
        if self._timer is not None and not self._waiting:
            self._timer.cancel()
            self._timer = None
        self._running += 1
        batch = _Batch(calls)
        for call in calls:
            call.batch = batch
        batch.task = calls[0].context.run(self.loop.create_task, self._run(batch))

    # running batches ----------------------------------------------------------------------------
    async def _run(self, batch: _Batch) -> None:
        calls = batch.calls
        try:
            request_context.set(_meta_of(calls))
            args, kwargs = self._arguments(calls)
            value = self._function(*self._instance, *args, **kwargs)
            if self._streams:
                await self._spread(value, calls)
            else:
                results = _checked(await value, len(calls))
                for call, result in zip(calls, results):
                    if call.future.done():
                        continue
                    if isinstance(result, BaseException):
                        call.future.set_exception(_raisable(result))
                    else:
                        call.future.set_result(result)
        except asyncio.CancelledError:
            for call in calls:
                call.future.cancel()
        except BaseException as error:
            self._fail(calls, _raisable(error))
        finally:
            for call in calls:
                call.batch = None
            self._running -= 1
            if self._waiting and not self._starting:
                # What waits is ready. Let this batch's callers (and what sends their replies) have the loop first: a
                # function that computes on the loop would make them wait for the whole next batch.
                self._starting = True
                self.loop.call_soon(self.loop.call_soon, self.loop.call_soon, self._start_due)

    def _fail(self, calls: Sequence[_Call], error: BaseException) -> None:
        for call in calls:
            if self._streams:
                call.items.append(error)
                self._ring(call)
            elif not call.future.done():
                call.future.set_exception(error)

    def _arguments(self, calls: list[_Call]) -> tuple[list[Any], dict[str, Any]]:
        """Each parameter as the list of its values. One that nobody gave keeps its default; where only some did, the others'
        items are the default."""
        if self._simple and all(call.args for call in calls):
            return [[call.args[0] for call in calls]], {}
        count = max(len(call.args) for call in calls)
        args = [[self._positional(call, place) for call in calls] for place in range(count)]
        names = dict.fromkeys(name for call in calls for name in call.kwargs)
        return args, {name: [self._named(call, name) for call in calls] for name in names}

    def _positional(self, call: _Call, place: int) -> Any:
        if place < len(call.args):
            return call.args[place]
        parameter = self._parameters[place] if place < len(self._parameters) else None
        if parameter is None or parameter.default is parameter.empty:
            raise TypeError("calls in one batch have different numbers of arguments")
        return parameter.default

    def _named(self, call: _Call, name: str) -> Any:
        if name in call.kwargs:
            return call.kwargs[name]
        parameter = self._signature.parameters.get(name)
        if parameter is None or parameter.default is parameter.empty:
            raise TypeError(f"calls in one batch have different arguments: some give {name!r} and some do not")
        return parameter.default

    # streams ------------------------------------------------------------------------------------
    async def _spread(self, generator: AsyncIterator[Any], calls: list[_Call]) -> None:
        """Gives each caller its item of every list that the generator yields."""
        try:
            async for results in generator:
                open_calls = 0
                for call, result in zip(calls, _checked(results, len(calls))):
                    if call.batch is None:  # has ended before, or its caller has gone
                        continue
                    if _is_end(result):
                        call.items.append(_END)
                        call.batch = None
                    else:
                        call.items.append(result)
                        open_calls += 1
                    self._ring(call)
                if not open_calls:
                    break
        finally:
            close = getattr(generator, "aclose", None)
            if close is not None:
                await close()
        for call in calls:
            call.items.append(_END)
            self._ring(call)

    @staticmethod
    def _ring(call: _Call) -> None:
        if not call.future.done():
            call.future.set_result(None)

    async def items_of(self, call: _Call) -> AsyncIterator[Any]:
        """What a caller of a streaming batch gets."""
        try:
            while True:
                while not call.items:
                    if call.future.done():
                        await call.future  # raises what made the call fail before its batch began
                        call.future = self.loop.create_future()
                    await call.future
                item = call.items.popleft()
                if item is _END:
                    return
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self.leave(call)


def _meta_of(calls: list[_Call]) -> Any:
    """The request context of a batch: that of the first call; to be run again only if each of them may be."""
    meta = calls[0].meta
    if (
        meta is not None
        and meta.idempotent
        and not all(call.meta is not None and call.meta.idempotent for call in calls)
    ):
        return meta._replace(idempotent=False)
    return meta


def _checked(results: Any, count: int) -> Any:
    if isinstance(results, (str, bytes, dict, set, frozenset)) or not hasattr(results, "__len__"):
        raise TypeError(
            f"a function decorated with @serve.batch must return a list with one result for each of its {count} inputs, "
            f"and it returned a {type(results).__name__}"
        )
    if len(results) != count:
        raise RuntimeError(
            f"a function decorated with @serve.batch must return one result for each input: it got {count} inputs and "
            f"returned {len(results)} results"
        )
    return results


def _is_end(result: Any) -> bool:
    kinds = (StopIteration, StopAsyncIteration)
    return result in kinds if isinstance(result, type) else isinstance(result, kinds)


def _raisable(error: BaseException) -> BaseException:
    if isinstance(error, StopIteration):  # a future cannot hold it
        wrapped = RuntimeError("the batched function raised StopIteration")
        wrapped.__cause__ = error
        return wrapped
    return error


def _too_large(size: int, most: int) -> RuntimeError:
    return RuntimeError(
        f"batch_size_fn says that one item has size {size}, which is more than max_batch_size ({most}): raise "
        "max_batch_size, or see whether batch_size_fn is right"
    )
