"""From point to point."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from typing import Any

from aktis.rllib.utils.schedules.schedule import Schedule


def _linear_interpolation(left: Any, right: Any, alpha: float) -> Any:
    return left + alpha * (right - left)


class PiecewiseSchedule(Schedule):
    """Through given points, straight in between.

    Args:
        endpoints: `[(time, number), ...]`, times ascending.
        framework: Has no meaning.
        interpolation: `f(left, right, alpha)` between two points, with alpha from 0 to 1.
        outside_value: The number before the first time and from the last on. By default the first number holds before,
            and the last afterwards.

    Raises:
        ValueError: There are no points, or times descend.
    """

    def __init__(
        self,
        endpoints: Sequence[tuple[float, float]],
        framework: str | None = None,
        interpolation: Callable[[Any, Any, float], Any] = _linear_interpolation,
        outside_value: float | None = None,
    ) -> None:
        super().__init__(framework)
        times = [point[0] for point in endpoints]
        if not times or times != sorted(times):
            raise ValueError(f"endpoints must be pairs (time, number) with ascending times, not {list(endpoints)}.")
        self.endpoints = [(point[0], float(point[1])) for point in endpoints]
        self.interpolation = interpolation
        self.outside_value = outside_value
        self._times = times

    def _value(self, t: int | float) -> Any:
        i = bisect.bisect_right(self._times, t)
        if 0 < i < len(self._times):
            (t0, left), (t1, right) = self.endpoints[i - 1], self.endpoints[i]
            return self.interpolation(left, right, (t - t0) / (t1 - t0))
        if self.outside_value is not None:
            return self.outside_value
        return self.endpoints[0 if i == 0 else -1][1]
