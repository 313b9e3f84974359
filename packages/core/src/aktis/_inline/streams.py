"""Remote generators: lazy here. The body runs when somebody wants an item, waits for something, or has nothing to do.

Running ahead to the end, as separate processes do, would never return for a generator without end. The order of what
the body does stays the same; only how far it is ahead of its consumer differs, which programs cannot rely on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aktis._inline.values import Failure, InlineRef, Value
from aktis.exceptions import AktisSystemError, GetTimeoutError, TaskCancelledError

if TYPE_CHECKING:
    from aktis._inline.calls import Call
    from aktis._inline.engine import InlineEngine


class Stream:
    """The engine's side of an :class:`aktis.ObjectRefGenerator` (a ``StreamSource``)."""

    def __init__(self, engine: InlineEngine, call: Call, completed: InlineRef) -> None:
        self._engine = engine
        self._call = call
        self.completed_ref: Any = completed
        self._items: deque[InlineRef] = deque()
        self._produced = 0
        self._ended = False
        self._closed = False
        self._body: Any = None  # the generator, once it has been started
        self._on_done: Callable[[], None] = lambda: None
        self._advancing = False
        self._demand: asyncio.Event | None = None  # of an async generator
        self._loop: Any = None
        self._callbacks: list[Callable[[], None]] = []
        self._limit = getattr(call.options, "backpressure", 0) or 0

    # the consumer's side -----------------------------------------------------------------------

    def ready(self) -> bool:
        if not self._items and not self._ended:
            self.advance()
            self._engine.scheduler.spin()
        return bool(self._items) or self._ended

    def finished(self) -> bool:
        return self._ended and not self._items

    def next_ref(self, timeout: float | None) -> Any:
        self._engine.check_open()
        if not self.ready() and not self._engine.scheduler.wait_until(self.ready, timeout, self._stuck):
            raise GetTimeoutError(f"no item of {self._call.name} arrived within {timeout} seconds")
        if self._items:
            return self._items.popleft()
        raise StopIteration

    def _stuck(self) -> Exception:
        return AktisSystemError(f"the next item of {self._call.name} would never arrive: it waits, and nothing runs")

    def add_item_callback(self, callback: Callable[[], None]) -> None:
        if self.ready():
            callback()
        else:
            self._callbacks.append(callback)
            self._engine.keep_turning()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._items.clear()
        if self._ended:
            return
        self._call.cancelled = True
        if self._loop is not None:
            self._loop.post(self._call.task.cancel)
        elif self._body is not None and not self._advancing:
            self._body.close()
            self._finish(Failure(TaskCancelledError(self._call.task_id.hex())))
        elif self._body is None and self._call.state.startswith("PENDING"):
            self._engine.executor.reject(self._call, TaskCancelledError(self._call.task_id.hex()))

    # the producer's side -----------------------------------------------------------------------

    def attach(self, body: Any, on_done: Callable[[], None]) -> None:
        """The body of a plain generator exists now. It does not run before it is asked to."""
        skip, self._body, self._on_done = self._produced, body, on_done
        for _ in range(skip):  # a retry: what was delivered is not delivered again
            next(body, None)
        if self._closed:
            body.close()
            self._finish(Failure(TaskCancelledError(self._call.task_id.hex())))
        else:
            self._engine.scheduler.streams.append(self)

    def advance(self) -> bool:
        """Make one more item, if it may be: whether anything was done."""
        if self._ended or self._advancing or (self._limit and len(self._items) >= self._limit):
            return False
        if self._loop is not None:
            assert self._demand is not None
            if self._demand.is_set():
                return False
            self._loop.post(self._demand.set)
            return True
        if self._body is None:
            return False
        from aktis._inline.calls import PASS_THROUGH, current_call

        self._advancing = True
        token = current_call.set(self._call)
        try:
            self._take(next(self._body))
        except StopIteration:
            self._finish(None)
        except PASS_THROUGH:
            raise
        except BaseException as error:
            self._failed(error)
        finally:
            current_call.reset(token)
            self._advancing = False
        return True

    def _take(self, value: Any) -> None:
        if self._closed:
            return
        executor = self._engine.executor
        self._produced += 1
        payload = Value(value, f"item {self._produced - 1} of {self._call.name}")
        self._items.append(executor.item(self._call, self._produced, payload))
        self._tell()

    def _failed(self, error: BaseException) -> None:
        executor = self._engine.executor
        if executor.retries(self._call, error):
            self._body = None
            self._leave()
            executor.run(self._call, self._on_done)
            return
        if isinstance(error, SystemExit) and self._call.actor is not None:
            self._call.actor.exited(self._call, error)
            self._on_done()
            return
        executor.fail(self._call, error)  # comes back as fail()
        self._on_done()

    def fail(self, failure: Failure) -> None:
        """The call failed: its error is one more item, and the end."""
        if self._ended:
            return
        if not self._closed:
            self._items.append(self._engine.executor.item(self._call, self._produced + 1, failure))
        self._ended = True
        self._leave()
        self._tell()

    def _finish(self, failure: Failure | None) -> None:
        self._ended = True
        self._leave()
        if failure is not None:
            self._engine.executor.settle_failure(self._call, failure)
        else:
            self._engine.executor.succeed(self._call, None)
        self._tell()
        self._on_done()

    def _leave(self) -> None:
        try:
            self._engine.scheduler.streams.remove(self)
        except ValueError:  # it never stood there (async), or has left already
            pass

    def _tell(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()
        self._engine.scheduler.notify()

    async def feed(self, items: Any) -> None:
        """Run an async generator to its end, one item per demand. Runs on the actor's loop, inside the call's task."""
        self._demand = asyncio.Event()
        self._loop = self._engine.loop_of(asyncio.get_running_loop())
        if self not in self._engine.scheduler.streams:
            self._engine.scheduler.streams.append(self)
        iterator = items.__aiter__()
        for _ in range(self._produced):
            await iterator.__anext__()
        try:
            while True:
                await self._demand.wait()
                self._take(await iterator.__anext__())
                self._demand.clear()
        except StopAsyncIteration:
            self._on_done = lambda: None  # run_async tells the actor
            self._finish(None)

    def run_to_end(self) -> None:
        """Make all items now: somebody waits for what comes after."""
        limit, self._limit = self._limit, 0
        while not self._ended and self.advance():
            pass
        self._limit = limit

    def cancel(self) -> None:
        """The call was cancelled: what was made stays, and the next item is the error."""
        if self._ended or self._advancing:
            return
        failure = Failure(TaskCancelledError(self._call.task_id.hex()))
        if self._body is not None:
            self._body.close()
        self._engine.executor.settle_failure(self._call, failure)
        self._on_done()
