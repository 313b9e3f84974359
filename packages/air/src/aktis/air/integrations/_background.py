"""Calls to other tools, out of the way of the run.

::

    event loop                                  thread (one per callback, daemon, begins with the first call)
      submit(f, x) ──► bounded queue ──────────►  f(x), one after the other, in order
      finish() ◄────── the queue is empty ──────

Guarantees: calls happen in the order in which they were submitted. A call that fails is logged and the next one is made. A full
queue makes ``submit`` wait, but not for ever: after ``patience_s`` the call is dropped, with a warning. ``finish`` waits for
at most ``timeout_s``. A process that ends without ``finish`` makes up for it at its exit.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any, ClassVar

from aktis.air.callbacks import LoggerCallback

__all__ = ["Background", "ToolLogger"]

_log = logging.getLogger(__name__)

_Call = tuple[Callable[..., Any], tuple[Any, ...]]


class Background:
    """Makes calls in a thread of its own, in order.

    Args:
        name: What the calls go to, for messages ("MLflow").
        limit: Calls that may wait.
        patience_s: How long ``submit`` waits for room.
        timeout_s: How long ``finish`` waits.
    """

    def __init__(self, name: str, limit: int = 10_000, patience_s: float = 10.0, timeout_s: float = 300.0) -> None:
        self.name = name
        self.patience_s = patience_s
        self.timeout_s = timeout_s
        self.dropped = 0
        self.failed = 0
        self._calls: queue.Queue[_Call | None] = queue.Queue(limit)
        self._thread: threading.Thread | None = None

    def submit(self, function: Callable[..., Any], *args: Any) -> bool:
        """Have ``function(*args)`` called. False when it was dropped, because the queue stayed full."""
        if self._thread is None:
            self._begin()
        try:
            # Once something was dropped, the tool is known to be stuck: the run does not wait for it again and again.
            self._calls.put((function, args), timeout=0.001 if self.dropped else self.patience_s)
        except queue.Full:
            self.dropped += 1
            if self.dropped == 1:
                _log.warning("%s does not keep up, or does not answer: some of what goes to it is left out", self.name)
            return False
        return True

    def finish(self) -> bool:
        """Wait until everything submitted was done, and end the thread. False when it took too long and was given up."""
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        atexit.unregister(self._at_exit)
        try:
            self._calls.put(None, timeout=self.timeout_s)
            thread.join(self.timeout_s)
        except queue.Full:
            pass
        if thread.is_alive():
            _log.warning("%s did not take everything within %g s: the rest is left out", self.name, self.timeout_s)
            _end(self._calls)  # the thread, should it ever come back
            self._calls = queue.Queue(self._calls.maxsize)
            return False
        return True

    def _begin(self) -> None:
        self._thread = threading.Thread(
            target=_work, args=(weakref.ref(self), self._calls, self.name), name=f"aktis-{self.name}", daemon=True
        )
        self._thread.start()
        weakref.finalize(self, _end, self._calls).atexit = False
        reference = weakref.ref(self)

        def at_exit() -> None:
            background = reference()
            if background is not None:
                background.finish()

        self._at_exit = at_exit
        atexit.register(at_exit)


def _end(calls: queue.Queue[_Call | None]) -> None:
    """Have the thread of these calls end after the present one."""
    with contextlib.suppress(queue.Empty):
        while True:
            calls.get_nowait()
    calls.put(None)


def _work(owner: weakref.ref[Background], calls: queue.Queue[_Call | None], name: str) -> None:
    while (call := calls.get()) is not None:
        function, args = call
        try:
            function(*args)
        except Exception as error:
            background = owner()
            first = background is not None and not background.failed
            if background is not None:
                background.failed += 1
            (_log.warning if first else _log.debug)("A call to %s failed: %s", name, error, exc_info=not first)
        del call, function, args


class ToolLogger(LoggerCallback):
    """A logger whose tool is called in the background. Copies of it keep the settings, and nothing of a run."""

    TOOL: ClassVar[str]

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        """Set what belongs to a run, at the end of the constructor. Subclasses add to it."""
        self._background = Background(self.TOOL)

    def __getstate__(self) -> dict[str, Any]:
        fresh = object.__new__(type(self))
        fresh._reset()
        return {name: value for name, value in vars(self).items() if name not in vars(fresh)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._reset()
