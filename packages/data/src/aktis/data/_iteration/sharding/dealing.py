"""Which rows go to whom, and which rows are left of an interrupted epoch. Pure: ranges of rows come in, ranges go out.

The rows of an epoch have an order. They are dealt in rounds: ``n`` parts of ``chunk`` successive rows each, part ``i`` to worker
``i``; what does not fill a last round is divided evenly, and less than ``n`` rows are left over. So every worker gets as many
rows as the others, and who gets which depends on the order alone, not on how rows are cut into blocks::

    n = 2, chunk = 3      | 0 1 2 | 3 4 5 | 6 7 8 | 9 10 11 | 12 13 | 14 15 |  16
                            to 0    to 1    to 0    to 1      to 0    to 1     nobody

That is why two numbers say what has been used when all workers have used as many rows (``rows``) of it: see :class:`Taken`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
Cut = tuple[T, int, int]  # rows ``start`` to ``stop`` of a block


@dataclass(frozen=True, slots=True)
class Taken:
    """What ``workers`` that were dealt ``chunk`` rows at a time have used: the first ``rows`` rows of each one's part."""

    workers: int
    chunk: int
    rows: int


class Rounds(Generic[T]):
    """Cuts a stream of rows into rounds."""

    def __init__(self, n: int, chunk: int) -> None:
        self._n = n
        self._chunk = chunk
        self._held: deque[Cut[T]] = deque()
        self._rows = 0

    def add(self, cut: Cut[T]) -> Iterator[list[list[Cut[T]]]]:
        """More rows come in; the rounds that are complete now, as ``n`` parts each."""
        if cut[1] < cut[2]:
            self._held.append(cut)
            self._rows += cut[2] - cut[1]
        while self._rows >= self._n * self._chunk:
            yield [self._take(self._chunk) for _ in range(self._n)]

    def finish(self) -> tuple[list[list[Cut[T]]], list[Cut[T]]]:
        """The last round, and what is left over."""
        share = self._rows // self._n
        return [self._take(share) for _ in range(self._n)], self.drain()

    def drain(self) -> list[Cut[T]]:
        """All rows that are held back."""
        held = list(self._held)
        self._held.clear()
        self._rows = 0
        return held

    def _take(self, rows: int) -> list[Cut[T]]:
        taken: list[Cut[T]] = []
        self._rows -= rows
        while rows:
            block, start, stop = self._held.popleft()
            if stop - start > rows:
                self._held.appendleft((block, start + rows, stop))
                stop = start + rows
            taken.append((block, start, stop))
            rows -= stop - start
        return taken


class Remaining(Generic[T]):
    """Lets pass the rows of a stream that are not in ``taken``, in order."""

    def __init__(self, taken: Taken) -> None:
        self._taken = taken
        self._rounds: Rounds[T] = Rounds(taken.workers, taken.chunk)
        self._used = taken.rows  # rows per worker that are still to be left out

    def add(self, cut: Cut[T]) -> Iterator[Cut[T]]:
        if not self._used:
            yield cut
            return
        for parts in self._rounds.add(cut):
            yield from self._unused(parts, self._taken.chunk)
        if not self._used:
            yield from self._rounds.drain()

    def finish(self) -> Iterator[Cut[T]]:
        """
        Raises:
            ValueError: there were fewer rows than are said to be taken.
        """
        parts, rest = self._rounds.finish()
        yield from self._unused(parts, count(parts[0]))
        if self._used:
            raise fewer(self._taken.rows, self._taken.rows - self._used)
        yield from rest

    def _unused(self, parts: list[list[Cut[T]]], share: int) -> Iterator[Cut[T]]:
        used = min(self._used, share)
        self._used -= used
        for part in parts:
            yield from without_first(part, used)


def count(cuts: Iterable[Cut[T]]) -> int:
    """Rows in all."""
    return sum(stop - start for _, start, stop in cuts)


def without_first(cuts: Iterable[Cut[T]], rows: int) -> Iterator[Cut[T]]:
    """All but the first ``rows`` rows."""
    for block, start, stop in cuts:
        left_out = min(rows, stop - start)
        rows -= left_out
        if start + left_out < stop:
            yield block, start + left_out, stop


def skipped(cuts: Iterable[Cut[T]], rows: int) -> Iterator[Cut[T]]:
    """All but the first ``rows`` rows of a worker's part, which it has used.

    Raises:
        ValueError: there are not so many.
    """
    left = rows
    for cut in cuts:
        size = cut[2] - cut[1]
        yield from without_first([cut], left)
        left -= min(left, size)
    if left:
        raise fewer(rows, rows - left)


def fewer(said: int, found: int) -> ValueError:
    """The error of a state that does not fit the data."""
    return ValueError(
        f"the state says that each worker had used {said} rows of this epoch, but there are only {found} for each: it belongs to "
        "another data set, or the data has changed"
    )


def remaining(cuts: Iterable[Cut[T]], history: Iterable[Taken]) -> Iterator[Cut[T]]:
    """The rows that are left when, one after the other, the takers of ``history`` have each had theirs of what was left."""
    for taken in history:
        cuts = _passed(cuts, Remaining(taken))
    yield from cuts


def _passed(cuts: Iterable[Cut[T]], stage: Remaining[T]) -> Iterator[Cut[T]]:
    for cut in cuts:
        yield from stage.add(cut)
    yield from stage.finish()
