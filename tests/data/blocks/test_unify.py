"""One schema for many blocks: the same whatever the order, and every block can be cast to it."""

from __future__ import annotations

import datetime as dt
import itertools
import pickle
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.data._blocks import (
    ITEM,
    TENSOR,
    concat,
    conform,
    empty_like,
    from_batch,
    from_rows,
    rows_only,
    to_rows,
    unify_schemas,
)
from aktis.data._blocks.objects import OBJECT
from aktis.data._blocks.tensors import ArrowVariableShapedTensorType
from aktis.data._blocks.unify import Incompatible, join
from aktis.data.exceptions import SchemaError

LEAVES = [
    pa.null(),
    pa.bool_(),
    pa.int8(),
    pa.int16(),
    pa.int32(),
    pa.int64(),
    pa.uint8(),
    pa.uint16(),
    pa.uint32(),
    pa.uint64(),
    pa.float16(),
    pa.float32(),
    pa.float64(),
    pa.decimal128(5, 2),
    pa.decimal128(38, 1),
    pa.decimal256(60, 30),
    pa.decimal256(76, 0),
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.binary(),
    pa.large_binary(),
    pa.binary_view(),
    pa.binary(3),
    pa.binary(5),
    pa.date32(),
    pa.date64(),
    pa.timestamp("s"),
    pa.timestamp("ns"),
    pa.timestamp("us", "UTC"),
    pa.timestamp("ms", "Europe/Berlin"),
    pa.time32("s"),
    pa.time32("ms"),
    pa.time64("us"),
    pa.time64("ns"),
    pa.duration("s"),
    pa.duration("us"),
    pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.int16(), pa.string()),
    pa.dictionary(pa.uint32(), pa.large_string()),
    pa.dictionary(pa.int32(), pa.int64(), ordered=True),
    pa.fixed_shape_tensor(pa.float32(), [2, 2]),
    pa.fixed_shape_tensor(pa.int8(), [2, 2]),
    pa.fixed_shape_tensor(pa.int8(), [3]),
    pa.fixed_shape_tensor(pa.bool_(), [3]),
    ArrowVariableShapedTensorType(pa.int16(), 1),
    ArrowVariableShapedTensorType(pa.float64(), 2),
]


def _nested(child: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    fields = st.lists(st.tuples(st.sampled_from("abc"), child), max_size=3, unique_by=lambda field: field[0])
    return st.one_of(
        child.map(pa.list_),
        child.map(pa.large_list),
        child.map(lambda t: pa.list_(t, 2)),
        child.map(lambda t: pa.list_(pa.field("element", t, nullable=pa.types.is_null(t)))),
        fields.map(pa.struct),
        child.map(lambda t: pa.map_(pa.string(), t)),
    )


# Few leaves per example: so types often meet that fit each other.
TYPES = st.recursive(st.sampled_from(LEAVES), _nested, max_leaves=3)
ROWS = st.sampled_from([pa.schema([("__rows__", pa.null())])])


def _join(*types: Any) -> Any:
    """Join, with "no type" as a value."""
    result = types[0]
    for other in types[1:]:
        if result == "none" or other == "none":
            return "none"
        try:
            result = join(result, other)
        except Incompatible:
            return "none"
    return result


@settings(max_examples=200, deadline=None)
@given(TYPES, TYPES, TYPES)
def test_join_is_associative_commutative_and_idempotent(a: pa.DataType, b: pa.DataType, c: pa.DataType) -> None:
    assert _join(a, a) == a
    assert _join(a, b) == _join(b, a)
    assert _join(_join(a, b), c) == _join(a, _join(b, c))
    if (both := _join(a, b)) != "none":
        assert _join(a, both) == both


def test_join_of_all_leaves_is_associative() -> None:
    failures = [
        (a, b, c)
        for a, b, c in itertools.product(LEAVES[:37], repeat=3)
        if _join(_join(a, b), c) != _join(a, _join(b, c))
    ]
    assert failures == []


def _unified(schemas: list[pa.Schema]) -> Any:
    try:
        unified = unify_schemas(schemas)
    except SchemaError:
        return "none"
    return {field.name: (field.type, field.nullable) for field in unified}


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from("xyz"), TYPES | st.just(OBJECT), max_size=3).map(pa.schema), max_size=4),
    st.randoms(),
)
def test_types_do_not_depend_on_the_order_of_schemas(schemas: list[pa.Schema], random: Any) -> None:
    expected = _unified(schemas)
    shuffled = list(schemas)
    random.shuffle(shuffled)
    assert _unified(shuffled) == expected
    assert _unified(shuffled * 2) == expected


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (pa.null(), pa.string(), pa.string()),
        (pa.int8(), pa.int64(), pa.int64()),
        (pa.uint8(), pa.int8(), pa.int16()),
        (pa.uint64(), pa.int8(), pa.float64()),
        (pa.int64(), pa.float32(), pa.float64()),
        (pa.string(), pa.large_string(), pa.large_string()),
        (pa.string(), pa.dictionary(pa.int8(), pa.string()), pa.string()),
        (pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("ns")),
        (pa.timestamp("s", "UTC"), pa.timestamp("ms", "Europe/Berlin"), pa.timestamp("ms", "UTC")),
        (pa.date32(), pa.timestamp("us"), pa.timestamp("us")),
        (pa.list_(pa.int8()), pa.large_list(pa.int64()), pa.large_list(pa.int64())),
        (pa.struct([("a", pa.int8())]), pa.struct([("b", pa.null())]), pa.struct([("a", pa.int8()), ("b", pa.null())])),
        (
            pa.fixed_shape_tensor(pa.int8(), [2]),
            pa.fixed_shape_tensor(pa.int64(), [2]),
            pa.fixed_shape_tensor(pa.int64(), [2]),
        ),
        (
            pa.fixed_shape_tensor(pa.int8(), [2]),
            pa.fixed_shape_tensor(pa.int8(), [3]),
            ArrowVariableShapedTensorType(pa.int8(), 1),
        ),
        (pa.int8(), OBJECT, OBJECT),
    ],
)
def test_what_becomes_of_two_types(left: pa.DataType, right: pa.DataType, expected: pa.DataType) -> None:
    unified = unify_schemas([pa.schema([("x", left)]), pa.schema([("x", right)])])
    assert unified.field("x").type == expected


def test_incompatible_types_are_named() -> None:
    with pytest.raises(SchemaError, match=r"column 'x' is int64 in some blocks and string in others"):
        unify_schemas([pa.schema([("x", pa.int64())]), pa.schema([("x", pa.string())])])


def test_columns_are_in_the_order_of_appearance_and_missing_ones_are_null() -> None:
    unified = unify_schemas(
        [pa.schema([("b", pa.int64()), ("a", pa.int64())]), pa.schema([("c", pa.int64()), ("a", pa.int64())])]
    )
    assert unified.names == ["b", "a", "c"]
    block = concat([from_rows([{"b": 1, "a": 2}]), from_rows([{"c": 3, "a": 4}])])
    assert to_rows(block) == [{"b": 1, "a": 2, "c": None}, {"b": None, "a": 4, "c": 3}]


@pytest.mark.parametrize("names", list(itertools.combinations([("x",), (ITEM,), (TENSOR,)], 2)))
def test_kinds_do_not_mix(names: Any) -> None:
    with pytest.raises(SchemaError, match="same kind of rows"):
        unify_schemas([pa.schema([(name, pa.int64())]) for (name,) in names])


def test_blocks_without_columns_count_for_nothing_or_only_for_their_rows() -> None:
    schema = pa.schema([("x", pa.int64())])
    assert unify_schemas([pa.schema([]), schema]) == schema
    assert unify_schemas([]) == pa.schema([])
    assert concat([rows_only(2), rows_only(3)]).num_rows == 5
    assert to_rows(concat([rows_only(1), from_rows([{"x": 1}])])) == [{"x": None}, {"x": 1}]


def test_ten_thousand_equal_schemas_are_unified_fast() -> None:
    pickled = pickle.dumps(pa.schema([(f"column_{i}", pa.int64()) for i in range(10)]))
    schemas = [pickle.loads(pickled) for _ in range(10_000)]
    start = time.process_time()
    assert unify_schemas(schemas) == schemas[0]
    assert time.process_time() - start < 0.5


def test_rows_of_objects_stay_what_they_were() -> None:
    blocks = [from_rows([1, 2]), from_rows([2.5]), from_rows([None]), from_rows(["x"]), from_rows([True])]
    rows = to_rows(concat(blocks))
    assert rows == [1, 2, 2.5, None, "x", True]
    assert [type(row) for row in rows] == [int, int, float, type(None), str, bool]


NOW = dt.datetime(2024, 5, 17, 12, 30)
CASTS: list[tuple[Any, Any, list[Any]]] = [
    (pa.array([1, None]), pa.array([0.5]), [1.0, None, 0.5]),
    (pa.array([2**62 + 1]), pa.array([0.5]), [float(2**62), 0.5]),
    (pa.array([1], pa.uint64()), pa.array([-1], pa.int8()), [1.0, -1.0]),
    (pa.nulls(1), pa.array([[1]]), [None, [1]]),
    (pa.array(["a", None]).dictionary_encode(), pa.array(["b"], pa.large_string()), ["a", None, "b"]),
    (pa.array([NOW], pa.timestamp("s")), pa.array([NOW], pa.timestamp("us")), [NOW, NOW]),
    (pa.array([NOW.date()]), pa.array([NOW], pa.timestamp("us")), [dt.datetime(2024, 5, 17), NOW]),
    (pa.array([[1], None, []]), pa.array([[0.5]], pa.large_list(pa.float64())), [[1.0], None, [], [0.5]]),
    (pa.array([[1, 2]], pa.list_(pa.int8(), 2)), pa.array([[3]], pa.list_(pa.int64())), [[1, 2], [3]]),
    (pa.array([{"a": 1}, None]), pa.array([{"b": "x"}]), [{"a": 1, "b": None}, None, {"a": None, "b": "x"}]),
    (
        pa.array([[{"a": 1}], []]),
        pa.array([[{"a": 0.5, "b": [1]}]]),
        [[{"a": 1.0, "b": None}], [], [{"a": 0.5, "b": [1]}]],
    ),
    (
        pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int8())),
        pa.array([[("l", 2)]], pa.map_(pa.string(), pa.int64())),
        [[("k", 1)], [("l", 2)]],
    ),
    (pa.array([b"abc"], pa.binary(3)), pa.array([b"x"]), [b"abc", b"x"]),
]


@pytest.mark.parametrize("sliced", [False, True])
@pytest.mark.parametrize(("left", "right", "expected"), CASTS)
def test_values_survive_the_cast(left: pa.Array, right: pa.Array, expected: list[Any], sliced: bool) -> None:
    blocks = [pa.table({"x": left}), pa.table({"x": right})]
    if sliced:
        blocks = [concat([block, block]).slice(block.num_rows) for block in blocks]
        blocks = [pa.table({"x": pa.concat_arrays(b.column(0).chunks * 2).slice(b.num_rows)}) for b in blocks]
    assert concat(blocks).column("x").to_pylist() == expected
    assert [row["x"] for row in to_rows(concat(blocks))] == expected


def test_values_that_do_not_fit_name_the_column() -> None:
    far = pa.table({"when": pa.array([dt.datetime(9000, 1, 1)], pa.timestamp("us"))})
    near = pa.table({"when": pa.array([0], pa.timestamp("ns"))})
    with pytest.raises(SchemaError, match=r"column 'when' cannot be cast from timestamp\[us\] to timestamp\[ns\]"):
        concat([far, near])


def test_tensors_of_different_shapes_and_types_are_cast() -> None:
    parts: list[Any] = [
        np.arange(4, dtype=np.int8).reshape(2, 2),
        np.ones((1, 3), np.float32),
        np.zeros((2, 2), np.int64),
    ]
    block = concat([from_batch({"t": part}) for part in parts])
    rows = [row["t"] for row in to_rows(block)]
    assert [row.tolist() for row in rows] == [[0, 1], [2, 3], [1, 1, 1], [0, 0], [0, 0]]
    assert {row.dtype for row in rows} == {np.dtype(np.float64)}


@settings(max_examples=60, deadline=None)
@given(TYPES, TYPES)
def test_empty_and_null_blocks_of_any_types_can_be_cast(a: pa.DataType, b: pa.DataType) -> None:
    schemas = [pa.schema([("x", t)]) for t in (a, b)]
    try:
        unified = unify_schemas(schemas)
    except SchemaError:
        return
    for schema in schemas:
        assert conform(empty_like(schema), unified).schema == unified
    assert concat([empty_like(schema) for schema in schemas]).schema == unified
