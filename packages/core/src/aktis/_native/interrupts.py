"""KeyboardInterrupt at any moment, except in the middle of our own bookkeeping.

Python runs signal handlers on the main thread between any two bytecodes. An exception raised there while the main
thread has taken a message off a queue, and not yet acted on it, would lose the message. So the sections that do
such things are *guarded*: an interrupt that comes within is kept, and delivered at their end.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any]


class Guard:
    """``with guard:`` around code on any thread; only the main thread's sections hold interrupts back."""

    __slots__ = ("_depth", "_handler", "_kept", "_main")

    def __init__(self) -> None:
        self._depth = 0
        self._kept = False
        self._handler: Handler | None = None
        self._main = threading.main_thread().ident

    def install(self, handler: Handler | None = None) -> None:
        """Handle SIGINT through this guard: with ``handler``, or with what handles it now. Main thread only."""
        if threading.get_ident() != self._main:
            return
        current = signal.getsignal(signal.SIGINT)
        if getattr(current, "__self__", None) is self:
            current = self._handler
        chosen = handler or current
        if callable(chosen):  # else it is ignored, or handled outside of Python: nothing can strike
            self._handler = chosen
            signal.signal(signal.SIGINT, self._on_signal)

    def remove(self) -> None:
        """Give SIGINT back to what handled it before, unless somebody else has it by now."""
        if threading.get_ident() != self._main or self._handler is None:
            return
        if getattr(signal.getsignal(signal.SIGINT), "__self__", None) is self:
            signal.signal(signal.SIGINT, self._handler)
        self._handler = None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._depth:
            self._kept = True
        elif self._handler is not None:
            self._handler(number, frame)

    def __enter__(self) -> None:
        if threading.get_ident() == self._main:
            self._depth += 1

    def __exit__(self, *_: object) -> None:
        if threading.get_ident() == self._main:
            self._depth -= 1
            if self._kept and not self._depth:
                self._kept = False
                if self._handler is not None:
                    self._handler(signal.SIGINT, None)

    def open(self) -> int:
        """A window in a guarded section, for a call that may take long: what was kept strikes now. Returns what
        :meth:`close` takes."""
        if threading.get_ident() != self._main:
            return 0
        depth, self._depth = self._depth, 0
        if self._kept:
            self._kept = False
            self._depth = depth
            if self._handler is not None:
                self._handler(signal.SIGINT, None)
            self._depth = 0
        return depth

    def close(self, depth: int) -> None:
        """End of a window."""
        if depth:
            self._depth = depth


guard = Guard()
"""The one of this process: there is one SIGINT."""
