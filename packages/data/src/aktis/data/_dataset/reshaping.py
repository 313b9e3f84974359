"""Operations that move rows between blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aktis.data._dataset._base import DatasetBase
from aktis.data._exchanges._keys import make_keys
from aktis.data._exchanges.group_rows import GroupRows
from aktis.data._exchanges.join import Join
from aktis.data._exchanges.repartition import RandomizeBlockOrder, Repartition
from aktis.data._exchanges.shuffle import RandomShuffle
from aktis.data._exchanges.sort import Sort
from aktis.data._exchanges.zip import Zip
from aktis.data._plan.logical import Exchanged, Rearranged

if TYPE_CHECKING:
    from aktis.data._dataset.summary import DatasetSummary
    from aktis.data.aggregate import AggregateFn
    from aktis.data.dataset import Dataset
    from aktis.data.grouped_dataset import GroupedData


class Reshaping(DatasetBase):
    """Repartitioning, order, zip, joins, groups, aggregates."""

    def repartition(
        self,
        num_blocks: int | None = None,
        *,
        target_num_rows_per_block: int | None = None,
        shuffle: bool = False,
        keys: str | Sequence[str] | None = None,
        sort: bool = False,
    ) -> Dataset:
        """Change the number of blocks, or their length.

        Without ``shuffle`` and ``keys`` rows stay in order, and only those move that have to.

        Args:
            num_blocks: Blocks of the output, of equal length (give or take one row).
            target_num_rows_per_block: Rows of each block, in place of ``num_blocks``.
            shuffle: Move all rows, to random places.
            keys: Columns: rows with equal values of all of them come into the same block, next to each other.
            sort: With ``keys``: order the rows of each block by them. (They are in this order in any case.)

        Raises:
            ValueError: Both or neither of ``num_blocks`` and ``target_num_rows_per_block`` are given, or are below 1.
        """
        if keys is not None:
            if shuffle or target_num_rows_per_block is not None:
                raise ValueError(
                    "repartition(keys=...) takes num_blocks only, no shuffle and no target_num_rows_per_block."
                )
            if num_blocks is not None and num_blocks < 1:
                raise ValueError(f"num_blocks must be at least 1, got {num_blocks}.")
            by = make_keys(keys, operation="repartition(keys=...)")
            grouping = GroupRows(by, num_blocks, name="Repartition", target_bytes=self._context.target_max_block_size)
            return self._with(Exchanged(exchange=grouping, inputs=(self._root,)))
        if sort:
            raise ValueError("repartition(sort=True) needs keys=.")
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

    def join(
        self,
        ds: Dataset,
        join_type: str = "inner",
        num_partitions: int | None = None,
        on: str | Sequence[str] = ("id",),
        right_on: str | Sequence[str] | None = None,
        left_suffix: str | None = None,
        right_suffix: str | None = None,
        *,
        partition_size_hint: int | None = None,
        aggregator_ray_remote_args: Mapping[str, Any] | None = None,
        validate_schemas: bool = False,
    ) -> Dataset:
        """Rows of this (the left) and another (the right) dataset whose keys are equal, side by side.

        Null and NaN are equal to nothing, not even to each other.

        Args:
            ds: The right side.
            join_type: "inner", "left_outer", "right_outer" and "full_outer" (with rows that have no match on the other side,
                and nulls there), "left_semi" and "right_semi" (rows of one side that have a match), "left_anti" and
                "right_anti" (rows of one side that have none).
            num_partitions: How many tasks, and blocks. None: by size.
            on: Key columns of the left side.
            right_on: Key columns of the right side; None: the same as ``on``. They are not in the output, which has the
                keys under the names of the left side.
            left_suffix: Appended to names of other columns that both sides have.
            right_suffix: The same for the right side.
            partition_size_hint: Bytes of a partition, in place of the context's ``target_max_block_size``.
            aggregator_ray_remote_args: Resources of the tasks, such as ``num_cpus``.
            validate_schemas: Look at both schemas now, and not when data are asked for.

        Raises:
            ValueError: An unknown type, keys that are not there or cannot be compared, or names on both sides without suffix.
        """
        left = [on] if isinstance(on, str) else list(on)
        right = [right_on] if isinstance(right_on, str) else right_on
        exchange = Join(
            join_type,
            left,
            right,
            suffixes=(left_suffix, right_suffix),
            num_partitions=num_partitions,
            target_bytes=partition_size_hint or self._context.target_max_block_size,
        )
        if validate_schemas:
            schemas = [dataset._schema() for dataset in (self, ds)]  # type: ignore[attr-defined]
            exchange.check(*schemas)
        args = dict(aggregator_ray_remote_args or {})
        return self._with(Exchanged(exchange=exchange, inputs=(self._root, ds._root), remote_args=args))

    # -- groups and aggregates --------------------------------------------------------------------

    def groupby(
        self, key: str | Sequence[str] | Callable[[Any], Any] | None, num_partitions: int | None = None
    ) -> GroupedData:
        """Rows by key, for aggregations and ``map_groups``.

        Args:
            key: A column, a list of them, a function of the item of simple data, or None: all rows are one group.
            num_partitions: How many tasks. None: by size.
        """
        from aktis.data.dataset import Dataset
        from aktis.data.grouped_dataset import GroupedData

        assert isinstance(self, Dataset)
        if num_partitions is not None and num_partitions < 1:
            raise ValueError(f"num_partitions must be at least 1, got {num_partitions}.")
        keys = () if key is None or key == [] else make_keys(key, operation="groupby()")
        return GroupedData(self, keys, num_partitions)

    def aggregate(self, *aggs: AggregateFn) -> Any:
        """Aggregate all rows. The result itself for one aggregation, else a dict from names to results.

        Args:
            aggs: Such as ``Sum("x")``, ``Quantile("x", q=0.9)``, or an ``AggregateFn`` of your own.

        Raises:
            ValueError: There is no such column, or its values cannot be aggregated.
        """
        from aktis.data._blocks import concat, to_rows
        from aktis.data.dataset import Dataset
        from aktis.data.grouped_dataset import aggregated

        assert isinstance(self, Dataset)
        rows = to_rows(concat(list(aggregated(self, (), aggs)._blocks())))
        result = rows[0] if rows else {}
        if len(result) > 1:
            return result
        return next(iter(result.values()), None)

    def sum(self, on: Any = None, ignore_nulls: bool = True) -> Any:
        """The sum: of a column, of several (a dict), of all of them (None), or of simple data (None, or a function of items).

        Args:
            on: Which values.
            ignore_nulls: Leave out null and NaN. Else the result is None where there are any.

        Without values the result is None.
        """
        return self.aggregate(*_over("Sum", on, ignore_nulls=ignore_nulls))

    def min(self, on: Any = None, ignore_nulls: bool = True) -> Any:
        """The least value. Arguments as for :meth:`sum`."""
        return self.aggregate(*_over("Min", on, ignore_nulls=ignore_nulls))

    def max(self, on: Any = None, ignore_nulls: bool = True) -> Any:
        """The greatest value. Arguments as for :meth:`sum`."""
        return self.aggregate(*_over("Max", on, ignore_nulls=ignore_nulls))

    def mean(self, on: Any = None, ignore_nulls: bool = True) -> Any:
        """The arithmetic mean. Arguments as for :meth:`sum`."""
        return self.aggregate(*_over("Mean", on, ignore_nulls=ignore_nulls))

    def std(self, on: Any = None, ddof: int = 1, ignore_nulls: bool = True) -> Any:
        """The standard deviation, 0.0 for a single value. ``ddof`` is taken from the count in the divisor. Other arguments as for
        :meth:`sum`."""
        return self.aggregate(*_over("Std", on, ddof=ddof, ignore_nulls=ignore_nulls))

    def unique(self, column: str | None = None) -> list[Any]:
        """The distinct values of a column (of the items, for simple data), in order; None, for null and NaN, is last."""
        from aktis.data._blocks import to_rows
        from aktis.data.aggregate import Count

        by = (lambda item: item) if column is None else column
        counted = self.groupby(by).aggregate(Count())
        rows = [row for block in counted._blocks() for row in to_rows(block)]
        return [row[0] if column is None else row[column] for row in rows]

    def summary(self, columns: Sequence[str] | None = None) -> DatasetSummary:
        """Figures about each column, in one pass: counts, missing values, mean, spread and quantiles of numbers, the most frequent
        of other values.

        Args:
            columns: Which. None: all.

        Raises:
            ValueError: There is no such column.
        """
        from aktis.data._dataset.summary import summarize
        from aktis.data.dataset import Dataset

        assert isinstance(self, Dataset)
        return summarize(self, columns)


def _over(name: str, on: Any, **options: Any) -> list[AggregateFn]:
    from aktis.data import aggregate
    from aktis.data.grouped_dataset import over

    return over(getattr(aggregate, name), on, **options)
