"""Random shuffles, repartitioning, block order, splits."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.exchanges.harness import column_of, items, rows_of, run_exchange, run_rearrangement

from aktis.data._blocks import metadata_of
from aktis.data._exchanges import shuffle as shuffle_module
from aktis.data._exchanges.repartition import RandomizeBlockOrder, Repartition, SplitAt
from aktis.data._exchanges.shuffle import RandomShuffle


def numbered(*sizes: int) -> list[pa.Table]:
    edges = np.cumsum([0, *sizes])
    return [
        pa.table({"x": np.arange(a, b), "y": [f"s{i}" for i in range(a, b)]}) for a, b in zip(edges[:-1], edges[1:])
    ]


@pytest.fixture
def big(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything counts as big: nothing is combined in a single task."""
    monkeypatch.setattr(shuffle_module, "SMALL_BYTES", 0)


@pytest.mark.parametrize("seed", [7, None, -1])
def test_a_shuffle_keeps_rows_whole_and_changes_their_order(big: None, seed: int | None) -> None:
    blocks = numbered(500, 0, 300, 1)
    shuffle = RandomShuffle(seed)
    output = run_exchange(shuffle, blocks)
    x = column_of(output, "x")
    assert sorted(x) == list(range(801))
    assert x != list(range(801))
    assert column_of(output, "y") == [f"s{i}" for i in x]
    assert len(output) == len(blocks)
    assert column_of(run_exchange(shuffle, blocks), "x") == x, "a task that runs again must do the same"


def test_seeds_decide(big: None) -> None:
    blocks = numbered(400, 400)
    orders = [column_of(run_exchange(RandomShuffle(seed), blocks), "x") for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert column_of(run_exchange(RandomShuffle(), blocks), "x") != column_of(
        run_exchange(RandomShuffle(), blocks), "x"
    )


def test_partitions_and_blocks_are_permuted_independently(big: None) -> None:
    blocks = numbered(1000, 1000)
    first, second = run_exchange(RandomShuffle(3, num_blocks=2), blocks)
    ranks = [np.argsort(np.argsort(block["x"].to_numpy()))[:400] for block in (first, second)]
    assert abs(np.corrcoef(*ranks)[0, 1]) < 0.2
    homes = [np.isin(np.arange(1000) + 1000 * i, first["x"].to_numpy()) for i in range(2)]
    assert abs(np.corrcoef(*homes)[0, 1]) < 0.2


def test_a_shuffle_planned_early_gives_all_rows(big: None) -> None:
    output = run_exchange(RandomShuffle(1), numbered(100, 200, 300), early=True)
    assert len(output) == 3
    assert sorted(column_of(output, "x")) == list(range(600))


def test_small_inputs_wait_for_the_plan() -> None:
    assert RandomShuffle().early_plan(10, 1000) is None


@pytest.mark.parametrize("num_blocks", [1, 3, 50])
def test_small_shuffles_are_one_task_with_the_blocks_asked_for(num_blocks: int) -> None:
    output = run_exchange(RandomShuffle(0, num_blocks), numbered(10, 20))
    assert len(output) == num_blocks
    assert sorted(column_of(output, "x")) == list(range(30))


def test_an_even_shuffle_balances_blocks(big: None) -> None:
    output = run_exchange(RandomShuffle(0, 7, even=True), numbered(100, 3, 0, 250))
    assert {block.num_rows for block in output} <= {353 // 7, 353 // 7 + 1}


def test_shuffling_nothing() -> None:
    assert rows_of(run_exchange(RandomShuffle(), [])) == []


def test_simple_items_are_shuffled(big: None) -> None:
    assert sorted(rows_of(run_exchange(RandomShuffle(5), items([1, 2, 3], [4, 5])))) == [1, 2, 3, 4, 5]


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="num_blocks must be at least 1, got 0"):
        RandomShuffle(num_blocks=0)
    with pytest.raises(TypeError, match="seed must be an int or None, got 'x'"):
        RandomShuffle(seed="x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="either num_blocks or target_num_rows_per_block"):
        Repartition()
    with pytest.raises(ValueError, match="rising and not negative"):
        SplitAt([3, 2])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 12), max_size=6), st.integers(1, 9))
def test_repartition_balances_and_keeps_order(sizes: list[int], count: int) -> None:
    output = run_rearrangement(Repartition(count), numbered(*sizes))
    assert column_of(output, "x") == list(range(sum(sizes)))
    if sizes:
        lengths = [block.num_rows for block in output]
        assert len(lengths) == count
        assert max(lengths) - min(lengths) <= 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 12), max_size=6), st.integers(1, 9))
def test_repartition_by_rows(sizes: list[int], rows: int) -> None:
    output = run_rearrangement(Repartition(target_num_rows_per_block=rows), numbered(*sizes))
    assert column_of(output, "x") == list(range(sum(sizes)))
    assert all(block.num_rows == rows for block in output[:-1])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=6), st.lists(st.integers(0, 60), max_size=4))
def test_split_at(sizes: list[int], indices: list[int]) -> None:
    blocks, indices = numbered(*sizes), sorted(indices)
    split = SplitAt(indices)
    output = run_rearrangement(split, blocks)
    edges = [0, *indices, sum(sizes)]
    for part, start, stop in zip(split.ranges([metadata_of(b) for b in blocks]), edges[:-1], edges[1:]):
        assert column_of([output[i] for i in part], "x") == list(range(sum(sizes)))[start:stop]


def test_whole_blocks_pass_through_repartition() -> None:
    recipes = Repartition(2).recipes([[metadata_of(block) for block in numbered(5, 5)]])
    assert [[(p.block, p.start, p.stop) for p in recipe] for recipe in recipes] == [[(0, 0, 5)], [(1, 0, 5)]]


def test_block_order() -> None:
    blocks = numbered(*range(1, 20))
    first = run_rearrangement(RandomizeBlockOrder(4), blocks)
    assert column_of(first, "x") == column_of(run_rearrangement(RandomizeBlockOrder(4), blocks), "x")
    assert column_of(first, "x") != list(range(190))
    assert sorted(column_of(first, "x")) == list(range(190))
