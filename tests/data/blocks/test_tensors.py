"""Tensor columns: in Arrow, in pandas, in files."""

from __future__ import annotations

import io
import json
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.data._blocks import compact, concat, from_batch, from_rows, size_bytes, take_rows, to_batch, to_rows
from aktis.data._blocks.objects import ObjectType
from aktis.data.extensions import (
    ArrowTensorArray,
    ArrowTensorType,
    ArrowVariableShapedTensorArray,
    ArrowVariableShapedTensorType,
    TensorArray,
    TensorArrayElement,
    TensorDtype,
    column_needs_tensor_extension,
)

DTYPES = ["bool", "int8", "uint16", "int64", "float16", "float32", "float64", ">f4"]
SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)


def _array(seed: int, shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 4), SHAPES, st.sampled_from(DTYPES), st.integers(0, 3), st.booleans())
def test_fixed_tensors_come_back(
    rows: int, shape: tuple[int, ...], dtype: str, start: int, through_files: bool
) -> None:
    data = _array(rows, (rows, *shape), dtype)
    column = ArrowTensorArray.from_numpy(data)
    assert column.type == ArrowTensorType(shape, np.dtype(dtype).newbyteorder("="))
    assert isinstance(column, ArrowTensorArray)
    assert isinstance(column.type, ArrowTensorType)
    block = pa.table({"t": column}).slice(start)
    if through_files:
        block = compact(pickle.loads(pickle.dumps(block)))
    np.testing.assert_array_equal(ArrowTensorArray.to_numpy(block.column("t")), data[start:])
    np.testing.assert_array_equal(to_batch(concat([block, block]), "numpy")["t"], np.concatenate([data[start:]] * 2))
    for row, expected in zip(to_rows(block), data[start:]):
        assert isinstance(row["t"], np.ndarray)
        np.testing.assert_array_equal(row["t"], expected)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.none() | SHAPES, max_size=5), st.sampled_from(DTYPES[:-1]), st.integers(0, 3))
def test_ragged_tensors_come_back(shapes: list[Any], dtype: str, start: int) -> None:
    arrays = [None if shape is None else _array(i, shape, dtype) for i, shape in enumerate(shapes)]
    column = ArrowVariableShapedTensorArray.from_numpy(arrays)
    assert isinstance(column, ArrowVariableShapedTensorArray)
    block = pa.table({"t": column})
    for piece, expected in [
        (block.slice(start), arrays[start:]),
        (pickle.loads(pickle.dumps(compact(block.slice(start)))), arrays[start:]),
        (take_rows(block, np.arange(len(arrays))[::-1]), arrays[::-1]),
        (concat([block, block.slice(start)]), arrays + arrays[start:]),
    ]:
        got = to_batch(piece, "numpy")["t"]
        assert len(got) == len(expected)
        for a, b in zip(got, expected):
            assert (a is None) == (b is None)
            if b is not None:
                assert a.shape == b.shape
                np.testing.assert_array_equal(a, b)


def test_fixed_tensors_share_memory() -> None:
    data = np.arange(24.0).reshape(4, 2, 3)
    column = ArrowTensorArray.from_numpy(data)
    assert np.shares_memory(ArrowTensorArray.to_numpy(column[1:]), data)


def test_tensors_with_another_order_of_axes() -> None:
    data = np.arange(12).reshape(2, 2, 3).transpose(0, 2, 1)
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(data)
    block = pa.table({"t": column})
    np.testing.assert_array_equal(to_batch(block, "numpy")["t"], data)
    other = from_batch({"t": np.zeros((1, 3, 2))})
    np.testing.assert_array_equal(
        to_batch(concat([block, other]), "numpy")["t"], np.concatenate([data, np.zeros((1, 3, 2))])
    )
    ragged = from_batch({"t": np.zeros((1, 3))})
    np.testing.assert_array_equal(to_batch(concat([block, ragged]), "numpy")["t"][1], data[1])


def test_missing_tensors_are_none() -> None:
    block = concat([from_rows([{"t": np.ones(2)}]), from_rows([{"u": 1}])])
    assert to_rows(block)[1] == {"t": None, "u": 1}
    assert to_batch(block, "numpy")["t"][1] is None
    frame = to_batch(block, "pandas")
    assert frame["t"].isna().tolist() == [False, True]
    assert from_batch(frame).column("t").null_count == 1


def test_bools_are_packed_and_slices_count_only_their_share() -> None:
    block = from_batch({"t": np.ones((1000, 8), bool)})
    assert size_bytes(block) == 1000
    assert size_bytes(block.slice(0, 10)) <= 11
    assert size_bytes(from_batch({"t": np.ones((10, 4), np.float32)}).slice(2, 3)) == 48


def test_parquet_keeps_tensors_and_unpickles_nothing() -> None:
    block = from_rows([{"t": np.ones((2, 2)), "r": np.ones(i + 1), "o": {1}} for i in range(3)])
    file = io.BytesIO()
    pq.write_table(block.drop_columns(["o"]), file)
    back = pq.read_table(io.BytesIO(file.getvalue()))
    assert back.schema == block.drop_columns(["o"]).schema
    assert str(to_rows(back)) == str(to_rows(block.drop_columns(["o"])))
    metadata = back.schema.field("r").type.__arrow_ext_serialize__()
    assert json.loads(metadata) == {"ndim": 1}


def test_files_cannot_hold_objects_that_would_be_unpickled() -> None:
    block = from_rows([{"o": {1}}])
    for write, read in [
        (lambda table, sink: pq.write_table(table, sink), pq.read_table),
        (
            lambda table, sink: pa.ipc.new_stream(sink, table.schema).write_table(table),
            lambda s: pa.ipc.open_stream(s).read_all(),
        ),
    ]:
        sink = pa.BufferOutputStream()
        write(block, sink)
        kind = read(pa.BufferReader(sink.getvalue())).schema.field("o").type
        assert not isinstance(kind, ObjectType)


def test_type_of_ragged_tensors() -> None:
    kind = ArrowVariableShapedTensorType(np.float32, 2)
    assert kind == ArrowVariableShapedTensorType(pa.float32(), 2)
    assert kind != ArrowVariableShapedTensorType(pa.float32(), 3)
    assert pickle.loads(pickle.dumps(kind)) == kind
    assert hash(pickle.loads(pickle.dumps(kind))) == hash(kind)
    empty = ArrowVariableShapedTensorArray.from_numpy([])  # says nothing about the elements of others
    joined = concat(
        [pa.table({"x": empty}), pa.table({"x": ArrowVariableShapedTensorArray.from_numpy([np.ones(1, np.int8)])})]
    )
    assert joined.schema.field("x").type.value_type == pa.int8()
    assert len(pa.table({"x": empty}).to_pandas()) == 0


# ---- pandas


def _frame() -> pd.DataFrame:
    return pd.DataFrame({"n": [1, 2, 3], "t": TensorArray(np.arange(12.0).reshape(3, 2, 2))})


def test_series_of_tensors() -> None:
    series = _frame()["t"]
    assert series.dtype == TensorDtype((2, 2), float)
    assert str(series.dtype) == "numpy.ndarray(shape=(2, 2), dtype=float64)"
    assert pd.api.types.pandas_dtype(str(series.dtype)) == series.dtype
    assert isinstance(series.iloc[0], TensorArrayElement)
    assert np.asarray(series.iloc[1]).tolist() == [[4, 5], [6, 7]]
    assert series.to_numpy().shape == (3, 2, 2)
    assert np.stack(series).shape == (3, 2, 2)
    assert "0" in repr(series)
    assert "t" in repr(_frame())
    assert pickle.loads(pickle.dumps(_frame())).equals(_frame())


def test_frames_with_tensors_can_be_cut_and_joined() -> None:
    frame = _frame()
    assert frame[frame["n"] > 1]["t"].to_numpy().tolist() == frame["t"].to_numpy()[1:].tolist()
    assert frame.iloc[::-1]["t"].iloc[0].tolist() == [[8, 9], [10, 11]]
    assert frame.sort_values("n", ascending=False)["t"].iloc[2].tolist() == [[0, 1], [2, 3]]
    joined = pd.concat([frame, frame], ignore_index=True)
    assert joined["t"].dtype == frame["t"].dtype
    assert len(joined) == 6
    merged = frame.merge(pd.DataFrame({"n": [2, 5]}), how="right", on="n")
    assert merged["t"].isna().tolist() == [False, True]
    assert frame["t"].reindex([0, 9]).isna().tolist() == [False, True]
    ints = pd.Series(TensorArray(np.arange(4).reshape(2, 2))).reindex([0, 9])
    assert ints.iloc[0].tolist() == [0, 1]
    assert ints.isna().tolist() == [False, True]


def test_concat_of_different_shapes_is_ragged() -> None:
    joined = pd.concat(
        [pd.Series(TensorArray(np.ones((1, 2)))), pd.Series(TensorArray(np.zeros((1, 3), int)))], ignore_index=True
    )
    assert joined.dtype == TensorDtype((None,), float)
    assert joined.dtype.is_variable_shaped
    assert [row.tolist() for row in joined] == [[1, 1], [0, 0, 0]]
    assert isinstance(joined.array.to_arrow_tensors(), ArrowVariableShapedTensorArray)


def test_elements_can_be_set() -> None:
    array = TensorArray(np.zeros((3, 2)))
    array[0] = [1, 2]
    array[1:] = np.ones(2)
    array[[True, False, False]] = TensorArray(np.full((1, 2), 5.0))
    assert array.to_numpy().tolist() == [[5, 5], [1, 1], [1, 1]]
    array[2] = None
    assert array.isna().tolist() == [False, False, True]
    ragged = TensorArray([np.ones(1), np.ones(2), None])
    ragged[0] = np.zeros(3)
    ragged[1:] = [np.zeros(1), np.zeros(2)]
    assert [row.tolist() for row in ragged] == [[0, 0, 0], [0], [0, 0]]
    with pytest.raises(TypeError, match="cannot hold missing values"):
        TensorArray(np.zeros((1, 2), int))[0] = None


def test_arithmetic_and_comparisons() -> None:
    data = np.arange(6.0).reshape(3, 2)
    series = pd.Series(TensorArray(data))
    for result, expected in [
        (series + 1, data + 1),
        (2 * series, 2 * data),
        (series - series, data - data),
        (-series, -data),
        (series**2, data**2),
        (np.sqrt(series), np.sqrt(data)),
        (series > 2, data > 2),
        (series == series, data == data),
        (series + np.array([1, 2]).reshape(1, 2), data + [1, 2]),
    ]:
        assert isinstance(result, pd.Series)
        np.testing.assert_array_equal(result.to_numpy(), expected)
    element = series.iloc[1]
    assert (element + 1).tolist() == [3, 4]
    assert (element * element).tolist() == [4, 9]
    assert element.sum() == 5
    assert len(element) == 2
    assert element[0] == 2
    ragged = TensorArray([np.ones(1), None, np.ones(2)]) * 2
    assert [None if row is None else row.tolist() for row in ragged] == [[2], None, [2, 2]]


@pytest.mark.parametrize("name", ["sum", "min", "max", "mean", "median", "prod"])
def test_reductions(name: str) -> None:
    data = np.arange(1.0, 13).reshape(3, 2, 2)
    result = getattr(pd.Series(TensorArray(data)), name)()
    np.testing.assert_array_equal(np.asarray(result), getattr(np, name)(data, axis=0))


@pytest.mark.parametrize("name", ["std", "var"])
@pytest.mark.parametrize("ddof", [0, 1])
def test_reductions_with_degrees_of_freedom(name: str, ddof: int) -> None:
    data = np.arange(6.0).reshape(3, 2)
    result = getattr(pd.Series(TensorArray(data)), name)(ddof=ddof)
    np.testing.assert_allclose(np.asarray(result), getattr(np, name)(data, axis=0, ddof=ddof))


def test_reductions_skip_missing_rows_and_refuse_ragged_ones() -> None:
    assert np.asarray(pd.Series(TensorArray([np.ones(2), None, np.ones(2)])).sum()).tolist() == [2, 2]
    with pytest.raises(TypeError, match="different shapes"):
        pd.Series(TensorArray([np.ones(2), np.ones(3)])).sum()
    array = TensorArray(np.array([[True, False], [True, True]]))
    assert np.asarray(pd.Series(array).all()).tolist() == [True, False]
    assert np.asarray(pd.Series(array).any()).tolist() == [True, True]
    assert not array.all()
    assert array.any()


def test_conversions() -> None:
    array = TensorArray(np.arange(4).reshape(2, 2))
    assert array.astype(TensorDtype((2,), np.float32)).dtype == TensorDtype((2,), np.float32)
    assert pd.Series(array).astype(object).iloc[0].tolist() == [0, 1]
    assert pd.Series(array).astype(str).tolist() == ["[0 1]", "[2 3]"]
    assert array.astype(TensorDtype((None,), np.int64)).dtype.is_variable_shaped
    with pytest.raises(TypeError, match="cannot become arrays of shape"):
        array.astype(TensorDtype((3,), np.int64))
    with pytest.raises(TypeError, match="one array per row"):
        TensorArray(np.array(5))
    with pytest.raises(TypeError, match="cannot make a TensorDtype"):
        TensorDtype.construct_from_string("int64")
    table = pa.Table.from_pandas(pd.DataFrame({"t": array}))
    assert table.schema.field("t").type == ArrowTensorType((2,), np.int64)


def test_columns_of_plain_arrays_are_recognised() -> None:
    assert column_needs_tensor_extension(pd.Series([np.ones(2), np.ones(3)]))
    assert not column_needs_tensor_extension(pd.Series(["a"], dtype=object))
    assert not column_needs_tensor_extension(pd.Series([1.5]))
    assert not column_needs_tensor_extension(pd.Series([], dtype=object))
