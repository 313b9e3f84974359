"""Operations that move rows between blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from aktis.data._dataset._base import DatasetBase
from aktis.data._exchanges._keys import make_keys
from aktis.data._exchanges.repartition import RandomizeBlockOrder, Repartition
from aktis.data._exchanges.shuffle import RandomShuffle
from aktis.data._exchanges.sort import Sort
from aktis.data._exchanges.zip import Zip
from aktis.data._plan.logical import Exchanged, Rearranged

if TYPE_CHECKING:
    from aktis.data.dataset import Dataset


class Reshaping(DatasetBase):
    """Repartitioning, order, zip, joins, groups, aggregates."""

    def repartition(
        self,
        num_blocks: int | None = None,
        *,
        target_num_rows_per_block: int | None = None,
        shuffle: bool = False,
    ) -> Dataset:
        """Change the number of blocks, or their length.

        Without ``shuffle`` rows stay in order, and only those move that have to.

        Args:
            num_blocks: Blocks of the output, of equal length (give or take one row).
            target_num_rows_per_block: Rows of each block, in place of ``num_blocks``.
            shuffle: Move all rows, to random places.

        Raises:
            ValueError: Both or neither of ``num_blocks`` and ``target_num_rows_per_block`` are given, or are below 1.
        """
        if shuffle:
            if num_blocks is None or target_num_rows_per_block is not None:
                raise ValueError("repartition(shuffle=True) takes num_blocks, and no target_num_rows_per_block.")
            exchange = RandomShuffle(None, num_blocks, name="Repartition", even=True)
            return self._with(Exchanged(exchange=exchange, inputs=(self._root,)))
        rearrangement = Repartition(num_blocks, target_num_rows_per_block=target_num_rows_per_block)
        return self._with(Rearranged(rearrangement=rearrangement, inputs=(self._root,)))

    def random_shuffle(
        self, *, seed: int | None = None, num_blocks: int | None = None, **ray_remote_args: Any
    ) -> Dataset:
        """All rows in random order.

        Args:
            seed: Equal seeds give equal orders, as long as the blocks are the same. None: a new order for each call, which
                stays the same however often this dataset is used.
            num_blocks: Blocks of the output.
            ray_remote_args: Resources of the tasks, such as ``num_cpus``.
        """
        exchange = RandomShuffle(seed, num_blocks, target_bytes=self._context.target_max_block_size)
        return self._with(Exchanged(exchange=exchange, inputs=(self._root,), remote_args=ray_remote_args))

    def randomize_block_order(self, *, seed: int | None = None) -> Dataset:
        """The blocks in random order, each as it is: a cheap shuffle for data that is in no special order in a block."""
        return self._with(Rearranged(rearrangement=RandomizeBlockOrder(seed), inputs=(self._root,)))

    def sort(
        self,
        key: str | Sequence[str] | Callable[[Any], Any] | None = None,
        descending: bool | Sequence[bool] = False,
        boundaries: Sequence[Any] | None = None,
    ) -> Dataset:
        """All rows in the order of a key. Equal rows stay in their order; NaN, then nulls, come last.

        Args:
            key: A column, or a list of them (the most significant first). For simple data a function of the item, or None for
                the items themselves.
            descending: For all keys, or a list with one bool for each.
            boundaries: Rising values of the first key at which a new block begins: ``[10, 20]`` makes three blocks. None: blocks
                of about equal size.

        Raises:
            ValueError: There is no such column (when the data are asked for), or arguments do not fit together.
        """
        exchange = Sort(
            make_keys(key, descending, operation="sort()"),
            boundaries=boundaries,
            use_polars=self._context.use_polars,
            target_bytes=self._context.target_max_block_size,
        )
        return self._with(Exchanged(exchange=exchange, inputs=(self._root,)))

    def zip(self, *others: Dataset) -> Dataset:
        """The columns of this and other datasets of equal length, side by side.

        Names that are there already get ``_1``, ``_2`` ... appended. Rows of simple data are zipped to tuples.

        Raises:
            ValueError: The lengths differ (when the data are asked for).
        """
        if not others:
            raise ValueError("zip() needs at least one other dataset.")
        roots = tuple(dataset._root for dataset in others)
        return self._with(Rearranged(rearrangement=Zip(1 + len(others)), inputs=(self._root, *roots)))
