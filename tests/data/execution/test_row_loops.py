"""Loops over rows: the same as making all rows, calling the function for each, and making a block of what it returned."""

from __future__ import annotations

import gc
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aktis.data._blocks import from_rows, to_rows
from aktis.data._blocks.row_loops import NOTHING, RowSource
from aktis.data._transforms._base import TaskContext
from aktis.data._transforms.map_rows import FilterRows, MapRows, RowTransform
from aktis.data._transforms.user_code import UserFunction
from aktis.data.context import DatasetContext
from aktis.data.exceptions import SchemaError, UserFunctionError

AT_A_TIME = 3


def run(transform: type[RowTransform], function: Callable[[Any], Any], *blocks: pa.Table) -> list[pa.Table]:
    made = transform(UserFunction(function))
    made.rows_at_a_time = AT_A_TIME
    return list(made(iter(blocks), TaskContext("test", 0, DatasetContext.get_current())))


def source(block: pa.Table) -> RowSource:
    found = RowSource.of(block)
    assert found is not None
    return found


BLOCKS = {
    "one column": pa.table({"a": [1, 2, None]}),
    "names that need quotes": pa.table({"it's": [1, 2], "{x}\n": ["a", None], 'say "f"': [1.5, 2.5], "c0": [0, 1]}),
    "nested": pa.table({"a": [[1], [2, 3]], "b": [{"x": 1}, {"x": 2}]}),
    "items": from_rows([1, 2, 3]),
    "objects": from_rows([1, "a", (2, 3)]),
}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_the_rows_are_those_of_the_block(block: pa.Table) -> None:
    rows = source(block)
    assert len(rows) == block.num_rows
    assert rows.call_each(lambda row: row) == to_rows(block)
    assert [rows.row(i) for i in range(len(rows))] == to_rows(block)


def test_rows_of_arrays_are_arrays() -> None:
    block = from_rows([np.arange(2), np.arange(2) + 5])
    assert [row.tolist() for row in source(block).call_each(lambda row: row)] == [[0, 1], [5, 6]]


def test_blocks_without_names_to_tell_columns_apart_have_no_loop() -> None:
    assert RowSource.of(from_rows([{}, {}])) is None
    assert RowSource.of(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])) is None


def test_columns_are_collected_until_something_else_comes() -> None:
    rows = source(pa.table({"a": range(5)}))
    results: list[Any] = [{"x": 0, "y": 1}, {"y": 3, "x": 2}, {"x": 4, "z": 5}, "more", {}]
    columns, misfit = rows.collect(lambda row: results[row["a"]], ("x", "y"))
    assert columns == [[0, 2, 4], [1, 3]], "of the misfit's row the first column has a value"
    assert misfit is results[2]
    assert rows.call_each(lambda row: results[row["a"]]) == ["more", {}], "each row has its turn once"
    whole = source(pa.table({"a": range(3)}))
    assert whole.collect(lambda row: row, ("a",)) == ([[0, 1, 2]], NOTHING)


RESULTS = [
    {"x": 1},
    {"x": 2.5},
    {"x": None},
    {"x": "a"},
    {"x": 1, "y": 2},
    {"y": 3, "x": 4},
    {"y": 5},
    {},
    7,
    None,
    [1],
]
RESULTS += [OrderedDict(x=8), {"x": np.arange(3)}, {"x": True}, {1: 2}]


@given(st.lists(st.sampled_from(range(len(RESULTS))) | st.sampled_from([0, 0, 1, 2]), max_size=4 * AT_A_TIME))
def test_any_results_become_what_they_become_together(chosen: list[int]) -> None:
    block = pa.table({"i": pa.array(chosen, pa.int64())})
    calls: list[int] = []

    def function(row: dict[str, int]) -> Any:
        calls.append(row["i"])
        return RESULTS[row["i"]]

    expected: list[pa.Table] = []
    problem = None
    for start in range(0, len(chosen), AT_A_TIME):
        try:
            expected.append(from_rows([RESULTS[i] for i in chosen[start : start + AT_A_TIME]]))
        except SchemaError as error:
            problem = error
            break
    if problem is None:
        found = run(MapRows, function, block)
        assert [repr(to_rows(table)) for table in found] == [repr(to_rows(table)) for table in expected]
        assert [table.schema for table in found] == [table.schema for table in expected]
        assert calls == chosen
    else:
        with pytest.raises(SchemaError) as caught:
            run(MapRows, function, block)
        assert str(problem).replace("OrderedDict", "dict") in str(caught.value).replace("OrderedDict", "dict")
        assert "function" in str(caught.value)


@pytest.mark.parametrize("transform", [MapRows, FilterRows])
@pytest.mark.parametrize("bad", [0, 2, 3, 7, 10])
def test_an_error_names_its_row(transform: type[RowTransform], bad: int) -> None:
    def function(row: dict[str, int]) -> dict[str, int]:
        if row["a"] == bad:
            raise KeyError("gone")
        return {"x": row["a"]}

    with pytest.raises(UserFunctionError, match=f"row {bad} of the block") as caught:
        run(transform, function, pa.table({"a": range(11), "b": ["text"] * 11}))
    assert isinstance(caught.value, KeyError)
    assert caught.value.batch_schema == "a dict with columns {a: int, b: str}"
    assert "in function" in str(caught.value)
    assert "_blocks/row_loops" not in str(caught.value), "our own frames are none of the user's business"
    assert gc.isenabled()


def test_filters_keep_the_rows_in_their_order() -> None:
    found = run(FilterRows, lambda row: row["a"] % 3, pa.table({"a": range(10)}))
    assert [value for table in found for value in table["a"].to_pylist()] == [1, 2, 4, 5, 7, 8]


def test_a_result_is_gone_before_the_next_but_one_is_made() -> None:
    """Which is what makes the loop fast: dicts are made in memory that is in the cache."""
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    class Row(dict):  # type: ignore[type-arg]
        __hash__ = object.__hash__

    def function(row: dict[str, int]) -> Row:
        nonlocal most
        made = Row(x=row["a"])
        alive.add(made)
        most = max(most, len(alive))
        return made

    assert len(run(MapRows, function, pa.table({"a": range(30)}))) == 10
    assert 1 <= most <= 2


def test_a_result_that_is_changed_later_counts_as_it_was() -> None:
    shared: dict[str, int] = {}

    def function(row: dict[str, int]) -> dict[str, int]:
        shared["x"] = row["a"]
        return shared

    found = run(MapRows, function, pa.table({"a": range(2 * AT_A_TIME)}))
    assert [table["x"].to_pylist() for table in found] == [[0, 1, 2], [3, 4, 5]]
