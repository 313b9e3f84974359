"""The end of a run whose time is over."""

from __future__ import annotations

import datetime
import logging
import math
import time
from collections.abc import Callable
from typing import Any

from aktis.tune.stopper.stopper import CombinedStopper, Stopper

__all__ = ["TimeoutStopper", "set_clock"]

logger = logging.getLogger(__name__)


class TimeoutStopper(Stopper):
    """Ends the run after some time of running.

    The clock starts when ``stop_all`` is asked first, so preparations are free. A resumed run has the time that was left; the
    time in between does not count.

    Args:
        timeout: Seconds, or a ``datetime.timedelta``.
        clock: What says the time, in seconds. It is not pickled: a loaded stopper goes by ``time.time`` until
            :func:`set_clock`.
    """

    def __init__(self, timeout: float | datetime.timedelta, clock: Callable[[], float] = time.time) -> None:
        seconds = timeout.total_seconds() if isinstance(timeout, datetime.timedelta) else timeout
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < math.inf:
            raise ValueError(f"timeout must be a number of seconds from 0, or a datetime.timedelta, got {timeout!r}")
        self.clock = clock
        self._timeout = float(seconds)
        self._budget = float(seconds)
        self._last_check: float | None = None
        self._told = False

    @property
    def remaining(self) -> float:
        """The seconds that were left when ``stop_all`` was last asked."""
        return self._budget

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        now = self.clock()
        if self._last_check is not None:
            self._budget -= max(now - self._last_check, 0.0)  # a clock that was set back takes no time
        self._last_check = now
        if self._budget > 0:
            return False
        if not self._told:
            logger.info("the time budget of %g seconds is used up: all trials are stopped", self._timeout)
            self._told = True
        return True

    def pause(self) -> None:
        """Time does not count until ``stop_all`` is asked again."""
        self._last_check = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "clock": None, "_last_check": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.clock = time.time

    def __repr__(self) -> str:
        return f"TimeoutStopper({self._timeout!r})"


def set_clock(stopper: Stopper, clock: Callable[[], float]) -> None:
    """Let every :class:`TimeoutStopper` in there go by this clock, from its next question on."""
    if isinstance(stopper, TimeoutStopper):
        stopper.clock = clock
        stopper.pause()
    elif isinstance(stopper, CombinedStopper):
        for each in stopper.stoppers:
            set_clock(each, clock)
