"""Arithmetic of splits."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.data._exchanges._base import Piece
from aktis.data._iteration import splitting
from aktis.data._iteration.stratify import StratifiedSplit, quotas

block_rows = st.lists(st.integers(0, 20), max_size=10)


def numbers(rows: Sequence[int], part: Sequence[Piece]) -> list[int]:
    """Which rows of the data set a part has."""
    starts = np.cumsum([0, *rows])
    return [int(starts[p.block]) + i for p in part for i in range(p.start, p.stop)]


@settings(max_examples=150, deadline=None)
@given(block_rows, st.lists(st.integers(0, 120), min_size=1, max_size=6))
def test_parts_at_indices_are_the_data(rows: list[int], indices: list[int]) -> None:
    indices.sort()
    total = sum(rows)
    parts = splitting.at_offsets(rows, splitting.offsets_at(total, indices))
    data = list(range(total))
    assert [numbers(rows, part) for part in parts] == [data[a:b] for a, b in zip([0, *indices], [*indices, total])]


@settings(max_examples=150, deadline=None)
@given(block_rows, st.integers(1, 7))
def test_equal_parts(rows: list[int], n: int) -> None:
    total = sum(rows)
    for parts in (
        splitting.at_offsets(rows, splitting.equal_offsets(total, n)),
        splitting.equalised([splitting.whole(rows, group) for group in splitting.in_groups(len(rows), n)]),
    ):
        found = [numbers(rows, part) for part in parts]
        assert [len(part) for part in found] == [total // n] * n
        flat = [row for part in found for row in part]
        assert len(set(flat)) == len(flat) == total - total % n


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 60), st.lists(st.floats(0.01, 0.9), min_size=1, max_size=5))
def test_proportional_parts_are_never_empty(total: int, proportions: list[float]) -> None:
    if sum(proportions) >= 1 or total < len(proportions) + 1:
        with pytest.raises(ValueError):
            splitting.proportional_offsets(total, proportions)
        return
    offsets = splitting.proportional_offsets(total, proportions)
    sizes = np.diff(offsets)
    assert offsets[0] == 0 and offsets[-1] == total and min(sizes) >= 1
    if all(total * share >= len(proportions) + 1 for share in [*proportions, 1 - sum(proportions)]):
        assert all(abs(size - total * share) <= 1 for size, share in zip(sizes, proportions))


def test_fractions_that_are_round_in_decimals() -> None:
    assert splitting.proportional_offsets(10, [0.2, 0.5]) == [0, 2, 7, 10]
    assert splitting.proportional_offsets(1000, [0.29]) == [0, 290, 1000]
    assert (
        splitting.test_rows(100, 0.3) == 30 and splitting.test_rows(10, 0.25) == 3 and splitting.test_rows(10, 4) == 4
    )
    assert splitting.test_rows(2, 0.001) == 1 and splitting.test_rows(2, 0.999) == 1


@pytest.mark.parametrize(("total", "size"), [(10, 0), (10, 10), (10, -1), (10, 0.0), (10, 1.0), (1, 0.5), (0, 0.5)])
def test_sizes_that_leave_nothing(total: int, size: float) -> None:
    with pytest.raises(ValueError):
        splitting.test_rows(total, size)
    with pytest.raises(TypeError):
        splitting.test_rows(total, "half")  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from("abc"), max_size=12),
    st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=5),
)
def test_locality(blocks: list[str], nodes: list[str | None]) -> None:
    parts = splitting.by_locality([[node] for node in blocks], nodes)
    assert sorted(block for part in parts for block in part) == list(range(len(blocks)))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1 and all(part == sorted(part) for part in parts)
    if len(set(nodes)) == len(nodes):
        for part, node, size in zip(parts, nodes, sizes):
            assert (
                sum(blocks[block] == node for block in part) == (min(size, blocks.count(node)) if node else 0)
                or not node
            )


def test_indices_are_checked() -> None:
    for indices in ([], [3, 2], [-1, 4]):
        with pytest.raises(ValueError, match="ind"):
            splitting.offsets_at(10, indices)


# -- stratification -----------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.floats(0, 1))
def test_quotas_add_up(counts: list[int], share: float) -> None:
    total = np.array(counts)
    wanted = int(total.sum() * share)
    result = quotas(total, wanted)
    assert result.sum() == wanted and (result >= 0).all() and (result <= total).all()
    assert (abs(result - total * wanted / total.sum()) < 1 + 1e-6).all()


def stratified(blocks: list[pa.Table], test_size: float) -> tuple[pa.Table, pa.Table]:
    exchange = StratifiedSplit("c", test_size)
    samples = [[exchange.sample(block, input=0, index=i) for i, block in enumerate(blocks)]]
    metadata: Any = [[SimpleNamespace(num_rows=block.num_rows) for block in blocks]]
    plan = exchange.plan(metadata, samples)
    cut = [exchange.partition(block, plan, input=0, index=i) for i, block in enumerate(blocks)]
    train, test = (
        pa.concat_tables(exchange.combine([[pieces[side] for pieces in cut]], plan, partition=side)) for side in (0, 1)
    )
    return train, test


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["x", "y", None]), max_size=12), min_size=1, max_size=5),
    st.sampled_from([0.2, 0.5]),
)
def test_classes_are_as_frequent_in_both_parts(classes: list[list[Any]], size: float) -> None:
    flat = [value for block in classes for value in block]
    if len(flat) < 2:
        return
    at = np.cumsum([0, *map(len, classes)])
    blocks = [
        pa.table({"c": pa.array(block, pa.string()), "i": pa.array(range(at[k], at[k + 1]), pa.int64())})
        for k, block in enumerate(classes)
    ]
    train, test = stratified(blocks, size)
    assert sorted(train["i"].to_pylist() + test["i"].to_pylist()) == list(range(len(flat)))
    assert test.num_rows == splitting.test_rows(len(flat), size)
    for value in set(flat):
        rows = [i for i, other in enumerate(flat) if other == value]
        mine = [i for i, other in zip(test["i"].to_pylist(), test["c"].to_pylist()) if other == value]
        assert abs(len(mine) - len(rows) * test.num_rows / len(flat)) < 1 + 1e-6
        assert mine == rows[len(rows) - len(mine) :]  # the last ones of the class
