"""Waiting in an event loop for something that another thread announces."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


def announced(register: Callable[[Callable[[], None]], None]) -> asyncio.Future[None]:
    """A future of the running loop, done when the callback that ``register`` is given is called, on whatever thread."""
    import asyncio

    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def finish() -> None:
        if not future.done():
            future.set_result(None)

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(finish)
        except RuntimeError:  # the loop was closed while we waited
            pass

    register(wake)
    return future
