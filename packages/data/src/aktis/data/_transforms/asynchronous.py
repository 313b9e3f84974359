"""Coroutines in a chain: several calls of an async function are under way at a time, results come in order."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

AT_A_TIME = 16


class Several(list[Any]):
    """The items of an asynchronous generator."""


async def _result(call: Callable[[Any], Any], value: Any) -> Any:
    made = call(value)
    if inspect.isasyncgen(made):
        return Several([item async for item in made])
    return await made


class AsyncCalls:
    """An event loop of its own, in the calling thread, which runs only while somebody waits for a result."""

    def __init__(self, call: Callable[[Any], Any], at_a_time: int = AT_A_TIME) -> None:
        self._call = call
        import asyncio  # takes a while, and few functions need it

        self._at_a_time = at_a_time
        self._loop = asyncio.new_event_loop()

    def map(self, values: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """``(value, result)`` in the order of the values; an asynchronous generator's result is :class:`Several`."""
        waiting: deque[tuple[Any, asyncio.Task[Any]]] = deque()
        try:
            for value in values:
                waiting.append((value, self._loop.create_task(_result(self._call, value))))
                if len(waiting) >= self._at_a_time:
                    yield self._first(waiting)
            while waiting:
                yield self._first(waiting)
        finally:
            for _, task in waiting:
                task.cancel()
            if waiting:
                import asyncio

                self._loop.run_until_complete(asyncio.gather(*(task for _, task in waiting), return_exceptions=True))
            self._loop.close()

    def _first(self, waiting: deque[tuple[Any, asyncio.Task[Any]]]) -> tuple[Any, Any]:
        value, task = waiting[0]
        result = self._loop.run_until_complete(task)
        waiting.popleft()
        return value, result
