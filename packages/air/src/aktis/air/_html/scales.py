"""Scales of axes: where a value is drawn, and which values are written beside the axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aktis.air.display import format_value

__all__ = ["Scale", "categories_scale", "number_scale", "suits_log"]


@dataclass(frozen=True)
class Scale:
    """From values between ``lo`` and ``hi`` to coordinates between ``start`` and ``end``."""

    lo: float
    hi: float
    start: float
    end: float
    log: bool = False
    names: tuple[str, ...] = ()  # of categories, which stand at 0, 1, 2, ...

    def __call__(self, value: float) -> float:
        if self.hi == self.lo:
            return (self.start + self.end) / 2
        if self.log:
            share = math.log(value / self.lo) / math.log(self.hi / self.lo) if value > 0 else 0.0
        else:
            share = (value - self.lo) / (self.hi - self.lo)
        return self.start + share * (self.end - self.start)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Values to write, with their text."""
        if self.names:
            step = max(1, math.ceil(len(self.names) / 24))
            return [(float(index), name) for index, name in enumerate(self.names) if index % step == 0]
        values = _log_ticks(self.lo, self.hi) if self.log else _ticks(self.lo, self.hi)
        return [(value, format_value(value)) for value in values]

    @property
    def description(self) -> str:
        """For the page's script."""
        return f"[{self.lo!r},{self.hi!r},{self.start:g},{self.end:g},{int(self.log)}]"


def suits_log(values: Iterable[float], spread: float = 50) -> bool:
    """Whether positive numbers spread so far (the largest is ``spread`` times the smallest) that a logarithm shows them better."""
    found = [value for value in values if math.isfinite(value)]
    if len(found) < 3 or min(found) <= 0 or max(found) / min(found) < spread:
        return False
    ordered = sorted(found)
    # Evenly spread values have their median in the middle; those of a log scale near the bottom.
    return ordered[len(ordered) // 2] < 0.25 * ordered[-1]


def number_scale(values: Iterable[float], start: float, end: float, log: bool = False, margin: float = 0.04) -> Scale:
    """A scale that holds all finite values."""
    found = [value for value in values if math.isfinite(value) and (not log or value > 0)]
    if not found:
        return Scale(0.0, 1.0, start, end)
    lo, hi = min(found), max(found)
    if lo == hi:
        pad = abs(lo) * 0.5 or 0.5
        return Scale(lo / 2, hi * 2, start, end, True) if log else Scale(lo - pad, hi + pad, start, end)
    if log:
        factor = (hi / lo) ** margin
        return Scale(lo / factor, hi * factor, start, end, True)
    pad = (hi - lo) * margin
    return Scale(lo - pad, hi + pad, start, end)


def categories_scale(names: Sequence[str], start: float, end: float) -> Scale:
    """A scale for the categories 0, 1, 2, ..."""
    pad = 0.5 if len(names) > 1 else 1.0
    return Scale(-pad, len(names) - 1 + pad, start, end, False, tuple(names))


def _ticks(lo: float, hi: float, wanted: int = 5) -> list[float]:
    span = hi - lo
    if not math.isfinite(span) or span <= 0:
        return [lo]
    raw = span / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first = math.ceil(lo / step - 1e-9)
    last = math.floor(hi / step + 1e-9)
    return [
        round(index * step, 12) if abs(index * step) < 1e12 and step > 1e-9 else index * step
        for index in range(first, last + 1)
    ]


def _log_ticks(lo: float, hi: float) -> list[float]:
    first, last = math.floor(math.log10(lo)), math.ceil(math.log10(hi))
    step = max(1, math.ceil((last - first) / 7))
    ticks = [10.0**power for power in range(first, last + 1, step) if lo <= 10.0**power <= hi]
    if len(ticks) >= 2:
        return ticks
    fine = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    return [value for value in fine if lo <= value <= hi] or [lo, hi]
