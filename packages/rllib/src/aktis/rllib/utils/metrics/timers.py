"""How long a part of an iteration takes."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType

__all__ = ["Timer"]


class Timer:
    """Measures what is in its ``with``, and how many units were done in that time::

        with timers["learn"]:
            ...
        timers["learn"].push_units_processed(len(batch))

    Means are over the last ``window_size`` measurements.

    Args:
        window_size: How many.
    """

    def __init__(self, window_size: int = 10) -> None:
        self._window: deque[float] = deque(maxlen=window_size)
        self._units: deque[float] = deque(maxlen=window_size)
        self._total = 0.0
        self._began: float | None = None
        self.count = 0

    def __enter__(self) -> Timer:
        if self._began is not None:
            raise RuntimeError("this timer is running already: use another one for what is inside of what it measures")
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        began, self._began = self._began, None
        if began is not None:
            self.push(time.perf_counter() - began)

    def push(self, seconds: float) -> None:
        """Add a measurement, in seconds."""
        self._window.append(seconds)
        self._total += seconds
        self.count += 1

    def push_units_processed(self, n: float) -> None:
        """Say how much was done in the last measurement."""
        self._units.append(n)

    def has_units_processed(self) -> bool:
        """Whether anybody said so."""
        return bool(self._units)

    @property
    def mean(self) -> float:
        """Seconds."""
        return sum(self._window) / len(self._window) if self._window else 0.0

    @property
    def total(self) -> float:
        """Seconds of all measurements together."""
        return self._total

    @property
    def mean_units_processed(self) -> float:
        """Units of a measurement."""
        return sum(self._units) / len(self._units) if self._units else 0.0

    @property
    def mean_throughput(self) -> float:
        """Units in a second."""
        seconds = sum(self._window)
        return sum(self._units) / seconds if seconds else 0.0
