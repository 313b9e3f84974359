"""What a training worker is given: an iterator over its part that knows how far it has got."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aktis.data._iteration.engine import Batches, BatchSpec, iterate
from aktis.data._iteration.sharding.dealing import Taken
from aktis.data._iteration.sharding.position import LocalShuffle, Position, Start
from aktis.data._iteration.sharding.sources import Part, Source
from aktis.data.iterator import DatasetIterator

if TYPE_CHECKING:
    from aktis.data._blocks import Block
    from aktis.data._execution.handle import BlockHandle
    from aktis.data.dataset import MaterializedDataset

log = logging.getLogger(__name__)


class Shard(DatasetIterator):
    """A worker's part of a data set. Each loop over it is an epoch, with the same number of rows for all workers.

    ``state_dict()`` in the middle of a loop says which rows are left of the epoch, and ``load_state_dict(state)`` in another
    run (or with other workers) makes the next loop give exactly those.
    """

    def __init__(self, name: str, source: Source, rank: int, workers: int, seed: int) -> None:
        self._name = name
        self._source = source
        self._rank = rank
        self._workers = workers
        self._position = Position(seed=seed)  # where the next pass begins, unless one has begun
        self._pass: _Pass | None = None  # the latest one, until it is over

    # -- where we are ---------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The number, from 0, of the epoch that the current loop reads; between loops, that the next one will read."""
        return self._position.epoch if self._pass is None else self._pass.start.epoch

    def set_epoch(self, epoch: int) -> None:
        """Let the next loop read this epoch from its beginning: the number decides on the random order. All workers must."""
        if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 0:
            raise ValueError(f"epoch must be an int, 0 or more, not {epoch!r}")
        self._pass = None
        self._position = Position(seed=self._position.seed, epoch=epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where in the data this is: a small dict of JSON types, the same on all workers that took as many batches.

        A batch counts as used when the loop has got it. What was only prefetched does not.
        """
        return (self._position if self._pass is None else self._pass.position()).to_json()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`state_dict` was called: the next loop gives what was left of that epoch.

        As many workers as then keep their parts: they see the same batches that they would have seen. With another number of
        workers the rows that are left are dealt anew. All workers must load the same state.

        Raises:
            ValueError: this is no such state; or local_shuffle_buffer_size was used with another number of workers.
        """
        position = Position.from_json(state)
        position.start_for(self._workers)
        self._pass = None
        self._position = position

    # -- passes ----------------------------------------------------------------------------------

    def _begin(self, shuffle: LocalShuffle | None) -> tuple[_Pass, int]:
        """A new pass, and how many shuffled rows it leaves out."""
        if self._pass is not None:  # left early: what was left of it is given up
            self._position = self._pass.next_epoch()
        position = self._position
        start = position.start_for(self._workers)
        replayed = 0
        if start.skip and position.shuffle is not None:
            if shuffle != position.shuffle:
                was = position.shuffle
                raise ValueError(
                    f"the epoch was interrupted with local_shuffle_buffer_size={was.buffer} and batch_size={was.batch} "
                    f"(seed {was.seed}), and can only go on with the same, not with {_described(shuffle)}"
                )
            start, replayed = replace(start, skip=0), start.skip
        elif (
            start.skip and shuffle is not None
        ):  # interrupted without a shuffle: what is left is shuffled as a part of its own
            last = position.taken[-1]
            start = replace(start, before=position.taken, chunk=None, skip=0)
            log.debug("%s: the rest of %s is dealt anew", self._name, last)
        self._pass = _Pass(start, self._workers, shuffle, replayed)
        return self._pass, replayed

    def _local_shuffle(self, spec: BatchSpec) -> LocalShuffle | None:
        if spec.shuffle_buffer is None or spec.batch_size is None:
            return None
        seed = spec.shuffle_seed
        return LocalShuffle(
            buffer=spec.shuffle_buffer, batch=spec.batch_size, seed=self._position.seed if seed is None else seed
        )

    def _batches(
        self,
        spec: BatchSpec,
        form: Any,
        collate: Callable[[Any], Any] | None = None,
        finalize: Callable[[Any], Any] | None = None,
    ) -> Batches[Any]:
        return Batches(lambda: self._counted(spec, form, collate, finalize))

    def _counted(self, spec: BatchSpec, form: Any, collate: Any, finalize: Any) -> Iterator[Any]:
        shuffle = self._local_shuffle(spec)
        current, replayed = self._begin(shuffle)
        if shuffle is not None:
            given = spec.shuffle_seed is not None
            own = shuffle.seed if given else _seed(shuffle.seed, current.start.epoch, self._rank)
            spec = replace(spec, shuffle_seed=own, steady_shuffle=True, shuffled_skip=replayed)

        def opened() -> _Watched:
            return current.watch(self._source.open(current.start, self._rank, self._workers))

        batches = iterate(opened, spec, form, self._new_stats(), collate=collate, finalize=finalize)
        took = current.took_block if spec.batch_size is None else current.took
        size = spec.batch_size or 0
        try:
            for batch in batches:
                took(size)
                yield batch
                del batch
            self._finish(current)
        finally:
            batches.close()  # type: ignore[attr-defined]

    def _rows(self, spec: BatchSpec) -> Iterator[Any]:
        current, _ = self._begin(None)
        rows = DatasetIterator._rows(_Opened(self, current), spec)  # type: ignore[arg-type]
        try:
            for row in rows:
                current.took(1)
                yield row
            self._finish(current)
        finally:
            rows.close()  # type: ignore[attr-defined]

    def _finish(self, current: _Pass) -> None:
        if self._pass is current:
            self._position = current.next_epoch()
            self._pass = None

    def _open(self) -> Part:
        # For workers of a DataLoader, each of which needs a pass of its own: such passes are not counted.
        if not self._source.allows_many_passes:
            raise ValueError(
                f"{self._name} is streamed to all workers of the run by one execution, which the workers of a DataLoader cannot "
                "each read for themselves: use DataLoader(num_workers=0), with prefetch_batches for what shall be made ahead"
            )
        return self._source.open(self._position.start_for(self._workers), self._rank, self._workers)

    # -- what is in it ----------------------------------------------------------------------------

    def iter_epochs(self, max_epoch: int = -1) -> Iterator[Shard]:  # type: ignore[override]
        """This shard, once per epoch: loops of Ray 2.2. ``max_epoch``: how many; -1: no end."""
        done = 0
        while done != max_epoch:
            yield self
            done += 1

    def count(self) -> int:
        """Rows of this worker's part of a whole epoch. Executes the data set if that is not known."""
        return self._source.count() // self._workers

    def materialize(self) -> MaterializedDataset:
        """This worker's part of the next epoch as a Dataset, which can be used for itself (that counts as a loop)."""
        from aktis.data._plan.logical import InputBlocks
        from aktis.data.dataset import MaterializedDataset

        current, _ = self._begin(None)
        part = self._source.open(current.start, self._rank, self._workers)
        handles = tuple(part)
        self._finish(current)
        return MaterializedDataset(InputBlocks(handles=handles))

    def _sample(self) -> Block | None:
        return self._source.sample()

    def _known_rows(self) -> int | None:
        if self._position.taken:  # the next loop has fewer than the others
            return None
        rows = self._source.rows()
        return None if rows is None else rows // self._workers

    def schema(self) -> Any:
        return self._source.schema()

    def stats(self) -> str:
        text = self._source.stats()
        return text if self._iteration_stats is None else f"{text}\n\n{self._iteration_stats}"

    @property
    def world_size(self) -> int:
        """How many workers share the data set: 1 for one that is not split."""
        return self._workers

    def __repr__(self) -> str:
        part = f"part {self._rank} of {self._workers}" if self._workers > 1 else "all rows"
        return f"DataIterator({self._name}, {part})"


class _Pass:
    """How far a loop has got."""

    def __init__(self, start: Start, workers: int, shuffle: LocalShuffle | None, rows: int) -> None:
        self.start = start
        self._workers = workers
        self._shuffle = shuffle
        self._rows = start.skip + rows  # used of this worker's part
        self._part: _Watched | None = None

    def watch(self, part: Part) -> _Watched:
        self._part = _Watched(part, self.start.skip)
        return self._part

    def took(self, rows: int) -> None:
        """The loop has got a batch: ``rows`` rows, or all that there are."""
        part = self._part
        now = self._rows + rows
        # Less than what was opened for it only at the end, when the last batch is a short one.
        self._rows = now if part is None or now <= part.rows else part.rows

    def took_block(self, _: int) -> None:
        if self._part is not None:
            self._rows += self._part.sizes.popleft()

    def position(self) -> Position:
        part, start = self._part, self.start
        chunk = start.chunk if part is None else part.part.chunk
        position = Position(epoch=start.epoch, seed=start.seed, taken=start.before, layout=start.layout)
        if part is not None:
            position = replace(position, layout=part.part.layout)
        if not self._rows or chunk is None:
            return position
        return replace(position, taken=(*start.before, Taken(self._workers, chunk, self._rows)), shuffle=self._shuffle)

    def next_epoch(self) -> Position:
        return Position(epoch=self.start.epoch + 1, seed=self.start.seed)


class _Watched:
    """A part that remembers how many rows have come out of it."""

    def __init__(self, part: Part, before: int) -> None:
        self.part = part
        self.rows = before
        self.sizes: deque[int] = deque()  # of blocks that the loop has not got yet

    def __iter__(self) -> _Watched:
        return self

    def __next__(self) -> BlockHandle:
        handle = next(self.part)
        rows = handle.num_rows
        if rows:
            self.sizes.append(rows)
            self.rows += rows
        return handle

    def close(self) -> None:
        self.part.close()


class _Opened:
    """Stands for a shard in a loop over rows."""

    def __init__(self, shard: Shard, current: _Pass) -> None:
        self._shard = shard
        self._current = current

    def _new_stats(self) -> Any:
        return self._shard._new_stats()

    def _open(self) -> _Watched:
        shard, current = self._shard, self._current
        return current.watch(shard._source.open(current.start, shard._rank, shard._workers))


def _seed(seed: int, epoch: int, rank: int) -> int:
    import numpy as np

    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1)[0])


def _described(shuffle: LocalShuffle | None) -> str:
    if shuffle is None:
        return "no shuffle"
    return f"local_shuffle_buffer_size={shuffle.buffer} and batch_size={shuffle.batch} (seed {shuffle.seed})"
