"""Where a worker's rows come from: blocks that are there, an execution of its own, or one that all workers share.

::

    KeptBlocks      references of blocks travel with the source; each worker finds its rows by itself and asks nobody
    OwnStream       every worker executes the plan, and reads all of it
    SharedStream    an actor executes it and deals rows: see coordinator.py
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from aktis.data._iteration.sharding.dealing import Cut, Rounds, count, remaining, skipped
from aktis.data._iteration.sharding.epochs import EpochPlan, layout_of
from aktis.data._iteration.sharding.position import Start

if TYPE_CHECKING:
    from aktis.data._blocks import Block
    from aktis.data._execution.handle import BlockHandle
    from aktis.data._execution.stream import BlockStream
    from aktis.data.dataset import MaterializedDataset


class Part(ABC):
    """The blocks of one pass of one worker: an iterator of handles that can be closed, from any thread.

    Attributes:
        chunk: Rows that are dealt at a time: part of what says who got which; None until the first block is there.
        layout: See :class:`~aktis.data._iteration.sharding.position.Position`.
    """

    chunk: int | None = None
    layout: int | None = None

    def __iter__(self) -> Part:
        return self

    @abstractmethod
    def __next__(self) -> BlockHandle: ...

    @abstractmethod
    def close(self) -> None: ...


class Source(ABC):
    """Opens passes. Pickled, and sent to workers.

    Attributes:
        allows_many_passes: Whether a worker may have several at the same time.
    """

    allows_many_passes: bool = True

    @abstractmethod
    def open(self, start: Start, rank: int, workers: int) -> Part:
        """Worker ``rank``'s part of the pass that begins at ``start``."""

    @abstractmethod
    def sample(self) -> Block | None:
        """A block with some rows."""

    @abstractmethod
    def schema(self) -> Any: ...

    @abstractmethod
    def rows(self) -> int | None:
        """How many rows an epoch has for all workers, if that is known without executing anything."""

    @abstractmethod
    def count(self) -> int:
        """The same, executed if need be."""

    @abstractmethod
    def stats(self) -> str: ...


WHOLE_CHUNK = 1 << 16  # of a part that is all there is: any number does


def cuts(handles: Iterator[BlockHandle]) -> Iterator[Cut[BlockHandle]]:
    """Whole blocks."""
    for handle in handles:
        yield handle, 0, handle.num_rows


class _Pieces(Part):
    """Pieces of blocks that a generator gives."""

    def __init__(self, pieces: Iterator[Cut[BlockHandle]], chunk: int) -> None:
        self._pieces = pieces
        self.chunk = chunk
        self._closed = False

    def __next__(self) -> BlockHandle:
        if self._closed:
            raise StopIteration
        handle, start, stop = next(self._pieces)
        return handle.slice(start, stop)

    def close(self) -> None:
        self._closed = True


class KeptBlocks(Source):
    """Blocks in the object store. ``mix``: their order is drawn anew for each epoch."""

    def __init__(self, dataset: MaterializedDataset, mix: bool) -> None:
        self._dataset = dataset
        self._handles = dataset._handles()
        self._mix = mix
        self._layout = layout_of(self._handles) if mix else None

    def open(self, start: Start, rank: int, workers: int) -> Part:
        start.check_layout(self._layout)
        order: Any = range(len(self._handles))
        if self._mix:
            order = np.random.default_rng([start.seed, start.epoch]).permutation(len(self._handles))
        rest = list(remaining(cuts(self._handles[at] for at in order), start.before))
        chunk = start.chunk or max(1, count(rest) // workers)
        own: list[Cut[BlockHandle]] = []
        rounds: Rounds[BlockHandle] = Rounds(workers, chunk)
        for cut in rest:
            for parts in rounds.add(cut):
                own += parts[rank]
        own += rounds.finish()[0][rank]
        part = _Pieces(skipped(own, start.skip), chunk)
        part.layout = self._layout
        return part

    def sample(self) -> Block | None:
        return next((handle.slice(0, 8).load() for handle in self._handles), None)

    def schema(self) -> Any:
        return self._dataset.schema()

    def rows(self) -> int | None:
        return sum(handle.num_rows for handle in self._handles)

    def count(self) -> int:
        return self.rows() or 0

    def stats(self) -> str:
        size = sum(handle.size_bytes for handle in self._handles)
        return f"kept in memory: {self.count():,} rows, {len(self._handles):,} blocks, {size / 2**20:,.1f} MiB"


class OwnStream(Source):
    """Executed by the worker that reads it. All rows are its own."""

    def __init__(self, plan: EpochPlan) -> None:
        self._plan = plan

    def open(self, start: Start, rank: int, workers: int) -> Part:
        from aktis.data._execution import session

        session.note_crowded()  # workers of a training run keep their CPUs: nothing is to be waited for
        return _Executed(self._plan, start)

    def sample(self) -> Block | None:
        return self._plan.dataset._sample()

    def schema(self) -> Any:
        return self._plan.dataset.schema()

    def rows(self) -> int | None:
        return self._plan.dataset._known_rows()

    def count(self) -> int:
        return int(self._plan.dataset.count())

    def stats(self) -> str:
        return str(self._plan.dataset.stats())


class _Executed(Part):
    """An execution of our own. Whoever is in ``next`` when it is closed comes back, and ends it."""

    def __init__(self, plan: EpochPlan, start: Start) -> None:
        self.chunk = start.chunk or WHOLE_CHUNK
        self.layout = plan.layout()
        start.check_layout(self.layout)
        self._stream: BlockStream | None = None
        self._handles = plan.handles(start.seed, start.epoch, self._opened)
        rest = remaining(cuts(self._handles), start.before)
        self._pieces = skipped(rest, start.skip)
        self._over = False
        self._inside = False

    def _opened(self, stream: BlockStream) -> None:
        self._stream = stream
        if self._over:
            stream.close()

    def __next__(self) -> BlockHandle:
        self._inside = True
        try:
            if self._over:
                raise StopIteration
            handle, start, stop = next(self._pieces)
            return handle.slice(start, stop)
        finally:
            self._inside = False
            if self._over:
                self._end()

    def close(self) -> None:
        self._over = True
        stream = self._stream
        if stream is not None:
            stream.close()
        if not self._inside:
            self._end()

    def _end(self) -> None:
        try:
            self._handles.close()  # type: ignore[attr-defined]
        except ValueError:  # another thread is in it, and will end it when it comes out
            pass
