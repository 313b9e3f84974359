"""Batches in every form, in and out."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.data._blocks import (
    TENSOR,
    concat,
    from_batch,
    from_rows,
    is_object,
    is_tensor,
    kind_of,
    rows_only,
    to_batch,
    to_rows,
)
from aktis.data.exceptions import BatchTypeError
from aktis.data.extensions import TensorArray, TensorDtype


class Thing:
    pass


def test_tables_are_kept_as_they_are() -> None:
    table = pa.table({"a": [1, 2]})
    assert from_batch(table) is table
    assert from_batch(table.to_batches()[0]) == table
    assert to_batch(table, "pyarrow") is table


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        ([1, 2], [1, 2]),
        ([{"a": 1}], [{"a": 1}]),
        ({"a": [1, 2], "b": np.array(["x", "y"])}, [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
        ({"a": pa.array([1, 2]), "b": pd.Series([1.5, np.nan])}, [{"a": 1, "b": 1.5}, {"a": 2, "b": None}]),
        ({"a": (1, 2), "b": pl.Series([1, 2]), "c": range(2)}, [{"a": 1, "b": 1, "c": 0}, {"a": 2, "b": 2, "c": 1}]),
        ({"a": np.array([1, "x", None], object)}, [{"a": 1}, {"a": "x"}, {"a": None}]),
        ({"a": np.array([[1, 2], None], object)}, [{"a": [1, 2]}, {"a": None}]),
        ({"a": np.array([], np.int32)}, []),
        ({"a": np.array(["2020-01-01"], "M8[D]")}, [{"a": dt.date(2020, 1, 1)}]),
        ({"a": np.array([1 + 2j])}, [{"a": 1 + 2j}]),
        ({"a": np.array([1, 2], ">i4")}, [{"a": 1}, {"a": 2}]),
        ({"a": np.array([["x", "y"]])}, [{"a": ["x", "y"]}]),
        ({"a": np.ma.masked_array([1, 2], [False, True])}, [{"a": 1}, {"a": None}]),
        (pl.DataFrame({"a": [1, None], "b": ["x", "y"]}), [{"a": 1, "b": "x"}, {"a": None, "b": "y"}]),
        (pl.DataFrame({"a": [[1], []]}).lazy(), [{"a": [1]}, {"a": []}]),
        ({}, []),
    ],
)
def test_batches_become_blocks(batch: Any, expected: list[Any]) -> None:
    assert to_rows(from_batch(batch)) == expected


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (5, r"a batch must be a list of rows, .* but got int: 5"),
        (None, r"but got NoneType: None"),
        ("text", r"but got str: 'text'"),
        (pd.Series([1]), r"but got pandas.*Series"),
        (np.array(5), r"zero-dimensional"),
        ({"a": 5}, r"'a' is int: 5"),
        ({"a": [1], "b": "text"}, r"'b' is str: 'text'"),
        ({"a": Thing()}, r"'a' is .*Thing"),
        ({"a": np.array(5)}, r"'a' is numpy.ndarray"),
        ({"a": None}, r"'a' is NoneType"),
        ({"a": {1: 2}}, r"'a' is dict"),
        ({1: [1]}, r"names of columns must be strings, but got 1 \(int\)"),
        ({"a": [1], "b": [1, 2]}, r"as many rows, but got 'a': 1, 'b': 2"),
        (pd.DataFrame({0: [1]}), r"the frame has 0 \(int\)"),
        (pl.Series([1]), r"but got"),
    ],
)
def test_other_things_are_no_batches(batch: Any, message: str) -> None:
    with pytest.raises(BatchTypeError, match=message) as caught:
        from_batch(batch)
    assert isinstance(caught.value, (TypeError, ValueError))


def test_arrays_are_rows_of_arrays() -> None:
    images = np.arange(12.0).reshape(2, 2, 3)
    block = from_batch(images)
    assert kind_of(block) == "tensor"
    assert to_batch(block, "numpy").tolist() == images.tolist()
    assert to_batch(block, "default").tolist() == images.tolist()
    assert [row.shape for row in to_rows(block)] == [(2, 3), (2, 3)]
    numbers = from_batch(np.arange(3))
    assert to_batch(numbers, "numpy").tolist() == [0, 1, 2]
    assert [row.shape for row in to_rows(numbers)] == [(), (), ()]
    assert from_batch(np.empty((0, 2))).schema.field(TENSOR).type == pa.fixed_shape_tensor(pa.float64(), [2])


def test_arrays_in_dicts_are_tensor_columns() -> None:
    ragged = np.empty(2, object)
    ragged[:] = [np.ones((2, 2)), np.ones((1, 3))]
    block = from_batch({"fixed": np.ones((2, 3), bool), "ragged": ragged, "plain": np.arange(2)})
    assert [is_tensor(kind) for kind in block.schema.types] == [True, True, False]
    back = to_batch(block, "numpy")
    assert back["fixed"].dtype == bool
    assert back["fixed"].shape == (2, 3)
    assert [array.shape for array in back["ragged"]] == [(2, 2), (1, 3)]


FRAME = pd.DataFrame(
    {
        "int": [1, 2, 3],
        "float": [1.5, np.nan, 3.0],
        "string": ["a", None, "c"],
        "bool": [True, False, True],
        "time": pd.to_datetime(["2020-01-01", None, "2021-05-05"]),
        "zoned": pd.to_datetime(["2020-01-01", None, "2021-05-05"]).tz_localize("Europe/Berlin"),
        "delta": pd.to_timedelta([1, None, 3], unit="s"),
        "category": pd.Categorical(["x", None, "x"]),
        "Int64": pd.array([1, None, 3], "Int64"),
        "boolean": pd.array([True, None, False], "boolean"),
        "Float64": pd.array([1.5, None, 3.0], "Float64"),
        "text": pd.array(["a", None, "c"], "string"),
        "mixed": pd.Series([1, "x", None], dtype=object),
        "dicts": pd.Series([{"k": 1}, None, {"k": 2}], dtype=object),
        "decimal": pd.Series([decimal.Decimal("1.5"), None, decimal.Decimal("2.5")], dtype=object),
        "date": pd.Series([dt.date(2020, 1, 1), None, dt.date(2021, 1, 1)], dtype=object),
        "holes": pd.Series(["a", np.nan, "b"], dtype=object),
        "arrow": pd.array([1, None, 3], pd.ArrowDtype(pa.int16())),
    },
).set_axis([7, 8, 9])


def test_frames_become_blocks_without_their_index_and_metadata() -> None:
    block = from_batch(FRAME)
    assert block.column_names == list(FRAME.columns)
    assert block.schema.metadata is None
    nulls = {name: block.column(name).null_count for name in block.column_names}
    assert nulls == {name: 0 if name in ("int", "bool") else 1 for name in FRAME.columns}
    assert is_object(block.schema.field("mixed").type)
    assert pa.types.is_dictionary(block.schema.field("category").type)
    assert block.schema.field("Int64").type == pa.int64()
    assert block.schema.field("arrow").type == pa.int16()
    assert block.schema.field("decimal").type == pa.decimal128(2, 1)
    assert [row["mixed"] for row in to_rows(block)] == [1, "x", None]
    assert [row["holes"] for row in to_rows(block)] == ["a", None, "b"]


def test_frames_come_back() -> None:
    back = to_batch(from_batch(FRAME), "pandas")
    assert back.index.tolist() == [0, 1, 2]
    for name in FRAME.columns:
        assert back[name].isna().tolist() == FRAME[name].isna().tolist()
        full = FRAME[name].notna().tolist()
        assert back[name][full].tolist() == FRAME[name][full].tolist(), name
    assert back.dtypes["int"] == np.int64
    assert back.dtypes["Int64"] == np.float64
    assert isinstance(back.dtypes["category"], pd.CategoricalDtype)
    assert back.dtypes["zoned"] == FRAME.dtypes["zoned"]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(
        ["int64", "float64", "float32", "uint8", "bool", "datetime64[ns]", "Int16", "boolean", "string", "category"]
    ),
    st.lists(st.integers(0, 100), max_size=5),
    st.data(),
)
def test_columns_of_frames_come_back(dtype: str, values: list[int], data: Any) -> None:
    series: Any = pd.Series(values, dtype="int64").mod(2 if dtype == "boolean" else 200).astype(dtype)
    if dtype not in ("int64", "uint8", "bool"):
        series[series.index.isin(data.draw(st.sets(st.integers(0, 5))))] = None
    frame = pd.DataFrame({"x": series})
    back = to_batch(from_batch(frame), "pandas", copy=data.draw(st.booleans()))
    assert back["x"].isna().tolist() == series.isna().tolist()
    assert back["x"].dropna().tolist() == series.dropna().tolist()
    if not series.isna().any() and dtype in ("int64", "float64", "float32", "uint8", "bool"):
        assert back["x"].dtype == series.dtype


def test_frames_with_two_columns_of_one_name() -> None:
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    block = from_batch(frame)
    assert block.column_names == ["a", "a"]
    assert to_batch(block, "pandas").values.tolist() == [[1, 2]]


def test_frames_with_rows_and_no_columns() -> None:
    frame = pd.DataFrame(index=range(3))
    assert from_batch(frame).num_rows == 3
    assert to_batch(rows_only(3), "pandas").shape == (3, 0)
    assert to_batch(rows_only(3), "numpy") == {}


MIXED = pa.table(
    {
        "int": pa.chunked_array([[1, 2], [3]]),
        "one": pa.array([1, 2, 3], pa.int8()),
        "bool": [True, False, True],
        "holes": [1, None, 3],
        "time": pa.array([1, 2, None], pa.timestamp("us")),
        "text": ["a", "b", None],
        "list": [[1], [], None],
    }
)


@pytest.mark.parametrize(
    "block", [MIXED, MIXED.combine_chunks(), from_rows([{"t": np.ones((2, 2)), "o": {1}, "n": 1.5}])]
)
def test_copies_can_be_changed(block: pa.Table) -> None:
    before = to_rows(block)
    frame = to_batch(block, "pandas", copy=True)
    for name in frame.columns:
        values = frame[name].array
        values[0] = values[-1]
        frame.loc[0, name] = frame[name].iloc[-1]
    for name, values in to_batch(block, "numpy", copy=True).items():
        assert values.flags.writeable, name
        values[0] = values[-1]
    assert str(to_rows(block)) == str(before)


def test_without_copy_memory_is_shared() -> None:
    data = np.arange(10.0)
    block = pa.table({"x": data, "t": pa.FixedShapeTensorArray.from_numpy_ndarray(data.reshape(10, 1))})
    for got in (to_batch(block, "numpy", copy=False), dict(to_batch(block, "pandas", copy=False).items())):
        assert np.shares_memory(np.asarray(got["x"]), data)
        assert np.shares_memory(np.asarray(got["t"]), data)


@pytest.mark.parametrize("copy", [True, False])
def test_numpy_batches(copy: bool) -> None:
    got = to_batch(MIXED, "numpy", copy=copy)
    assert got["int"].tolist() == [1, 2, 3]
    assert got["bool"].dtype == bool
    assert got["holes"].dtype == np.float64
    assert np.isnan(got["holes"][1])
    assert got["time"].dtype == "M8[us]"
    assert got["text"].tolist() == ["a", "b", None]
    assert [None if x is None else list(x) for x in got["list"]] == [[1], [], None]


def test_default_batches_follow_the_kind_of_rows() -> None:
    assert to_batch(from_rows([1, 2]), "default") == [1, 2]
    assert to_batch(from_rows([1, 2]), None) == [1, 2]
    assert isinstance(to_batch(from_rows([{"a": 1}]), "native"), pd.DataFrame)
    assert isinstance(to_batch(from_rows([np.ones(2)]), "default"), np.ndarray)


def test_tensor_and_object_columns_in_pandas() -> None:
    block = from_rows([{"t": np.ones((2, 2)), "o": {1, 2}}, {"t": np.zeros((2, 2)), "o": None}])
    frame = to_batch(block, "pandas")
    assert frame["t"].dtype == TensorDtype((2, 2), np.float64)
    assert isinstance(frame["t"].array, TensorArray)
    assert frame["o"].tolist() == [{1, 2}, None]
    back = from_batch(frame)
    assert back.schema == block.schema
    assert str(to_rows(back)) == str(to_rows(block))


def test_polars_batches() -> None:
    block = from_rows(
        [{"a": 1, "t": np.ones(2), "o": {1}, "l": [1]}, {"a": None, "t": np.zeros(2), "o": None, "l": []}]
    )
    frame = to_batch(block, "polars")
    assert frame["a"].to_list() == [1, None]
    assert frame["t"].to_list() == [[1.0, 1.0], [0.0, 0.0]]
    assert frame["o"].to_list() == [{1}, None]
    assert frame["l"].to_list() == [[1], []]


def test_polars_frames_fit_other_blocks() -> None:
    block = concat(
        [
            from_batch(pl.DataFrame({"a": ["x"], "c": pl.Series(["u"], dtype=pl.Categorical)})),
            from_rows([{"a": "y", "c": "v"}]),
        ]
    )
    assert to_rows(block) == [{"a": "x", "c": "u"}, {"a": "y", "c": "v"}]


def test_unknown_formats_name_the_known() -> None:
    with pytest.raises(
        ValueError, match=r"must be one of 'default', 'native', 'pandas', 'pyarrow', 'numpy', 'polars'.* got 'torch'"
    ):
        to_batch(from_rows([1]), "torch")
