"""Functions in a worker: unpickled when first called, and run to their end whatever kind they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aktis._serialization import unpack_function

_CO_COROUTINE, _CO_ASYNC_GENERATOR = 0x80, 0x200  # as in the inspect module, which is large


class LoadedFunction:
    """A function that a submitter sent; unpickled when first called."""

    __slots__ = ("average", "blob", "calls_left", "function", "name")

    def __init__(self, blob: bytes, name: str, max_calls: int) -> None:
        self.blob: bytes | None = blob
        self.name = name
        self.calls_left = max_calls or -1
        self.function: Callable[..., Any] | None = None
        self.average = 1.0  # unknown: assume long

    def load(self) -> Callable[..., Any]:
        if self.function is None:
            assert self.blob is not None
            self.function = synchronous(unpack_function(self.blob))
            self.blob = None
        return self.function


def synchronous(function: Callable[..., Any]) -> Callable[..., Any]:
    """A coroutine function or async generator function as a plain one: in a task, nothing else wants the loop."""
    code = getattr(function, "__code__", None)
    if code is None or not code.co_flags & (_CO_COROUTINE | _CO_ASYNC_GENERATOR):
        return function
    import asyncio

    if code.co_flags & _CO_COROUTINE:
        return lambda *args, **kwargs: asyncio.run(function(*args, **kwargs))

    def iterate(*args: Any, **kwargs: Any) -> Any:
        loop = asyncio.new_event_loop()
        try:
            items = function(*args, **kwargs)
            while True:
                try:
                    item = loop.run_until_complete(anext(items))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    return iterate
