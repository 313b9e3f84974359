"""Rows in, rows out: what comes back is what went in."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import math
import pickle
import threading
import types
import uuid
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.data._blocks import ITEM, concat, from_rows, is_object, kind_of, row_slices, take_rows, to_rows
from aktis.data.exceptions import BatchTypeError, SchemaError
from aktis.data.row import TableRow


class Point:
    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and self.x == other.x

    __hash__ = None  # type: ignore[assignment]


class Color(enum.IntEnum):
    RED = 1


def same(a: Any, b: Any) -> bool:
    """Equal, and of one type, all the way down; NaN equals itself."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float) and math.isnan(a):
        return math.isnan(b)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return bool(a == b)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.datetimes(),
    st.datetimes(timezones=st.just(dt.timezone.utc)),
    st.dates(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.sampled_from([Point(1), Color.RED, 1 + 2j, {1, 2}, (1, 2), uuid.UUID(int=5), int, "\ud800"]),
)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.lists(SCALARS, max_size=6),
        *[st.lists(kind, min_size=1, max_size=6) for kind in (st.integers(), st.floats(), st.text())],
    )
)
def test_items_come_back_exactly(items: list[Any]) -> None:
    assert all(map(same, to_rows(from_rows(items)), items))
    assert len(to_rows(from_rows(items))) == len(items)


@settings(max_examples=100, deadline=None)
@given(st.lists(SCALARS.filter(lambda x: not isinstance(x, dict)), max_size=5), st.lists(SCALARS, max_size=5))
def test_items_come_back_exactly_from_several_blocks(left: list[Any], right: list[Any]) -> None:
    block = concat([from_rows(left), from_rows(right)])
    assert all(map(same, to_rows(block), left + right))


@settings(max_examples=150, deadline=None)
@given(st.lists(SCALARS, min_size=1, max_size=6))
def test_values_of_columns_come_back_equal(values: list[Any]) -> None:
    rows = to_rows(from_rows([{"x": value, "n": i} for i, value in enumerate(values)]))
    assert [row["n"] for row in rows] == list(range(len(values)))
    for row, value in zip(rows, values):
        got = row["x"]
        if isinstance(value, float) and math.isnan(value):
            assert math.isnan(got)
        elif isinstance(value, tuple):
            assert tuple(got) == value
        else:
            assert got == value
        assert isinstance(got, bool) == isinstance(value, bool)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([1, 2], pa.int64()),
        ([1.5, float("nan")], pa.float64()),
        (["a", None], pa.string()),
        ([b"a"], pa.binary()),
        ([True, False], pa.bool_()),
        ([None, None], pa.null()),
        ([dt.datetime(2020, 1, 1)], pa.timestamp("us")),
        ([dt.date(2020, 1, 1)], pa.date32()),
        ([np.float32(1.5), np.float32(2)], pa.float32()),
        ([np.int16(1)], pa.int16()),
    ],
)
def test_items_of_one_type_are_plain_arrow(items: list[Any], expected: pa.DataType) -> None:
    block = from_rows(items)
    assert kind_of(block) == "simple"
    assert block.schema.field(ITEM).type == expected
    assert to_rows(block)[0] == items[0]


@pytest.mark.parametrize("items", [[1, 2.5], [True, 1], [2**64], [1, "a"], [Point(1)], [(1, 2)], [lambda: 5]])
def test_other_items_are_objects(items: list[Any]) -> None:
    assert is_object(from_rows(items).schema.field(ITEM).type)


def test_functions_and_classes_of_main_are_carried_by_value() -> None:
    made = types.new_class("Made")
    made.__module__ = "__main__"
    (function, kind) = to_rows(from_rows([lambda x: x + 1, made]))
    assert function(1) == 2
    assert kind.__name__ == "Made"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2.5, None], pa.float64()),
        ([1, np.int8(2)], pa.int64()),
        ([1.0, np.float32(2)], pa.float64()),
        ([[1, 2], [3]], pa.list_(pa.int64())),
        ([(1, 2), [3]], pa.list_(pa.int64())),
        ([{"a": 1}, {"a": None}], pa.struct([("a", pa.int64())])),
        ([decimal.Decimal("1.50"), None], pa.decimal128(3, 2)),
        ([pd.Timestamp("2020-01-01 00:00:00.000000001")], pa.timestamp("ns")),
        ([1, pd.NA], pa.int64()),
        ([dt.datetime(2020, 1, 1), pd.NaT], pa.timestamp("us")),
        ([np.bool_(True), None], pa.bool_()),
        ([np.str_("a")], pa.string()),
        ([np.ones(2), np.ones(2)], pa.fixed_shape_tensor(pa.float64(), [2])),
    ],
)
def test_types_of_table_columns(values: list[Any], expected: pa.DataType) -> None:
    block = from_rows([{"x": value} for value in values])
    assert block.schema.field("x").type == expected
    assert kind_of(block) == "table"


@pytest.mark.parametrize(
    "values",
    [
        [True, 1],
        [2**70, 1],
        [1, "a"],
        ["a", b"a"],
        [[1, "a"]],
        [{1, 2}],
        [Point(3), None],
        [1j],
        [dt.date(2020, 1, 1), dt.datetime(2020, 1, 1)],
    ],
)
def test_values_without_an_arrow_type_are_objects(values: list[Any]) -> None:
    block = from_rows([{"x": value} for value in values])
    assert is_object(block.schema.field("x").type)
    assert all(same(row["x"], value) for row, value in zip(to_rows(block), values))


def test_what_cannot_be_pickled_is_named() -> None:
    with pytest.raises(BatchTypeError, match=r"the one of row 1 cannot be \(lock\)"):
        from_rows([1.5j, threading.Lock()])


def test_nanoseconds_survive() -> None:
    stamp = pd.Timestamp("2020-01-01 00:00:00.000000001")
    assert to_rows(from_rows([{"x": stamp}])) == [{"x": stamp}]


def test_any_mapping_is_a_row() -> None:
    rows = [
        {"a": 1, "b": "x"},
        collections.OrderedDict(b="y", a=2),
        types.MappingProxyType({"a": 3, "b": "z"}),
        TableRow(a=4, b="w"),
        collections.ChainMap({"a": 5}, {"b": "v"}),
    ]
    assert to_rows(from_rows(rows)) == [dict(row) for row in rows]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"a": 1}, {"a": 2}, {"b": 3}], r"row 2 lacks 'a' and also has 'b'; row 0 has 'a'"),
        ([{"a": 1, "b": 2}, {"a": 2}], r"row 1 lacks 'b'"),
        ([{"a": 1}, {"a": 2, "b": 3}], r"row 1 also has 'b'"),
        ([{"a": 1}, {"a": 2, "b": 3}, {}], r"row 1 also has 'b'"),
        ([{}, {"a": 1}], r"row 1 also has 'a'; row 0 has no columns"),
        ([{"a": 1}, 5], r"row 1 \(int\) is no mapping, unlike row 0 \(dict\)"),
        ([{"a": 1}, None], r"row 1 \(NoneType\) is no mapping"),
        ([5, {"a": 1}], r"row 1 \(dict\) is a mapping, unlike row 0 \(int\)"),
        ([{1: 2}], r"names of columns must be strings, but row 0 has the key 1 \(int\)"),
    ],
)
def test_rows_that_do_not_fit_are_named(rows: list[Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        from_rows(rows)


def test_the_row_that_does_not_fit_is_found_among_many() -> None:
    rows: list[Any] = [{"a": i} for i in range(20_000)]
    rows[12_345] = {"b": 1}
    with pytest.raises(SchemaError, match=r"row 12345 lacks 'a'"):
        from_rows(rows)


@pytest.mark.parametrize("odd", [None, 1.5, True, "x", 2**70])
def test_many_rows_are_as_few(odd: Any) -> None:
    """Long lists are handled in slices, whose types may differ."""
    rows: list[Any] = [{"a": i, "b": str(i)} for i in range(10_000)]
    rows[9_000]["a"] = odd
    block = from_rows(rows)
    assert to_rows(block) == rows
    assert type(to_rows(block)[9_000]["a"]) is type(odd)
    assert block.schema == from_rows(rows[8_990:9_010]).schema
    assert [row for part in row_slices(block) for row in part] == rows


def test_rows_without_columns_are_counted() -> None:
    block = from_rows([{}, {}, {}])
    assert to_rows(block) == [{}, {}, {}]
    assert to_rows(concat([block, block.slice(1)])) == [{}] * 5
    assert to_rows(take_rows(block, [0, 2])) == [{}] * 2
    assert to_rows(pickle.loads(pickle.dumps(block))) == [{}] * 3


def test_no_rows() -> None:
    assert from_rows([]).num_rows == 0
    assert to_rows(from_rows([])) == []
    assert to_rows(from_rows([{"a": 1}]).slice(1)) == []


def test_rows_are_fresh_and_can_be_changed() -> None:
    block = from_rows([{"a": np.zeros(2), "b": [1]}, {"a": np.zeros(2), "b": [1]}])
    row = to_rows(block)[0]
    row["a"] += 1
    row["b"].append(2)
    assert to_rows(block)[0]["a"].tolist() == [0, 0]
    assert to_rows(block)[0]["b"] == [1]


NESTED = st.recursive(
    st.none() | st.integers(-5, 5),
    lambda child: st.lists(child, max_size=3) | st.fixed_dictionaries({"k": child, "l": child}),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(NESTED, min_size=1, max_size=5), st.integers(0, 2))
def test_nested_values_are_read_as_arrow_reads_them(values: list[Any], start: int) -> None:
    block = from_rows([{"x": value} for value in values]).slice(start)
    got = [row["x"] for row in to_rows(block)]
    assert got == values[start:]
    if not is_object(block.schema.field("x").type):
        assert got == block.column("x").to_pylist()


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", None, "b", "a"]).dictionary_encode(),
        pa.array([1, None, 3], pa.timestamp("ns")),
        pa.array([1, 2, 3], pa.timestamp("us", "Europe/Berlin")),
        pa.array([1, 2, None], pa.time64("us")),
        pa.array([1, 2, 3], pa.date64()),
        pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
        pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int64(), 2)),
        pa.array([[1.5], None, []], pa.large_list(pa.float32())),
        pa.array([{"a": [1]}, None, {"a": None}]),
        pa.array([decimal.Decimal("1.5"), None]),
        pa.array([True, None, False]),
        pa.array([1, None], pa.uint64()),
        pa.array(np.array([1.5, 2.5], np.float16)),
        pa.array([b"ab", None], pa.binary(2)),
        pa.array([{}, None], pa.struct([])),
        pa.chunked_array([[1], [], [None, 2]]),
    ],
)
def test_all_arrow_types_become_rows(column: Any, start: int) -> None:
    block = pa.table({"x": column}).slice(start)
    assert [row["x"] for row in to_rows(block)] == block.column("x").to_pylist()


def test_two_columns_of_one_name_cannot_be_rows() -> None:
    with pytest.raises(SchemaError, match="several of 'a'"):
        to_rows(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]))


def test_names_of_columns_may_be_any_text() -> None:
    rows = [{"": 1, "it's": 2, 'a"b\\n': 3, "class": 4, "{x}": 5, "é\n": 6}]
    assert to_rows(from_rows(rows)) == rows


def test_table_row() -> None:
    row = TableRow(a=1)
    assert row["a"] == 1
    assert type(row.as_pydict()) is dict
    assert repr(row) == "TableRow({'a': 1})"
    assert pickle.loads(pickle.dumps(row)) == row
