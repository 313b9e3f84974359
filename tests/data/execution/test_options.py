"""Settings of executions, by their public names."""

from __future__ import annotations

import pytest

import aktis.data
from aktis.data import DatasetContext, ExecutionOptions, ExecutionResources, TaskPoolStrategy
from aktis.data.iterator import IterationTotals


def test_options_have_the_session_and_order_as_defaults() -> None:
    options = DatasetContext().execution_options
    assert options == ExecutionOptions(resource_limits=ExecutionResources(), preserve_order=True)
    assert (options.resource_limits.cpu, options.resource_limits.object_store_memory) == (None, None)


def test_strategies_are_compared_by_their_size() -> None:
    assert TaskPoolStrategy(2) == TaskPoolStrategy(size=2) != TaskPoolStrategy()
    with pytest.raises(ValueError, match="size must be at least 1"):
        TaskPoolStrategy(0)


def test_strategies_have_a_base_which_is_none() -> None:
    from aktis.data.compute import ActorPoolStrategy, ComputeStrategy

    assert isinstance(TaskPoolStrategy(), ComputeStrategy) and isinstance(ActorPoolStrategy(), ComputeStrategy)
    with pytest.raises(ValueError, match="TaskPoolStrategy or ActorPoolStrategy"):
        aktis.data.range(1).map_batches(lambda batch: batch, compute=ComputeStrategy())


def test_an_iterator_gives_the_same_rows_again() -> None:
    iterator = aktis.data.range(5, parallelism=2).iterator()
    assert isinstance(iterator, aktis.data.DatasetIterator)
    assert [list(iterator.iter_rows()) for _ in range(2)] == [[0, 1, 2, 3, 4]] * 2


def test_an_iterator_counts_what_was_read_in_all_passes() -> None:
    iterator = aktis.data.range_table(10, parallelism=2).iterator()
    assert iterator.iteration_totals() == IterationTotals()
    assert len(list(iterator.iter_batches(batch_size=4))) == 3
    first = iterator.iteration_totals()
    assert isinstance(first, IterationTotals)
    assert (first.passes, first.rows, first.batches) == (1, 10, 3)
    assert list(iterator.iter_rows()) and len(list(iterator.iter_batches(batch_size=5))) == 2
    total = iterator.iteration_totals()
    assert (total.passes, total.rows) == (3, 30)
    assert total.waited_seconds >= first.waited_seconds >= 0
