"""Synchronous endpoints of FastAPI in the replica's own threads.

FastAPI gives them to anyio, with which such a request needs more than twice the processor time of an asynchronous one. Our
:class:`Threads` need 5 to 25 microseconds for a call. For the code in them it is the same: a copy of the request's context, and
``anyio.from_thread`` works.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from aktis.serve._replica.running import running_context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aktis.serve._replica.running import Running
    from aktis.serve._replica.threads import Threads


def anyio_thread(loop: asyncio.AbstractEventLoop) -> Callable[[], AbstractContextManager[None]] | None:
    """What makes ``anyio.from_thread`` work in a thread of ours, entered once there. None: this anyio is not one that we know."""
    try:
        from anyio._backends._asyncio import AsyncIOBackend, CancelScope
        from anyio._core._eventloop import claim_worker_thread, threadlocals
    except ImportError:
        return None

    @contextmanager
    def claimed() -> Iterator[None]:
        with claim_worker_thread(AsyncIOBackend, loop):
            threadlocals.current_cancel_scope = CancelScope()  # of nothing: it is never cancelled
            try:
                yield
            finally:
                del threadlocals.current_cancel_scope

    try:
        with claimed():
            return claimed
    except Exception:
        return None


def in_threads(function: Callable[..., Any], threads: Threads, end: Callable[[Running], None]) -> Callable[..., Any]:
    """An asynchronous endpoint that runs a synchronous one in a thread; others as they are.

    ``end(running)``: a request was cancelled meanwhile, and now its thread has ended, too.
    """
    plain = inspect.unwrap(function)
    if not inspect.isroutine(plain) or any(
        of(plain) for of in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    ):
        return function

    @functools.wraps(function)
    async def endpoint(*args: Any, **kwargs: Any) -> Any:
        future = threads.run(function, args, kwargs)
        try:
            return await future
        except asyncio.CancelledError:
            running = running_context.get()
            if running is not None and future.cancelled():
                running.parts += 1
                threads.when_ended(future, lambda: end(running))
            raise

    endpoint.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return endpoint
