"""Columns side by side."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.exchanges.harness import column_of, items, rows_of, run_rearrangement, split

from aktis.data._exchanges.zip import Zip


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=4), st.lists(st.integers(0, 9), max_size=4), st.integers(0, 30))
def test_rows_meet_whatever_the_blocks(left: list[int], right: list[int], rows: int) -> None:
    a = split(pa.table({"a": pa.array(range(rows), pa.int64())}), left)
    b = split(pa.table({"b": pa.array([f"{i}" for i in range(rows)], pa.string())}), right)
    output = run_rearrangement(Zip(), a, b)
    assert column_of(output, "a") == list(range(rows))
    assert column_of(output, "b") == [f"{i}" for i in range(rows)]


def test_the_bigger_side_keeps_its_blocks() -> None:
    small, big = pa.table({"x": range(6)}), pa.table({"y": ["long" * 20] * 6})
    assert [b.num_rows for b in run_rearrangement(Zip(), split(small, [1]), split(big, [2, 2]))] == [2, 2, 2]
    assert [b.num_rows for b in run_rearrangement(Zip(), split(big, [2, 2]), split(small, [1]))] == [2, 2, 2]


def test_names_that_are_taken_get_a_number() -> None:
    table = pa.table({"x": [1], "x_1": [2]})
    assert run_rearrangement(Zip(3), [table], [table], [table.select(["x"])])[0].column_names == [
        "x",
        "x_1",
        "x_2",
        "x_1_1",
        "x_3",
    ]


def test_items_become_tuples() -> None:
    assert rows_of(run_rearrangement(Zip(3), items([1, 2], [3]), items(["a"], ["b", "c"]), items([7, 8, 9]))) == [
        (1, "a", 7),
        (2, "b", 8),
        (3, "c", 9),
    ]


def test_unequal_lengths() -> None:
    with pytest.raises(ValueError, match="got 3 and 2 rows"):
        run_rearrangement(Zip(), items([1, 2, 3]), items([1], [2]))


def test_rows_without_columns_add_nothing() -> None:
    assert rows_of(run_rearrangement(Zip(), items([{}, {}]), items([{"x": 1}, {"x": 2}]))) == [{"x": 1}, {"x": 2}]
