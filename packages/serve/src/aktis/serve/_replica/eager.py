"""Tasks that take their first step at once.

A task asks its loop for its first step by ``call_soon``, so an application that never waits would be answered one turn of the
loop (and a system call) later than need be. Python 3.12 has eager tasks. Before, the step is caught and run here, with the
present task set aside meanwhile, which is what eager tasks do.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable, Coroutine
from typing import Any


def start_task(loop: asyncio.AbstractEventLoop, body: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task of ``loop``, which runs; its first step is done when this returns."""
    if loop.get_task_factory() is not None:
        return loop.create_task(body)
    if sys.version_info >= (3, 12):
        return asyncio.Task(body, loop=loop, eager_start=True)
    return _start(loop, body)


def _start(loop: asyncio.AbstractEventLoop, body: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    present = asyncio.current_task(loop)
    caught: list[tuple[Callable[..., Any], tuple[Any, ...], contextvars.Context | None]] = []

    def catch(callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None) -> None:
        caught.append((callback, args, context))

    try:
        loop.call_soon = catch  # type: ignore[method-assign, assignment]
    except AttributeError:  # a loop that allows no such thing
        return loop.create_task(body)
    try:
        task = asyncio.Task(body, loop=loop)
    finally:
        del loop.call_soon
    ((step, args, context),) = caught
    if present is None:
        (context or contextvars.copy_context()).run(step, *args)
        return task
    asyncio.tasks._leave_task(loop, present)
    try:
        (context or contextvars.copy_context()).run(step, *args)
    finally:
        asyncio.tasks._enter_task(loop, present)
    return task
