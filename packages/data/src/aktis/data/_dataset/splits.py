"""Splits of a Dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aktis.data._blocks import empty_like, metadata_of
from aktis.data._dataset._base import DatasetBase
from aktis.data._iteration import splitting
from aktis.data._plan.logical import Exchanged, InputBlocks

if TYPE_CHECKING:
    from aktis.data._execution.handle import BlockHandle
    from aktis.data.dataset import MaterializedDataset
    from aktis.data.iterator import DatasetIterator


class Splits(DatasetBase):
    """Splits of a Dataset."""

    def split(
        self, n: int, *, equal: bool = False, locality_hints: Sequence[Any] | None = None
    ) -> list[MaterializedDataset]:
        """Split into ``n`` datasets, such as one for each of several workers. Executes the plan.

        Args:
            n: how many.
            equal: all get exactly as many rows; less than ``n`` rows are left out. Otherwise whole blocks are given out, so
                numbers of rows differ, and with fewer than ``n`` blocks some datasets are empty.
            locality_hints: ``n`` actors that will read them: each gets, where possible, blocks that are on its node.

        Raises:
            ValueError: n is not positive, or there are not ``n`` distinct hints.
        """
        check_parts(n, locality_hints)
        handles = self._handles()
        rows = [handle.num_rows for handle in handles]
        if locality_hints is not None:
            from aktis.data._iteration.locality import nodes_of_actors, nodes_of_blocks

            groups: Sequence[Sequence[int]] = splitting.by_locality(
                nodes_of_blocks(handles), nodes_of_actors(locality_hints)
            )
        elif equal:
            return self._parts(handles, splitting.at_offsets(rows, splitting.equal_offsets(sum(rows), n)))
        else:
            groups = splitting.in_groups(len(handles), n)
        parts = [splitting.whole(rows, group) for group in groups]
        return self._parts(handles, splitting.equalised(parts) if equal else parts)

    def split_at_indices(self, indices: Sequence[int]) -> list[MaterializedDataset]:
        """Split before the given rows: ``[2, 5]`` gives rows 0 to 1, 2 to 4, and 5 to the end. Executes the plan.

        Indices beyond the end give empty datasets.

        Raises:
            ValueError: indices are missing, negative, or not in ascending order.
        """
        splitting.offsets_at(0, indices)
        handles = self._handles()
        rows = [handle.num_rows for handle in handles]
        return self._parts(handles, splitting.at_offsets(rows, splitting.offsets_at(sum(rows), indices)))

    def split_proportionately(self, proportions: Sequence[float]) -> list[MaterializedDataset]:
        """Split by fractions: ``[0.2, 0.5]`` gives 20%, 50%, and the remaining 30%. No part is empty. Executes the plan.

        Raises:
            ValueError: fractions are not positive, their sum is not less than 1, or there are fewer rows than parts.
        """
        splitting.proportional_offsets(len(proportions) + 1, proportions)
        handles = self._handles()
        rows = [handle.num_rows for handle in handles]
        return self._parts(handles, splitting.at_offsets(rows, splitting.proportional_offsets(sum(rows), proportions)))

    def train_test_split(
        self, test_size: float, *, shuffle: bool = False, seed: int | None = None, stratify: str | None = None
    ) -> tuple[MaterializedDataset, MaterializedDataset]:
        """A dataset for training and one for testing, which gets the last rows. Executes the plan.

        Args:
            test_size: a number of rows (int), or a fraction of them (float), which is rounded up.
            shuffle: in random order before.
            seed: of the shuffle.
            stratify: a column: its values are as frequent in both datasets as they are in all the data.

        Raises:
            ValueError: nothing would be left for training, or for testing.
        """
        splitting.test_rows(2**60, test_size)
        dataset: Any = self.random_shuffle(seed=seed) if shuffle else self  # type: ignore[attr-defined]
        if stratify is None:
            handles = dataset._handles()
            rows = [handle.num_rows for handle in handles]
            total = sum(rows)
            offsets = [0, total - splitting.test_rows(total, test_size), total]
            train, test = self._parts(handles, splitting.at_offsets(rows, offsets))
            return train, test
        return self._stratified(dataset._handles(), stratify, test_size)

    def _stratified(
        self, handles: list[BlockHandle], column: str, test_size: float
    ) -> tuple[MaterializedDataset, MaterializedDataset]:
        from aktis.data._iteration.stratify import StratifiedSplit

        total = sum(handle.num_rows for handle in handles)
        training = total - splitting.test_rows(total, test_size)
        exchange = StratifiedSplit(column, test_size)
        handles = self._handles(Exchanged(inputs=(InputBlocks(handles=tuple(handles)),), exchange=exchange))
        rows = [handle.num_rows for handle in handles]
        train, test = self._parts(handles, splitting.at_offsets(rows, [0, training, total]))
        return train, test

    def streaming_split(
        self, n: int, *, equal: bool = False, locality_hints: Sequence[Any] | None = None
    ) -> list[DatasetIterator]:
        """``n`` iterators that share one execution: each row goes to one of them. Made for the workers of a training run.

        They may be sent to other processes, and must be consumed at the same time: a pass over the data (an epoch) begins
        when all ``n`` have asked for it. Nothing is executed before. Each pass executes the plan anew.

        Args:
            n: how many.
            equal: all get exactly as many rows in each pass; less than ``n`` rows are left out. Otherwise whoever asks
                gets the next block.
            locality_hints: ``n`` actors that will use them. Blocks on their nodes are preferred, if ``equal`` is not set.

        Raises:
            ValueError: n is not positive, or there are not ``n`` distinct hints.
        """
        from aktis.data._iteration.streaming_split import split_stream

        check_parts(n, locality_hints)
        return split_stream(self, n, equal, locality_hints)

    def _parts(self, handles: Sequence[BlockHandle], parts: splitting.Parts) -> list[MaterializedDataset]:
        return [
            self._kept([handles[piece.block].slice(piece.start, piece.stop) for piece in part], like=handles)
            for part in parts
        ]

    def _kept(self, handles: Sequence[BlockHandle], *, like: Sequence[BlockHandle] = ()) -> MaterializedDataset:
        """A dataset of blocks that are there. Without any it still has the schema of ``like``."""
        from aktis.data._execution.handle import BlockHandle
        from aktis.data.dataset import MaterializedDataset

        if not handles:
            schema = next((handle.metadata.schema for handle in like if handle.metadata.schema is not None), None)
            if schema is not None:
                empty = empty_like(schema)
                handles = [BlockHandle(empty, metadata_of(empty))]
        dataset = MaterializedDataset(InputBlocks(handles=tuple(handles)), context=self._context)
        dataset._last_stats = self._last_stats
        return dataset


def check_parts(n: int, hints: Sequence[Any] | None) -> None:
    """Raises TypeError or ValueError for a number of parts, or hints, that make no sense."""
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"n is {n!r}, but must be an int")
    if n < 1:
        raise ValueError(f"n is {n}, but must be at least 1")
    if hints is None:
        return
    if len(hints) != n:
        raise ValueError(f"there are {len(hints)} locality_hints, but must be as many as parts: {n}")
    if len({id(hint) if getattr(hint, "__hash__", None) is None else hint for hint in hints}) != n:
        raise ValueError("locality_hints must be distinct")
