"""Dealing data to the workers of a training run: equal parts, epoch after epoch, that go on where they were interrupted.

::

    sharding = Sharding(dataset, ShardOptions(randomize_block_order=True))
    shards = sharding.deal(4)      # iterators, to be sent to 4 workers
    ...
    shards = sharding.deal(3)      # one was lost: what is computed is not computed again
    sharding.close()

This is what trainers use; :meth:`aktis.data.Dataset.streaming_split` is the simpler thing, without a memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aktis
from aktis.data._iteration.sharding.coordinator import SharedStream, too_few
from aktis.data._iteration.sharding.epochs import EpochPlan, keep
from aktis.data._iteration.sharding.shard import Shard
from aktis.data._iteration.sharding.sources import KeptBlocks, OwnStream, Source

if TYPE_CHECKING:
    from aktis.data.dataset import Dataset, MaterializedDataset

__all__ = ["Shard", "ShardOptions", "Sharding"]

KEPT_SHARE = 0.5  # of the object store, for all data that is kept: the rest is for what flows through, and for others

LARGE = 1 << 20  # bytes; small objects are with their owner, who is us, and have no place


@dataclass(frozen=True, kw_only=True)
class ShardOptions:
    """How a data set is dealt.

    Args:
        split: Whether each worker gets a part of its own, or all rows.
        keep: Whether it is computed once and kept in the object store, if it fits; else it is executed in each epoch.
        global_shuffle: Whether all rows are put in random order in each epoch (where there are windows: in each of these).
        randomize_block_order: Whether blocks are.
        window_bytes: Execute what is not kept in windows of about so many bytes.
        per_epoch: Applied to the data set anew in each epoch (or to each window).
        seed: Of the random orders: they follow from it and the number of the epoch.
        name: What errors call it.
    """

    split: bool = True
    keep: bool = True
    global_shuffle: bool = False
    randomize_block_order: bool = False
    window_bytes: int | None = None
    per_epoch: Callable[[Dataset], Dataset] | None = None
    seed: int = 0
    name: str = "data set"


class Sharding:
    """A data set that is dealt to workers, any number of times. Not for several threads at once."""

    def __init__(self, dataset: Dataset, options: ShardOptions | None = None) -> None:
        self._dataset = dataset
        self._options = options or ShardOptions()
        self._kept: MaterializedDataset | None = None
        self._asked = False  # whether it is known if the data fits
        self._stream: SharedStream | None = None

    @property
    def kept_bytes(self) -> int:
        """Bytes in the object store that this holds."""
        return 0 if self._kept is None else sum(handle.size_bytes for handle in self._kept._handles())

    def deal(self, workers: int, *, keep_bytes: int | None = None) -> list[Shard]:
        """Shards for so many workers. Those of an earlier call are void.

        Args:
            workers: How many there are.
            keep_bytes: Most bytes that are kept; None: half of the object store.

        Raises:
            ValueError: fewer rows than workers, when that is known beforehand (else the loops raise it).
        """
        self.close()
        self._forget_what_is_lost()
        source = self._source(workers, keep_bytes)
        options = self._options
        shares = workers if options.split else 1
        rows = source.rows()
        if rows is not None and options.split and rows < workers:
            raise ValueError(too_few(options.name, rows, workers))
        ranks = range(workers) if options.split else [0] * workers
        return [Shard(options.name, source, rank, shares, options.seed) for rank in ranks]

    def close(self) -> None:
        """End what serves the shards of the latest call. Does not wait for anybody."""
        stream, self._stream = self._stream, None
        if stream is not None and aktis.is_initialized():
            stream.end()

    def _source(self, workers: int, keep_bytes: int | None) -> Source:
        options = self._options
        dataset = self._settled(keep_bytes) or self._dataset
        plan = EpochPlan(
            dataset=dataset,
            shuffle=options.global_shuffle,
            mix=options.randomize_block_order,
            window_bytes=options.window_bytes,
            transform=options.per_epoch,
        )
        if plan.is_fixed and self._kept is not None:
            return KeptBlocks(self._kept, plan.mix)
        if not options.split:
            return OwnStream(plan)
        self._stream = SharedStream(plan, workers, dataset._context.split_timeout_s, options.name)
        return self._stream

    def _settled(self, keep_bytes: int | None) -> MaterializedDataset | None:
        """The data set with its blocks in the object store, if they are there or are to be kept there."""
        from aktis.data._execution import session
        from aktis.data.dataset import MaterializedDataset

        if self._kept is None and not self._asked and (self._options.keep or self._dataset.is_fully_executed()):
            session.ensure()
            session.note_crowded()
            most = float("inf") if self._dataset.is_fully_executed() else _most_bytes(keep_bytes)
            handles = keep(self._dataset, most)
            if handles is not None:
                from aktis.data._plan.logical import InputBlocks

                self._kept = MaterializedDataset(InputBlocks(handles=handles), context=self._dataset._context)
        self._asked = True
        return self._kept

    def _forget_what_is_lost(self) -> None:
        """Blocks that were on machines which are gone are computed again."""
        if self._kept is None or self._dataset.is_fully_executed():
            return
        from aktis.experimental import get_object_locations

        large = [handle.where for handle in self._kept._handles() if handle.size_bytes > LARGE]
        found = get_object_locations(large) if large else {}
        if any(not where["node_ids"] and not where["did_spill"] for where in found.values()):
            self._kept, self._asked = None, False


def _most_bytes(asked: int | None) -> float:
    if asked is not None:
        return asked
    return KEPT_SHARE * float(aktis.cluster_resources().get("object_store_memory", 1 << 30))
