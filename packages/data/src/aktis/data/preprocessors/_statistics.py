"""What fit computes: small objects, one per column, that take in blocks and can be merged in any grouping."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
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

    def again(self) -> Statistic | None:
        """After a pass over all data: what to compute in another one; None: this one is complete."""
        return None


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


@dataclass(frozen=True)
class Range:
    """Keys from ``low`` to ``low + 2**bits``; ``before`` values of the column are less than these."""

    low: int = 0
    bits: int = 64
    before: int = 0


class Quantiles(Statistic):
    """Exact quantiles, in bounded memory: the value at position ``floor(q * (count - 1))`` in order. Nulls and NaN are left out.

    All values are kept while there are at most ``LIMIT``. If there are more, they are only counted, in 65,536 buckets, and
    another pass looks into the few buckets in which the quantiles are; and so on, at most four passes. The buckets are
    ranges of *keys*: the bits of a float, such that keys are in the order of the floats.
    """

    LIMIT = 1 << 22  # 32 MiB

    def __init__(self, wanted: Sequence[float], ranges: Sequence[Range] = (Range(),), count: int | None = None) -> None:
        self.wanted = wanted
        self.ranges = list(ranges)
        self.count = count  # known after the first pass
        self.size = 0
        self.kept: list[list[Any]] = [[] for _ in ranges]  # arrays of keys in each range
        self.tallies: list[Any] | None = None  # for each range how many keys are in each bucket

    def add(self, frame: Frame, column: str) -> None:
        values = frame.numbers(column)
        keys = keys_of(values[~np.isnan(values)])
        self._take(
            [
                [keys if r.bits == 64 else keys[keys >> np.uint64(r.bits) == np.uint64(r.low >> r.bits)]]
                for r in self.ranges
            ]
        )

    def merge(self, other: Quantiles) -> None:
        if other.tallies is None:
            self._take(other.kept)
        else:
            for mine, theirs in zip(self._counted(), other.tallies):
                mine += theirs
            self.size += other.size

    def _take(self, parts: Sequence[Sequence[Any]]) -> None:
        self.size += sum(len(keys) for arrays in parts for keys in arrays)
        if self.tallies is None and self.size <= self.LIMIT:
            for mine, arrays in zip(self.kept, parts):
                mine.extend(arrays)
            return
        for r, tally, arrays in zip(self.ranges, self._counted(), parts):
            for keys in arrays:
                tally += np.bincount(_buckets(keys, r), minlength=1 << 16)

    def _counted(self) -> list[Any]:
        """The tallies; from here on only they are kept."""
        if self.tallies is None:
            self.tallies = [np.zeros(1 << 16, dtype=np.int64) for _ in self.ranges]
            kept, self.kept = self.kept, []
            for r, tally, arrays in zip(self.ranges, self.tallies, kept):
                for keys in arrays:
                    tally += np.bincount(_buckets(keys, r), minlength=1 << 16)
        return self.tallies

    def again(self) -> Quantiles | None:
        self.count = self.size if self.count is None else self.count
        if self.tallies is None:
            return None
        found = [self._narrowed(rank) for rank in self._ranks()]
        following = Quantiles(self.wanted, list(dict.fromkeys(found)), self.count)
        if found[0].bits:
            return following
        self.tallies = None  # each range is a single value now
        self.ranges = following.ranges
        self.kept = [[np.full(1, r.low, dtype=np.uint64)] for r in self.ranges]
        return None

    def _narrowed(self, rank: int) -> Range:
        for r, tally in zip(self.ranges, self._counted()):
            ends = np.cumsum(tally)
            if r.before <= rank < r.before + ends[-1]:
                bucket = int(np.searchsorted(ends, rank - r.before, side="right"))
                before = r.before + (int(ends[bucket - 1]) if bucket else 0)
                return Range(r.low + (bucket << (r.bits - 16)), r.bits - 16, before)
        raise ValueError(
            "The data was not the same in two passes over it, so there are no quantiles. Materialize it before fit."
        )

    def _ranks(self) -> list[int]:
        return [math.floor(q * ((self.count or 0) - 1) + 1e-9) for q in self.wanted]

    def result(self) -> list[float | None]:
        """The quantiles; None without values."""
        if not self.count:
            return [None] * len(self.wanted)
        ordered = [np.sort(np.concatenate(arrays)) for arrays in self.kept]
        found = []
        for rank in self._ranks():
            i = max(i for i, r in enumerate(self.ranges) if r.before <= rank)
            r, keys = self.ranges[i], ordered[i]
            found.append(keys[0] if r.bits == 0 else keys[rank - r.before])
        return [float(value) for value in values_of(np.array(found, dtype=np.uint64))]


def _buckets(keys: Any, r: Range) -> Any:
    return ((keys - np.uint64(r.low)) >> np.uint64(r.bits - 16)).astype(np.int64)


def keys_of(values: Any) -> Any:
    """Unsigned integers in the order of these floats (the two zeros are one)."""
    bits = np.ascontiguousarray(values + 0.0).view(np.uint64)
    sign = np.uint64(1 << 63)
    return np.where(bits & sign, ~bits, bits | sign)


def values_of(keys: Any) -> Any:
    """The floats of these keys."""
    sign = np.uint64(1 << 63)
    return np.where(keys & sign, keys ^ sign, ~keys).view(np.float64)


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
