"""Who runs when nothing but the caller's thread runs: a queue of what can go on, and the one place that waits.

Everything eager happens at submit. What cannot run then (its arguments, its actor or its resources are not there yet)
is queued by whoever makes it possible, and runs in the thread that waits or submits next. ``step`` does one piece of
work; ``wait_until`` steps until its condition holds, and knows when it never will.

Threads: any thread may submit and wait. ``ready`` is a deque (append and popleft are atomic); ``changed`` wakes waiters.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from aktis._inline.loops import PrivateLoop

LOGGER = logging.getLogger("aktis.inline")
PATIENCE = 5.0  # seconds of waiting for other threads alone, after which that is said
PASSIVE = frozenset({"aktis-metrics"})  # threads of ours that call nobody
_POLL = 0.001  # seconds between two looks at loops that wait for files or other threads


class Scheduler:
    """Runs what is ready; waits for what is not."""

    def __init__(self) -> None:
        self.ready: deque[Callable[[], Any]] = deque()
        self.loops: list[PrivateLoop] = []
        self.streams: deque[Any] = deque()  # generators that run only when somebody has time, or asks
        self.changed = threading.Condition()

    def notify(self) -> None:
        """Something became ready: whoever sleeps looks again."""
        with self.changed:
            self.changed.notify_all()

    def drain(self) -> None:
        """Run what can run at once."""
        while self.ready:
            try:
                work = self.ready.popleft()
            except IndexError:  # another thread was faster
                return
            work()

    def spin(self) -> bool:
        """Turn every loop until it has nothing to do now."""
        worked = False
        for loop in list(self.loops):
            worked = loop.spin() or worked
        return worked

    def step(self) -> bool:
        """Do some work; False when there is none now."""
        if self.ready:
            self.drain()
            return True
        if self.spin():
            return True
        for _ in range(len(self.streams)):
            stream = self.streams[0]
            self.streams.rotate(-1)
            if stream.advance():
                return True
        return False

    def wait_until(self, done: Callable[[], bool], timeout: float | None, stuck: Callable[[], Exception]) -> bool:
        """Work until ``done()``; False after ``timeout``. Raises ``stuck()`` when nothing can ever make it true."""
        deadline = None if timeout is None else time.monotonic() + timeout
        warn_at: float | None = None
        while not done():
            if deadline is not None and time.monotonic() >= deadline:
                # One more look: with timeout=0 this is the first.
                while not done() and self.step() and timeout == 0 and self._is_quick():
                    pass
                return done()
            if self.step() or done() or not self._pause(deadline, stuck):
                warn_at = None
            elif warn_at is None:
                warn_at = time.monotonic() + PATIENCE
            elif time.monotonic() > warn_at:
                warn_at = math.inf
                _warn_of_threads(stuck())
        return True

    def _is_quick(self) -> bool:
        return bool(self.ready)

    def _pause(self, deadline: float | None, stuck: Callable[[], Exception]) -> bool:
        """Sleep until there may be something to do; whether only another thread could make that so."""
        waits = [] if deadline is None else [deadline - time.monotonic()]
        for loop in self.loops:
            timer = loop.next_timer()
            if timer is not None:
                waits.append(timer)
            if loop.has_files():
                waits.append(_POLL)
        threads_only = not waits
        if _other_threads():
            waits.append(_POLL)
        if not waits:
            raise stuck()
        with self.changed:
            self.changed.wait(max(0.0, min(waits)))
        return threads_only


def _warn_of_threads(why: Exception) -> None:
    """An error, were it not for threads that may yet do something."""
    LOGGER.warning("%s Another thread may yet do so: %s.", why, ", ".join(_other_threads()))


def _other_threads() -> list[str]:
    """The names of those that may call us."""
    me = threading.current_thread()
    return [one.name for one in threading.enumerate() if one is not me and one.name not in PASSIVE]
