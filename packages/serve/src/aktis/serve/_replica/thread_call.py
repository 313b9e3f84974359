"""A handle's call of a synchronous method, in the form that costs least: no coroutine and no task wait for its thread.

::

    core ── __aktis_later__(answer) ──► counted ──► a thread, in the request's context
    answer(value, error) ◄── not counted any more ◄── the loop, when the thread has returned
    answer(None, error)  ◄── cancel(): at once; it counts until the thread has returned

An engine that does not know ``__aktis_later__`` awaits it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from aktis.serve._protocol import RequestMeta
from aktis.serve._replica.callables import GENERATORS
from aktis.serve._replica.running import Running
from aktis.serve.exceptions import RequestCancelledError

if TYPE_CHECKING:
    from aktis.serve._replica.requests import Requests


class ThreadCall:
    """Not begun before it is awaited, or asked to answer. Everything but the function runs on the loop."""

    __slots__ = ("_answer", "_args", "_context", "_function", "_meta", "_requests", "_running", "_task")

    _context: Context
    _running: Running

    def __init__(
        self, requests: Requests, meta: RequestMeta, function: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        self._requests = requests
        self._meta = meta
        self._function = function
        self._args = args
        self._answer: Callable[[Any, BaseException | None], None] | None = None  # None also when it was given
        self._task: asyncio.Task[Any] | None = None  # which awaits what the function has returned

    def __aktis_later__(self, answer: Callable[[Any, BaseException | None], None]) -> None:
        """Begin; ``answer(value, error)`` is called once."""
        requests = self._requests
        self._answer = answer
        self._context = copy_context()  # not that of the caller, who may have more to do
        self._running = self._context.run(requests._begin, self._meta, self)
        requests._threads.begin(self._returned, self._context, self._function, self._args)

    def __await__(self) -> Generator[Any, None, Any]:
        future: asyncio.Future[Any] = self._requests._loop.create_future()

        def answer(value: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

        self.__aktis_later__(answer)
        try:
            return (yield from future)
        finally:
            self.cancel()

    def cancel(self) -> None:
        """The caller is answered at once; the function goes on, as nothing can stop it."""
        if self._task is not None:
            self._task.cancel()
        elif self._answer is not None:
            self._fail(asyncio.CancelledError())

    def _returned(self, value: Any, error: BaseException | None) -> None:
        """Of the thread."""
        if self._answer is not None:
            if error is None:
                kind = type(value)
                if kind in GENERATORS:
                    error = self._requests._is_generator(self._meta)
                elif hasattr(kind, "__await__"):
                    self._task = self._context.run(self._requests._loop.create_task, _result_of(value))
                    self._task.add_done_callback(self._awaited)
                    return
            if error is not None:
                self._fail(error)
        self._requests._end(self._running)
        answer, self._answer = self._answer, None
        if answer is not None:
            answer(value, None)

    def _awaited(self, task: asyncio.Task[Any]) -> None:
        self._task = None
        if task.cancelled():
            self._returned(None, asyncio.CancelledError())
        else:
            self._returned(*((None, error) if (error := task.exception()) is not None else (task.result(), None)))

    def _fail(self, error: BaseException) -> None:
        """Note what went wrong, and answer with it."""
        running = self._running
        answer, self._answer = self._answer, None
        assert answer is not None
        try:
            if self._context.copy().run(self._requests._failed, running, error):
                error = RequestCancelledError(self._meta.request_id)
        except RuntimeError as another:  # a request that would have ended its replica
            error = another
        answer(None, error)


async def _result_of(value: Any) -> Any:
    return await value
