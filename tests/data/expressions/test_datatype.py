"""Names of types."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pytest

from aktis.data.datatype import DataType
from aktis.data.expressions import col, udf

MADE = {
    DataType.int32(): pa.int32(),
    DataType.bool(): pa.bool_(),
    DataType(float): pa.float64(),
    DataType("string"): pa.string(),
    DataType.from_numpy("uint8"): pa.uint8(),
    DataType.list(DataType.string()): pa.list_(pa.string()),
    DataType.fixed_size_list(int, 3): pa.list_(pa.int64(), 3),
    DataType.struct([("x", DataType.int8())]): pa.struct([("x", pa.int8())]),
    DataType.map(str, float): pa.map_(pa.string(), pa.float64()),
    DataType.tensor((2, 3), "float32"): pa.fixed_shape_tensor(pa.float32(), (2, 3)),
    DataType.temporal("timestamp", "s", "UTC"): pa.timestamp("s", "UTC"),
    DataType.temporal("date32"): pa.date32(),
    DataType.temporal("duration"): pa.duration("us"),
    DataType.infer_dtype(1.5): pa.float64(),
}


@pytest.mark.parametrize(("given", "arrow"), MADE.items(), ids=repr)
def test_types_are_those_of_arrow(given, arrow):
    assert given.to_arrow_dtype() == arrow
    assert given == DataType(arrow) and hash(given) == hash(DataType(arrow))
    assert pickle.loads(pickle.dumps(given)) == given


def test_kinds():
    assert DataType.list(int).is_list_type() and DataType.tensor((2,), int).is_tensor_type()
    assert DataType.variable_shaped_tensor(int).is_tensor_type()
    assert DataType.string().is_string_type() and DataType.binary().is_binary_type()
    assert (
        DataType(int).is_python_type() and DataType.from_numpy("f4").is_numpy_type() and DataType.int8().is_arrow_type()
    )
    assert DataType.float32().is_numerical_type() and DataType.temporal("date64").is_temporal_type()
    assert DataType.struct([]).is_struct_type() and DataType.map(str, int).is_map_type()
    assert DataType.int16().to_numpy_dtype() == np.int16
    assert DataType.list(int).to_numpy_dtype() == np.dtype(object)


def test_they_say_types_in_expressions():
    table = pa.table({"a": [1, 2]})
    assert col("a").cast(DataType.float32()).evaluate(table).type == pa.float32()
    assert udf(return_dtype=DataType.int8())(lambda x: x)(col("a")).evaluate(table).type == pa.int8()


def test_mistakes():
    with pytest.raises(TypeError, match="names no type"):
        DataType("number")
    with pytest.raises(ValueError, match="temporal_type is"):
        DataType.temporal("epoch")
    with pytest.raises(ValueError, match="time zone"):
        DataType.temporal("date32", tz="UTC")
