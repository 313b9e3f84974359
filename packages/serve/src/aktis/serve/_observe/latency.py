"""Latencies in log-spaced buckets: a count costs a tenth of a microsecond, percentiles are good to 10 %. Pure.

Of proxies and replicas alike.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

# From 0.01 ms to about 1000 s, each bound 1.2 times the one before.
BOUNDS = tuple(0.00001 * 1.2**exponent for exponent in range(102))
BOUNDARIES_MS = [
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    1000,
    2000,
    5000,
    10000,
    60000,
    300000,
    600000,
]  # of metrics, as Ray's


class Latencies:
    """How often what took how long."""

    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.buckets = nothing()
        self.total = 0.0  # seconds

    def add(self, seconds: float) -> None:
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    @property
    def count(self) -> int:
        return sum(self.buckets)


def nothing() -> list[int]:
    """Buckets with nothing counted."""
    return [0] * (len(BOUNDS) + 1)


def percentile(buckets: Sequence[int], share: float) -> float:
    """The latency, in seconds, that ``share`` (0 to 1) of what is counted in ``buckets`` does not exceed; 0 without any."""
    count = sum(buckets)
    if not count:
        return 0.0
    wanted = share * count
    seen = 0
    for index, number in enumerate(buckets):
        if not number:
            continue
        if seen + number >= wanted:
            low = BOUNDS[index - 1] if index else 0.0
            high = BOUNDS[index] if index < len(BOUNDS) else BOUNDS[-1]
            return low + (high - low) * min(max((wanted - seen) / number, 0.0), 1.0)
        seen += number
    return BOUNDS[-1]


def difference(now: Sequence[int], before: Sequence[int]) -> list[int]:
    """What was counted since ``before``."""
    return [a - b for a, b in zip(now, before)]
