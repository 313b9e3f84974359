"""Who gets which rows of a stream that several consumers share. Pure: blocks come in, pieces of them go out."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")
Cut = tuple[T, int, int]  # a block, and the rows of it (start, stop)

QUEUED_BLOCKS = 4  # most blocks that wait for one consumer, while another one waits for it


class Dealer(Generic[T]):
    """Deals blocks to ``n`` consumers.

    Not equal: whoever asks gets the next block. ``equal``: each block goes to the consumer that has the fewest rows so far,
    and so many blocks are held back that in the end, when they are cut as need be, all have got the same number of
    rows, to the row. What nobody can get then (less than ``n`` rows) is left out.
    """

    def __init__(self, n: int, equal: bool) -> None:
        self._n = n
        self._equal = equal
        self._held: deque[tuple[T, int]] = deque()  # blocks, with their numbers of rows, that nobody has yet
        self._held_rows = 0
        self._queues: list[deque[Cut[T]]] = [deque() for _ in range(n)]
        self._given = [0] * n
        self._gone: set[int] = set()
        self._finished = False

    def add(self, block: T, rows: int) -> None:
        """A block comes in."""
        if rows:
            self._held.append((block, rows))
            self._held_rows += rows
            if self._equal:
                self._deal()

    def finish(self) -> None:
        """There will be no more blocks."""
        self._finished = True
        if self._equal:
            self._even_out()

    def take(self, consumer: int, prefer: frozenset[int] = frozenset()) -> Cut[T] | None:
        """What a consumer gets now. ``prefer``: positions of blocks that it would rather have (if it may choose)."""
        if self._equal:
            return self._queues[consumer].popleft() if self._queues[consumer] else None
        if not self._held:
            return None
        at = min((position for position in prefer if position < len(self._held)), default=0)
        block, rows = self._held[at]
        del self._held[at]
        self._held_rows -= rows
        self._given[consumer] += rows
        return block, 0, rows

    def leave(self, consumer: int) -> None:
        """A consumer wants nothing more: what is meant for it is dropped."""
        self._gone.add(consumer)
        self._queues[consumer].clear()

    @property
    def waiting(self) -> list[T]:
        """Blocks that the next one who asks may choose from."""
        return [] if self._equal else [block for block, _ in self._held]

    @property
    def full(self) -> bool:
        """Whether blocks should not be added now: somebody has enough of them waiting."""
        if self._equal:
            return max(map(len, self._queues)) >= QUEUED_BLOCKS
        return len(self._held) >= 2 * self._n

    @property
    def abandoned(self) -> bool:
        """Whether all have left."""
        return len(self._gone) == self._n

    def done(self, consumer: int) -> bool:
        """Whether a consumer has got all that it will get."""
        if consumer in self._gone:
            return True
        return self._finished and not (self._queues[consumer] if self._equal else self._held)

    def has(self, consumer: int) -> bool:
        """Whether there is something to take for a consumer."""
        return bool(self._queues[consumer] if self._equal else self._held) and consumer not in self._gone

    def slowest(self, consumer: int) -> list[int]:
        """For whom ``consumer`` waits: those that have not taken what is theirs."""
        return [other for other, queue in enumerate(self._queues) if other != consumer and queue]

    def _give(self, consumer: int, block: T, start: int, stop: int) -> None:
        self._given[consumer] += stop - start
        if consumer not in self._gone:
            self._queues[consumer].append((block, start, stop))

    def _deal(self) -> None:
        while self._held:
            block, rows = self._held[0]
            consumer = min(range(self._n), key=lambda i: (self._given[i], i))
            most = max(self._given[consumer] + rows, *self._given)
            # Rows that the others need to catch up with the one who has the most, once this block is given away.
            needed = self._n * most - sum(self._given) - rows
            if self._held_rows - rows < needed:
                return
            self._held.popleft()
            self._held_rows -= rows
            self._give(consumer, block, 0, rows)

    def _even_out(self) -> None:
        target = (sum(self._given) + self._held_rows) // self._n
        consumer = 0
        for block, rows in self._held:
            start = 0
            while start < rows and consumer < self._n:
                stop = min(rows, start + target - self._given[consumer])
                if start < stop:
                    self._give(consumer, block, start, stop)
                    start = stop
                if self._given[consumer] >= target:
                    consumer += 1
        self._held.clear()
        self._held_rows = 0
