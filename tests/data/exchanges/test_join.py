"""Joins, against pandas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.exchanges.harness import rows_of, run_exchange, split

from aktis.data._exchanges.join import JOIN_TYPES, Join

VALUES = {
    pa.int64(): st.one_of(st.none(), st.integers(-2, 3)),
    pa.float64(): st.one_of(st.none(), st.sampled_from([math.nan, 0.0, -0.0, 1.0, 2.5])),
    pa.string(): st.one_of(st.none(), st.sampled_from(["", "a", "b"])),
    pa.date32(): st.one_of(st.none(), st.integers(0, 2).map(lambda i: pd.Timestamp(2024, 1, 1 + i).date())),
}


@st.composite
def sides(draw: st.DrawFn) -> tuple[pa.Table, pa.Table, list[str], list[int]]:
    kinds = draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=2))
    tables = []
    for label in ("left", "right"):
        rows = draw(st.integers(0, 10))
        columns = {
            f"k{i}": pa.array(draw(st.lists(VALUES[kind], min_size=rows, max_size=rows)), kind, from_pandas=False)
            for i, kind in enumerate(kinds)
        }
        tables.append(pa.table({**columns, label: pa.array(range(rows), pa.int64())}))
    return tables[0], tables[1], [f"k{i}" for i in range(len(kinds))], draw(st.lists(st.integers(0, 5), max_size=3))


def key_of(row: dict[str, Any], on: list[str]) -> tuple[Any, ...] | None:
    key = tuple(row[name] for name in on)
    return None if any(value is None or value != value for value in key) else key


def nested_loops(left: pa.Table, right: pa.Table, on: list[str], how: str) -> list[dict[str, Any]]:
    a, b = left.to_pylist(), right.to_pylist()
    match = lambda x, y: key_of(x, on) is not None and key_of(x, on) == key_of(y, on)
    if how in ("left_semi", "left_anti"):
        return [x for x in a if any(match(x, y) for y in b) == (how == "left_semi")]
    if how in ("right_semi", "right_anti"):
        return [y for y in b if any(match(x, y) for x in a) == (how == "right_semi")]
    result = [{**x, "right": y["right"]} for x in a for y in b if match(x, y)]
    if how in ("left_outer", "full_outer"):
        result += [{**x, "right": None} for x in a if not any(match(x, y) for y in b)]
    if how in ("right_outer", "full_outer"):
        result += [{**y, "left": None} for y in b if not any(match(x, y) for x in a)]
    return result


def canonical(rows: list[dict[str, Any]]) -> list[str]:
    """Rows in an order of their own, with one spelling for each value."""
    return sorted(
        repr(sorted((k, None if v is None else v + 0.0 if isinstance(v, float) else v) for k, v in r.items()))
        for r in rows
    )


@settings(max_examples=150, deadline=None)
@given(sides(), st.sampled_from(JOIN_TYPES), st.sampled_from([1, 3]))
def test_joins_agree_with_nested_loops(case: tuple[Any, ...], how: str, partitions: int) -> None:
    left, right, on, sizes = case
    output = run_exchange(Join(how, on, num_partitions=partitions), split(left, sizes), split(right, sizes))
    assert canonical(rows_of(output)) == canonical(nested_loops(left, right, on, how))


@pytest.mark.parametrize("how", ["inner", "left_outer", "right_outer", "full_outer"])
def test_joins_agree_with_pandas(how: str) -> None:
    random = np.random.default_rng(0)
    left = pa.table({"id": random.integers(0, 900, 1000), "x": random.random(1000)})
    right = pa.table({"id": random.integers(0, 1000, 700), "y": [f"{i}" for i in range(700)]})
    output = run_exchange(Join(how, ["id"], num_partitions=4), split(left, [100, 0, 500]), split(right, [300]))
    ours = pa.concat_tables(output).to_pandas().sort_values(["id", "x", "y"]).reset_index(drop=True)
    theirs = left.to_pandas().merge(right.to_pandas(), on="id", how=how.replace("_outer", "").replace("full", "outer"))
    theirs = theirs.sort_values(["id", "x", "y"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(ours, theirs, check_dtype=False)


def test_rows_of_the_left_side_stay_in_order() -> None:
    left = pa.table({"id": [2, 1, 2, None, 3], "x": range(5)})
    right = pa.table({"id": [2, 2, 1], "y": range(3)})
    [block] = run_exchange(Join("left_outer", ["id"]), [left], [right])
    assert block.select(["x", "y"]).to_pylist() == [
        {"x": 0, "y": 0},
        {"x": 0, "y": 1},
        {"x": 1, "y": 2},
        {"x": 2, "y": 0},
        {"x": 2, "y": 1},
        {"x": 3, "y": None},
        {"x": 4, "y": None},
    ]


def test_other_names_and_types_of_keys() -> None:
    left, right = pa.table({"a": [1, 2], "v": [1, 2]}), pa.table({"b": [2.0, 3.0], "v": [8, 9]})
    [block] = run_exchange(Join("full_outer", ["a"], ["b"], suffixes=("_l", "_r")), [left], [right])
    assert block.to_pylist() == [
        {"a": 1.0, "v_l": 1, "v_r": None},
        {"a": 2.0, "v_l": 2, "v_r": 8},
        {"a": 3.0, "v_l": None, "v_r": 9},
    ]


def test_tensors_and_objects_come_along() -> None:
    tensor = pa.fixed_shape_tensor(pa.float32(), (2,))
    images = pa.ExtensionArray.from_storage(tensor, pa.array([[1, 2], [3, 4]], pa.list_(pa.float32(), 2)))
    right = pa.table({"id": [7, 8], "image": images})
    [block] = run_exchange(Join("left_outer", ["id"]), [pa.table({"id": [8, 5]})], [right])
    assert block["image"].combine_chunks().storage.to_pylist() == [[3.0, 4.0], None]


def test_a_side_without_rows_or_schema() -> None:
    left = pa.table({"id": [1], "x": [2]})
    for nothing in ([], [pa.table({})], [pa.table({"id": pa.array([], pa.int64())})]):
        assert rows_of(run_exchange(Join("inner", ["id"]), [left], nothing)) == []
        assert rows_of(run_exchange(Join("left_outer", ["id"]), [left], nothing)) == [{"id": 1, "x": 2}]
        assert rows_of(run_exchange(Join("right_outer", ["id"]), nothing, [left])) == [{"id": 1, "x": 2}]


def test_errors_say_what_is_wrong() -> None:
    left, right = pa.table({"id": [1], "x": [1]}), pa.table({"id": [1], "x": ["a"]})
    with pytest.raises(ValueError, match=r"join_type must be one of 'inner', .* got 'outer'"):
        Join("outer", ["id"])
    with pytest.raises(ValueError, match=r"both sides have a column 'x'.*left_suffix"):
        run_exchange(Join("inner", ["id"]), [left], [right])
    with pytest.raises(ValueError, match=r"keys cannot be compared: x \(int64\) and x \(string\)"):
        run_exchange(Join("inner", ["x"]), [left], [right])
    with pytest.raises(ValueError, match=r"of the right side: there is no column 'x2'"):
        run_exchange(Join("inner", ["x"], ["x2"]), [left], [right])
    with pytest.raises(ValueError, match="as many keys"):
        Join("inner", ["a", "b"], ["a"])
