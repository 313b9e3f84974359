"""The actor that executes a dataset for all workers of a training run, and deals its rows.

::

    worker 0 ──begin, next, leave──▶ ┌ ShardCoordinator (an actor; calls run in threads) ┐
    worker 1 ──────────────────────▶ │  queues of pieces ◀── pump thread ◀── execution    │
                                     └────────────────────────────────────────────────────┘
         ◀── pieces: references of blocks and ranges of rows, which each worker loads from the object store itself

Guarantees: one lock (``_changed``) guards all state. The pump owns its execution: it opens it, and closes it when it ends. A pass
begins when all workers have asked for it, and from the same place; that ends the one before. Nobody waits for ever: those who
wait look every second whether the one that they wait for is alive, and give up after a time. Workers that go in lock step never
wait for one another here: all are dealt rows at the same pace, and what waits for one is limited only while all have some.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any

import aktis
from aktis.data._execution import session
from aktis.data._iteration.meeting import Consumer, ConsumerError, Meeting
from aktis.data._iteration.sharding.dealing import Cut, Rounds, count, fewer, remaining, without_first
from aktis.data._iteration.sharding.epochs import EpochPlan, stored
from aktis.data._iteration.sharding.position import Start
from aktis.data._iteration.sharding.sources import Part, Source, cuts

if TYPE_CHECKING:
    from aktis.data._blocks import Block
    from aktis.data._execution.handle import BlockHandle

CHUNK_BYTES = 2 << 20  # dealt at a time: enough for many batches, little enough to be held back for each worker
QUEUED_CHUNKS = 4  # most of them that wait for one worker while others want more
PIECES = 32  # most pieces that a worker gets with one call


class ShardCoordinator(Meeting):
    """Executes ``plan``, pass by pass, for ``n`` workers. Used as an actor with more than ``2 * n`` threads."""

    def __init__(self, plan: EpochPlan, n: int, patience: float, name: str) -> None:
        super().__init__(n, patience, name)
        self._plan = plan
        self._starts: dict[int, Start] = {}  # of those who wait for the next pass to begin
        self._number = -1
        self._deal: _Deal | None = None

    def begin(self, part: int, consumer: Consumer, start: Start) -> int:
        """Wait until all workers want a new pass; its number."""
        with self._changed:
            self._consumers[part] = consumer
            self._starts[part] = start
            number = self._number + 1
            if len(self._starts) == self._n:
                self._start(number)
                return number
            try:
                self._wait(
                    lambda: self._number >= number,
                    lambda: [other for other in range(self._n) if other not in self._starts],
                    str(start),
                )
            except ConsumerError:
                self._starts.pop(part, None)
                raise
            return number

    def _start(self, number: int) -> None:
        starts, self._starts = self._starts, {}
        self._number = number
        self._deal = deal = _Deal(self._n, starts[0])
        odd = next((part for part, start in starts.items() if start != starts[0]), None)
        if odd is not None:
            deal.fail(
                ConsumerError(
                    f"worker {odd} begins {starts[odd]} of the {self._what}, but worker 0 begins {starts[0]}. All workers must "
                    "loop over it equally often, and load the same state"
                )
            )
        else:
            threading.Thread(target=self._pump, args=(deal,), name="aktis-data-pump", daemon=True).start()
        self._changed.notify_all()

    def _pump(self, deal: _Deal) -> None:
        """Feeds one deal until its pass is over, one way or another."""
        start = deal.start
        try:
            session.note_crowded()  # the workers keep their CPUs: nothing is to be waited for
            deal.layout = self._plan.layout()
            start.check_layout(deal.layout)
            with closing(self._plan.handles(start.seed, start.epoch)) as handles:  # type: ignore[type-var]
                for handle, first, last in remaining(cuts(map(stored, handles)), start.before):
                    with self._changed:
                        while deal.full and deal is self._deal and not deal.abandoned:
                            self._changed.wait()
                        if deal is not self._deal or deal.abandoned:
                            return
                        if deal.add((handle, first, last)):
                            self._changed.notify_all()
            with self._changed:
                deal.finish(self._what)
                self._changed.notify_all()
        except BaseException as error:
            with self._changed:
                deal.fail(error)
                self._changed.notify_all()

    def next(self, part: int, number: int) -> tuple[list[BlockHandle], int, int | None] | None:
        """The next pieces of a worker, how many rows are dealt at a time, and the layout; None at the end of the pass."""
        with self._changed:
            deal = self._deal
            if deal is None or number != self._number:
                raise ConsumerError(
                    f"worker {part} reads on in a pass over the {self._what}, but all of them began another one meanwhile. "
                    "Was its shard used twice at the same time?"
                )
            while True:
                pieces = deal.take(part)
                if pieces:
                    self._changed.notify_all()
                    return pieces, deal.chunk or 1, deal.layout
                if deal.done(part):
                    if deal.error is not None:
                        raise deal.error
                    return None
                self._wait(
                    lambda: deal is not self._deal or deal.done(part) or deal.has(part),
                    lambda: deal.slowest(part) if deal.full else [],
                    f"rows of {deal.start}",
                )
                if deal is not self._deal:
                    return None

    def leave(self, part: int, number: int) -> None:
        """A worker has enough of a pass."""
        with self._changed:
            if number == self._number and self._deal is not None:
                self._deal.leave(part)
                self._changed.notify_all()

    def stats(self) -> str:
        return str(self._plan.dataset.stats())

    def sample(self) -> Any:
        return self._plan.dataset._sample()

    def schema(self) -> Any:
        return self._plan.dataset.schema()

    def count(self) -> int:
        return int(self._plan.dataset.count())


class _Deal:
    """Queues of one pass. The coordinator's lock guards it."""

    def __init__(self, n: int, start: Start) -> None:
        self._n = n
        self.start = start
        self.chunk = start.chunk
        self.layout: int | None = None
        self.error: BaseException | None = None
        self._rounds: Rounds[BlockHandle] | None = None if start.chunk is None else Rounds(n, start.chunk)
        self._skip = [start.skip] * n  # rows of each part that were used already
        self._queues: list[deque[Cut[BlockHandle]]] = [deque() for _ in range(n)]
        self._queued = [0] * n
        self._dealt = 0  # rows to each worker
        self._over = False
        self._gone: set[int] = set()

    def add(self, cut: Cut[BlockHandle]) -> bool:
        """Rows come in. Whether anything was dealt."""
        if self._rounds is None:
            handle = cut[0]
            rows = max(1, CHUNK_BYTES * handle.num_rows // max(1, handle.size_bytes))
            self.chunk = 1 << min(16, rows.bit_length() - 1)  # a power of two: most batches do not span chunks
            self._rounds = Rounds(self._n, self.chunk)
        dealt = False
        for parts in self._rounds.add(cut):
            self._give(parts)
            dealt = True
        return dealt

    def finish(self, name: str) -> None:
        """There are no more rows."""
        left: list[Any] = []
        if self._rounds is not None:
            parts, left = self._rounds.finish()
            self._give(parts)
        self._over = True
        if not self._dealt and not self.start.before:
            self.error = ValueError(too_few(name, count(left), self._n))
        elif self._skip[0]:
            self.error = fewer(self.start.skip, self.start.skip - self._skip[0])

    def fail(self, error: BaseException) -> None:
        self.error = error
        self._over = True

    def take(self, part: int) -> list[BlockHandle]:
        queue = self._queues[part]
        pieces = [queue.popleft() for _ in range(min(PIECES, len(queue)))]
        self._queued[part] -= count(pieces)
        return [handle.slice(start, stop) for handle, start, stop in pieces]

    def leave(self, part: int) -> None:
        self._gone.add(part)
        self._queues[part].clear()
        self._queued[part] = 0

    @property
    def full(self) -> bool:
        """Whether more should not be added now."""
        return self.chunk is not None and max(self._queued) >= QUEUED_CHUNKS * self.chunk

    @property
    def abandoned(self) -> bool:
        return len(self._gone) == self._n

    def done(self, part: int) -> bool:
        return part in self._gone or (self._over and not self._queues[part])

    def has(self, part: int) -> bool:
        return bool(self._queues[part])

    def slowest(self, part: int) -> list[int]:
        """For whom ``part`` waits: those that have not taken what is theirs."""
        return [other for other, queue in enumerate(self._queues) if other != part and queue]

    def _give(self, parts: Iterable[list[Cut[BlockHandle]]]) -> None:
        for part, pieces in enumerate(parts):
            rows = count(pieces)
            if not part:
                self._dealt += rows
            used = min(self._skip[part], rows)
            self._skip[part] -= used
            if part not in self._gone and used < rows:
                self._queues[part].extend(without_first(pieces, used))
                self._queued[part] += rows - used


def too_few(name: str, rows: int, workers: int) -> str:
    """The message of an error."""
    if not rows:
        return f"the {name} is empty"
    return (
        f"the {name} has {rows} row{'s' if rows > 1 else ''}, which cannot be split among {workers} workers: use fewer workers, or "
        "split=False, with which each worker gets all rows"
    )


class SharedStream(Source):
    """The workers' side."""

    allows_many_passes = False

    def __init__(self, plan: EpochPlan, workers: int, patience: float, name: str) -> None:
        actor_class: Any = aktis.remote(ShardCoordinator)
        # Each worker has at most one call that waits, and one that tells of its leaving.
        self._actor = actor_class.options(num_cpus=0, max_concurrency=2 * workers + 4, name=None).remote(
            plan, workers, patience, name
        )
        self._known = plan.dataset._known_rows()

    def open(self, start: Start, rank: int, workers: int) -> Part:
        return _Shared(self._actor, start, rank)

    def end(self) -> None:
        """End the actor. Does not wait."""
        aktis.kill(self._actor)

    def sample(self) -> Block | None:
        block: Block | None = aktis.get(self._actor.sample.remote())
        return block

    def schema(self) -> Any:
        return aktis.get(self._actor.schema.remote())

    def rows(self) -> int | None:
        return self._known

    def count(self) -> int:
        return int(aktis.get(self._actor.count.remote())) if self._known is None else self._known

    def stats(self) -> str:
        return str(aktis.get(self._actor.stats.remote()))


class _Shared(Part):
    def __init__(self, actor: Any, start: Start, rank: int) -> None:
        self._actor = actor
        self._rank = rank
        self._over = False
        self._pieces: deque[BlockHandle] = deque()
        self._number: int = aktis.get(actor.begin.remote(rank, Consumer.here(), start))

    def __next__(self) -> BlockHandle:
        while not self._pieces:
            if self._over:
                raise StopIteration
            found = aktis.get(self._actor.next.remote(self._rank, self._number))
            if found is None:
                self._over = True
                raise StopIteration
            pieces, self.chunk, self.layout = found
            self._pieces.extend(pieces)
        return self._pieces.popleft()

    def close(self) -> None:
        if not self._over:
            self._over = True
            self._actor.leave.remote(self._rank, self._number)
