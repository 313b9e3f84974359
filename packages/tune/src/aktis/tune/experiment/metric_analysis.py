"""Statistics of what a trial reported: kept cheaply with every result, worked out when somebody looks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

__all__ = ["MetricAnalysis"]

WINDOW = 10
_MAX, _MIN, _AVG = range(3)


class MetricAnalysis(Mapping[str, dict[str, float]]):
    """For each metric ``max``, ``min``, ``avg``, ``last``, ``last-5-avg`` and ``last-10-avg``."""

    __slots__ = ("_extremes", "_windows")

    def __init__(self) -> None:
        self._extremes: dict[str, list[float]] = {}  # max, min, avg
        self._windows: dict[str, list[float]] = {}  # the latest values, the last one last

    def record(self, numbers: Iterable[tuple[str, float]], count: int) -> None:
        """Take over the numbers of a result, the ``count``-th of its trial."""
        extremes, windows = self._extremes, self._windows
        for key, value in numbers:
            known = extremes.get(key)
            if known is None:
                extremes[key] = [value, value, value]
                windows[key] = [value]
                continue
            if value > known[_MAX] or known[_MAX] != known[_MAX]:  # nan is no extreme
                known[_MAX] = value
            if value < known[_MIN] or known[_MIN] != known[_MIN]:
                known[_MIN] = value
            known[_AVG] += (value - known[_AVG]) / count
            window = windows[key]
            window.append(value)
            if len(window) > WINDOW:
                del window[0]

    def __getitem__(self, key: str) -> dict[str, float]:
        highest, lowest, average = self._extremes[key]
        window = self._windows[key]
        return {
            "max": highest,
            "min": lowest,
            "avg": average,
            "last": window[-1],
            "last-5-avg": math.fsum(window[-5:]) / len(window[-5:]),
            "last-10-avg": math.fsum(window) / len(window),
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._extremes)

    def __len__(self) -> int:
        return len(self._extremes)

    def __contains__(self, key: object) -> bool:
        return key in self._extremes

    def __repr__(self) -> str:
        return repr(dict(self))

    def to_state(self) -> dict[str, list[list[float]]]:
        """All of it as plain lists."""
        return {key: [values, self._windows[key]] for key, values in self._extremes.items()}

    @classmethod
    def from_state(cls, state: Mapping[str, list[list[float]]]) -> MetricAnalysis:
        """What :meth:`to_state` gave."""
        made = cls()
        for key, (values, window) in state.items():
            made._extremes[key], made._windows[key] = list(values), list(window)
        return made
