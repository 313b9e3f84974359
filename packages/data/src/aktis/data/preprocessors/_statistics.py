"""What fit computes: small objects, one per column, that take in blocks and can be merged in any grouping."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from typing import Any

import numpy as np

from aktis.data.preprocessors._frame import Frame, factorize


class Statistic(ABC):
    """Knowledge about one column. Pickled, so small."""

    @abstractmethod
    def add(self, frame: Frame, column: str) -> None:
        """Take in a piece of the data."""

    @abstractmethod
    def merge(self, other: Any) -> None:
        """Take in what another one knows, about later rows."""


class Moments(Statistic):
    """Count, mean and sum of squared differences from the mean. Nulls and NaN are left out."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self.squares = 0.0

    def add(self, frame: Frame, column: str) -> None:
        values = frame.numbers(column)
        values = values[~np.isnan(values)]
        if len(values):
            part = Moments()
            part.count, part.mean = len(values), float(values.mean())
            part.squares = float(np.square(values - part.mean).sum())
            self.merge(part)

    def merge(self, other: Moments) -> None:
        if not other.count:
            return
        total = self.count + other.count  # Chan, Golub and LeVeque (1983)
        delta = other.mean - self.mean
        self.squares += other.squares + delta * delta * self.count * other.count / total
        self.mean += delta * other.count / total
        self.count = total

    def result(self) -> tuple[float | None, float | None]:
        """Mean and standard deviation (of the population: ddof=0). None without values."""
        return (self.mean, math.sqrt(self.squares / self.count)) if self.count else (None, None)


class Extremes(Statistic):
    """Least and greatest number. Nulls and NaN are left out."""

    def __init__(self) -> None:
        self.low: float | None = None
        self.high: float | None = None

    def add(self, frame: Frame, column: str) -> None:
        values = frame.numbers(column)
        if len(values) and not np.isnan(values).all():
            part = Extremes()
            part.low, part.high = float(np.nanmin(values)), float(np.nanmax(values))
            self.merge(part)

    def merge(self, other: Extremes) -> None:
        if other.low is not None and other.high is not None:
            self.low = other.low if self.low is None else min(self.low, other.low)
            self.high = other.high if self.high is None else max(self.high, other.high)


class Values(Statistic):
    """All numbers: 8 bytes each. Nulls and NaN are left out."""

    def __init__(self) -> None:
        self.parts: list[Any] = []

    def add(self, frame: Frame, column: str) -> None:
        values = frame.numbers(column)
        self.parts.append(values[~np.isnan(values)])

    def merge(self, other: Values) -> None:
        self.parts.extend(other.parts)

    def quantiles(self, wanted: list[float]) -> list[float | None]:
        """Values that are there: the one at position ``floor(q * (count - 1))`` in order."""
        values = np.concatenate(self.parts) if self.parts else np.empty(0)
        if not len(values):
            return [None] * len(wanted)
        positions = [math.floor(q * (len(values) - 1) + 1e-9) for q in wanted]
        ordered = np.partition(values, sorted(set(positions)))
        return [float(ordered[position]) for position in positions]


class Counts(Statistic):
    """How often each value occurs, and how many nulls there are. ``elements``: the values are those in lists."""

    def __init__(self, *, elements: bool = False) -> None:
        self.elements = elements
        self.counts: Counter[Any] = Counter()
        self.nulls = 0

    def add(self, frame: Frame, column: str) -> None:
        values = frame.arrow(column)
        lists = frame.lists(column) if self.elements else None
        if lists is not None:
            self.nulls += int(frame.nulls(column).sum())
            values = lists[0]
        distinct, codes = factorize(values)
        self.nulls += int((codes < 0).sum())
        tally = np.bincount(codes[codes >= 0], minlength=len(distinct)).tolist()
        for value, count in zip(distinct, tally):
            self.counts[value] += count

    def merge(self, other: Counts) -> None:
        self.nulls += other.nulls
        for value, count in other.counts.items():
            self.counts[value] += count


def in_order(values: Any) -> list[Any]:
    """Sorted; values that cannot be compared are ordered by the names of their types first."""
    try:
        return sorted(values)
    except TypeError:
        groups: dict[str, list[Any]] = {}
        for value in values:
            groups.setdefault(type(value).__name__, []).append(value)
        ordered: list[Any] = []
        for name in sorted(groups):
            try:
                ordered += sorted(groups[name])
            except TypeError:
                ordered += sorted(groups[name], key=repr)
        return ordered


def most_frequent(counts: Counter[Any], number: int | None) -> list[Any]:
    """Values, most frequent first; equally frequent ones in order, so that the result does not depend on blocks."""
    rank = {value: i for i, value in enumerate(in_order(counts))}
    return sorted(counts, key=lambda value: (-counts[value], rank[value]))[:number]
