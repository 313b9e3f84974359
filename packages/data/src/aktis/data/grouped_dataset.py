"""Datasets by group: what ``Dataset.groupby`` gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aktis.data._exchanges._keys import Key
from aktis.data._exchanges.aggregate import Aggregate, Aggregation
from aktis.data._exchanges.group_rows import GroupRows
from aktis.data._plan.logical import Exchanged, Map
from aktis.data._transforms.apply_groups import ApplyGroups
from aktis.data._transforms.partial_aggregate import PartialAggregate
from aktis.data.aggregate import AggregateFn, Count, Max, Mean, Min, Std, Sum

if TYPE_CHECKING:
    from aktis.data.dataset import Dataset

__all__ = ["GroupedData", "GroupedDataset"]


class GroupedData:
    """Rows by key. What comes out of aggregations and of :meth:`map_groups` is in the order of the keys.

    None and NaN are one key, which comes last.
    """

    def __init__(self, dataset: Dataset, keys: Sequence[Key], num_partitions: int | None = None) -> None:
        self._dataset = dataset
        self._keys = tuple(keys)
        self._num_partitions = num_partitions

    def __repr__(self) -> str:
        return f"{type(self).__name__}(keys=[{', '.join(key.label for key in self._keys)}])"

    def aggregate(self, *aggs: AggregateFn) -> Dataset:
        """One row for each group: its key, and the result of each aggregation. Rows of simple data are tuples of these.

        Args:
            aggs: Such as ``Sum("x")``, ``Quantile("x", q=0.9)``, or an :class:`AggregateFn` of your own.

        Raises:
            ValueError: There is no such column, or its values cannot be aggregated (when the data are asked for).
        """
        return aggregated(self._dataset, self._keys, aggs, self._num_partitions)

    def count(self) -> Dataset:
        """Number of rows, as ``count()``."""
        return self.aggregate(Count())

    def sum(self, on: Any = None, ignore_nulls: bool = True) -> Dataset:
        """Sums. ``on``: a column, several, a function of items of simple data, or None for all columns but the key."""
        return self.aggregate(*over(Sum, on, ignore_nulls=ignore_nulls))

    def min(self, on: Any = None, ignore_nulls: bool = True) -> Dataset:
        """Least values. Arguments as for :meth:`sum`."""
        return self.aggregate(*over(Min, on, ignore_nulls=ignore_nulls))

    def max(self, on: Any = None, ignore_nulls: bool = True) -> Dataset:
        """Greatest values. Arguments as for :meth:`sum`."""
        return self.aggregate(*over(Max, on, ignore_nulls=ignore_nulls))

    def mean(self, on: Any = None, ignore_nulls: bool = True) -> Dataset:
        """Arithmetic means. Arguments as for :meth:`sum`."""
        return self.aggregate(*over(Mean, on, ignore_nulls=ignore_nulls))

    def std(self, on: Any = None, ddof: int = 1, ignore_nulls: bool = True) -> Dataset:
        """Standard deviations; ``ddof`` is taken from the count in the divisor. Other arguments as for :meth:`sum`."""
        return self.aggregate(*over(Std, on, ddof=ddof, ignore_nulls=ignore_nulls))

    def map_groups(
        self,
        fn: Callable[..., Any],
        *,
        compute: Any = None,
        batch_format: str | None = "default",
        fn_args: Iterable[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Iterable[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        memory: float | None = None,
        concurrency: Any = None,
        **ray_remote_args: Any,
    ) -> Dataset:
        """Call ``fn`` once for each group, with all its rows as one batch. What it returns are the rows of the new dataset.

        A group must fit in the memory of one process.

        Args:
            fn: Gets a batch, and returns (or yields) batches, as for ``map_batches``. Or a class that is called so.
            compute: Where to run it; a class needs actors. As for ``map_batches``.
            batch_format: What ``fn`` gets, as for ``map_batches``.
            fn_args: Positional arguments after the batch.
            fn_kwargs: Keyword arguments.
            fn_constructor_args: Positional arguments of the class.
            fn_constructor_kwargs: Keyword arguments of the class.
            num_cpus: CPUs for each task or actor.
            num_gpus: GPUs for each task or actor.
            memory: Bytes of heap memory for each task or actor.
            concurrency: How many tasks or actors at a time.
            ray_remote_args: Other resources.

        Raises:
            UserFunctionError: ``fn`` raised. Its ``origin`` names the group.
        """
        from aktis.data._dataset.transforms import _remote_args, _user_function

        function = _user_function(fn, fn_args, fn_kwargs, fn_constructor_args, fn_constructor_kwargs)
        remote = _remote_args(ray_remote_args, num_cpus=num_cpus, num_gpus=num_gpus, memory=memory)
        dataset = self._dataset
        exchange = GroupRows(self._keys, self._num_partitions, target_bytes=dataset._context.target_max_block_size)
        grouped = dataset._with(Exchanged(exchange=exchange, inputs=(dataset._root,)))
        return grouped._map(ApplyGroups(self._keys, function, batch_format), function, compute, concurrency, remote)


GroupedDataset = GroupedData  # the name in Ray 2.3


def over(make: type[Any], on: Any, **options: Any) -> list[AggregateFn]:
    """An aggregation for each of ``on``."""
    if isinstance(on, (list, tuple)):
        if not on:
            raise ValueError("on=[] names no column. Give at least one, or None for all of them.")
        return [make(each, **options) for each in on]
    return [make(on, **options)]


def aggregated(
    dataset: Dataset, keys: Sequence[Key], aggs: Sequence[AggregateFn], num_partitions: int | None = None
) -> Dataset:
    """The plan of an aggregation: states of blocks where they are, then results of all states."""
    operation = "groupby().aggregate()" if keys else "aggregate()"
    aggregation = Aggregation(keys, aggs, operation)
    states = Map(transform=PartialAggregate(aggregation), inputs=(dataset._root,))
    exchange = Aggregate(aggregation, num_partitions, dataset._context.target_max_block_size)
    return dataset._with(Exchanged(exchange=exchange, inputs=(states,)))
