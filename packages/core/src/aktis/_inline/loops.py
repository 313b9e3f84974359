"""Private event loops: async code that runs inside the driver, in the thread that waits, one turn at a time.

A loop never runs by itself. Whoever submits or waits turns it until it has nothing left to do now. Turning one loop
from inside another (an async method that blocks in ``get`` on another async actor) is what asyncio forbids by default;
the running loop and task are put aside meanwhile.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

_TURNS = 200  # per spin; a coroutine that never really waits must not keep everybody else from running


@contextmanager
def _aside() -> Iterator[None]:
    """Put the running loop of this thread aside, and its running task."""
    outer = asyncio._get_running_loop()
    if outer is None:
        yield
        return
    swap = getattr(asyncio.tasks, "_swap_current_task", None)  # from Python 3.12 on
    task = swap(outer, None) if swap else None
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(outer)
        if swap:
            swap(outer, task)


class PrivateLoop:
    """One event loop, turned from outside. Only one thread turns it at a time; nobody waits for the turn."""

    def __init__(self) -> None:
        with _aside():
            self.loop: Any = asyncio.new_event_loop()
        self._turning = threading.Lock()
        self._closing = False

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], context: contextvars.Context) -> None:
        """Start a coroutine at the next turn, in this context."""

        def begin() -> None:
            task = self.loop.create_task(work())
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        tasks = self._tasks
        self.loop.call_soon_threadsafe(begin, context=context)

    @property
    def _tasks(self) -> set[Any]:
        # The loop refers to its tasks weakly: somebody has to keep them.
        found: set[Any] = self.loop.__dict__.setdefault("_aktis_tasks", set())
        return found

    def post(self, callback: Callable[[], Any]) -> None:
        """Call something at the next turn."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(callback)

    def spin(self) -> bool:
        """Turn until nothing is left to do now. Whether anything was done."""
        if not self._turning.acquire(blocking=False):
            return False
        worked = False
        try:
            with _aside():
                for _ in range(_TURNS):
                    if self.loop.is_closed() or not self._busy():
                        break
                    worked = True
                    self.loop.call_soon(self.loop.stop)
                    self.loop.run_forever()
        finally:
            self._turning.release()
        if self._closing:
            self.close()
        return worked

    def _busy(self) -> bool:
        if self.loop._ready:
            return True
        timer = self.next_timer()
        if timer is not None and timer <= 0:
            return True
        return self.has_files() and bool(self.loop._selector.select(0))

    def next_timer(self) -> float | None:
        """Seconds until the next timer; None when there is none."""
        scheduled = self.loop._scheduled
        return scheduled[0].when() - self.loop.time() if scheduled else None

    def has_files(self) -> bool:
        """Whether the loop watches anything but its own wake-up pipe."""
        return len(self.loop._selector.get_map() or ()) > 1

    def close(self) -> None:
        """Cancel what runs, let it end, close the loop. When it is being turned, that is left to who turns it."""
        self._closing = True
        if self.loop.is_closed() or not self._turning.acquire(blocking=False):
            return
        try:
            with _aside():
                pending = list(self._tasks)
                for task in pending:
                    task.cancel()
                if pending:
                    self.loop.run_until_complete(asyncio.wait(pending, timeout=1))
                self.loop.run_until_complete(self.loop.shutdown_asyncgens())
                self.loop.run_until_complete(self.loop.shutdown_default_executor())
                self.loop.close()
        finally:
            self._turning.release()
