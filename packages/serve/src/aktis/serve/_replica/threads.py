"""Synchronous user code in threads.

::

    loop thread                                       worker threads (made as needed)
    run(function) ── _jobs (deque) ─────────────────► popleft(), context.run(function)
    future ◄── _deliver() ◄── call_soon_threadsafe ── _done (deque)

- The loop thread owns the futures; workers touch only the queues and what the lock guards, and ``_announced``.
- One thread is called at a time (``_coming``), and before it begins its function it calls the next one if there is more to do.
  As it has the interpreter until its function waits for something, functions that do not wait all run in the one thread that
  is awake, without a change of threads for each; those that wait run beside each other at once.
- A wake-up of the loop is asked for once for all results that are there by then: a worker appends first and looks at the flag
  afterwards, the loop lowers the flag first and empties the deque afterwards, so no result is left behind.
- Threads are daemons: user code that never returns cannot keep a process from ending.
- Cancelling the future does not stop the function; :meth:`Threads.when_ended` says when it has returned after all.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context, copy_context
from functools import partial
from typing import Any

AHEAD = 32  # items that a generator in a thread may be ahead of who reads them

_END = object()
Returned = Callable[[Any, "BaseException | None"], None]
"""Called on the loop with what a function returned, or with None and what it raised."""


class Threads:
    """Runs functions in threads, as many as there are functions at the same time."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._name = name
        self._loop = loop or asyncio.get_running_loop()
        self._jobs: deque[Any] = deque()
        self._idle: list[threading.Lock] = []  # threads that sleep, each on its own lock; the last one is called first
        self._coming = False  # a thread was called, and has not looked at the jobs yet
        self._lock = threading.Lock()  # of the three above, and the number of threads
        self._closed = False
        self._done: deque[tuple[Returned, Any, BaseException | None]] = deque()
        self._announced = False
        self._busy = 0
        self._threads = 0
        self._abandoned: dict[asyncio.Future[Any], Callable[[], None]] = {}
        self.around: Callable[[], AbstractContextManager[None]] = nullcontext  # what each thread enters when it begins
        # Cancelled, and returned before anybody asked to be told.
        self._returned: weakref.WeakSet[asyncio.Future[Any]] = weakref.WeakSet()

    def run(self, function: Callable[..., Any], args: Any = (), kwargs: Any = None) -> asyncio.Future[Any]:
        """A future of what ``function(*args, **kwargs)`` returns or raises; it runs in a copy of the present context."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self.begin(partial(self._settle, future), copy_context(), function, args, kwargs)
        return future

    def begin(
        self, returned: Returned, context: Context, function: Callable[..., Any], args: Any = (), kwargs: Any = None
    ) -> None:
        """The same with a callback, which costs no future, and in a given context."""
        self._busy += 1
        job = (returned, context.run, function, args, kwargs or {})
        with self._lock:
            self._jobs.append(job)
            call = self._next_thread()
        if call is not None:
            call()

    def _next_thread(self) -> Callable[[], None] | None:
        """What calls one more thread, if one is needed: one that sleeps, or a new one where there are fewer than functions.
        Under the lock; to be called outside of it."""
        if self._coming or not self._jobs:
            return None
        if self._idle:
            self._coming = True
            return self._idle.pop().release
        if self._busy > self._threads:
            self._coming = True
            self._threads += 1
            return self._start_one
        return None  # all are busy, and each looks for the next job when it has done with its own

    def _start_one(self) -> None:
        try:
            threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()
        except RuntimeError:  # the system gives no more
            with self._lock:
                self._coming = False
                self._threads -= 1
                if self._threads:
                    return  # the others do it
            raise

    def when_ended(self, future: asyncio.Future[Any], callback: Callable[[], None]) -> None:
        """Call ``callback()`` on the loop as soon as the function behind a cancelled ``future`` has returned."""
        if future.cancelled() and future not in self._returned:
            self._abandoned[future] = callback
        else:  # it had returned before it was cancelled, or before whoever waited has learnt of that
            callback()

    def close(self) -> None:
        """End threads as soon as they have nothing to do."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for bell in idle:
            bell.release()

    def _work(self) -> None:
        with self.around():
            self._serve()

    def _serve(self) -> None:
        jobs, done = self._jobs, self._done
        bell = threading.Lock()
        bell.acquire()
        called = True
        while True:
            with self._lock:
                if called:
                    self._coming = called = False
                job = jobs.popleft() if jobs else None
                if job is not None:
                    call = self._next_thread()
                elif self._closed:
                    return
                else:
                    self._idle.append(bell)
            if job is None:
                bell.acquire()
                called = True
                continue
            if call is not None:
                call()
            returned, run, function, args, kwargs = job
            try:
                result: tuple[Returned, Any, BaseException | None] = (returned, run(function, *args, **kwargs), None)
            except StopIteration as error:  # a future cannot hold it
                wrapped = RuntimeError(f"{_name_of(function)} raised StopIteration")
                wrapped.__cause__ = error
                result = (returned, None, wrapped)
            except BaseException as error:
                result = (returned, None, error)
            done.append(result)
            del job, returned, run, function, args, kwargs, result  # nothing of a request lives on in an idle thread
            if not self._announced:
                self._announced = True
                try:
                    self._loop.call_soon_threadsafe(self._deliver)
                except RuntimeError:  # the loop is closed: nobody waits any more
                    return

    def _deliver(self) -> None:
        self._announced = False
        done = self._done
        try:
            while done:
                returned, value, error = done.popleft()
                self._busy -= 1
                returned(value, error)
        finally:
            if done:  # one of them raised: the others have nothing to do with that
                self._loop.call_soon(self._deliver)

    def _settle(self, future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
        if future.cancelled():
            callback = self._abandoned.pop(future, None)
            if callback is not None:
                callback()
            else:
                self._returned.add(future)
        elif error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def iterate(self, iterator: Iterator[Any]) -> ThreadIterator:
        """The items of a synchronous generator, which runs in one thread, at most :data:`AHEAD` items ahead."""
        return ThreadIterator(self, self._loop, iterator)


class ThreadIterator(AsyncIterator[Any]):
    """Items of a generator that runs in a thread. ``close()`` closes the generator there, when it next yields."""

    def __init__(self, threads: Threads, loop: asyncio.AbstractEventLoop, iterator: Iterator[Any]) -> None:
        self._loop = loop
        self._items: deque[Any] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._announced = False
        self._room = threading.Event()
        self._closed = False
        self._error: BaseException | None = None
        self.ended = threads.run(self._produce, (iterator,))

    # in the thread ----------------------------------------------------------------------------
    def _produce(self, iterator: Iterator[Any]) -> None:
        items, room = self._items, self._room
        try:
            for item in iterator:
                if self._closed:
                    break
                items.append(item)
                self._announce()
                if len(items) >= AHEAD:
                    room.clear()
                    if len(items) >= AHEAD and not self._closed:
                        room.wait()
        except BaseException as error:
            self._error = error
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                try:
                    close()
                except BaseException as error:
                    self._error = self._error or error
            items.append(_END)
            self._announce()

    def _announce(self) -> None:
        if not self._announced:
            self._announced = True
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:  # the loop is closed
                self._closed = True

    # in the loop ------------------------------------------------------------------------------
    def _wake(self) -> None:
        self._announced = False
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def __aiter__(self) -> ThreadIterator:
        return self

    async def __anext__(self) -> Any:
        items = self._items
        while not items:
            self._waiter = self._loop.create_future()
            if not items:
                await self._waiter
        item = items[0]
        if item is _END:
            error, self._error = self._error, None
            if error is not None and not self._closed:
                raise error
            raise StopAsyncIteration
        items.popleft()
        if len(items) <= AHEAD // 2 and not self._room.is_set():
            self._room.set()
        return item

    def close(self) -> None:
        """Close the generator: at once when it waits for room, else at its next item. Does not wait for that."""
        self._closed = True
        self._room.set()

    async def aclose(self) -> None:
        """The same, as of an asynchronous generator."""
        self.close()


def _name_of(function: Any) -> str:
    return str(getattr(function, "__qualname__", None) or type(function).__name__)
