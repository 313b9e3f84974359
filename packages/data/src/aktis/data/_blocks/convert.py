"""Values of one Arrow type as another's: what :mod:`aktis.data._blocks.unify` decides, done."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as pat

from aktis.data._blocks.objects import decode_objects, encode_objects, is_object
from aktis.data._blocks.tensors import (
    _variable,
    fixed_to_variable,
    is_fixed_tensor,
    is_tensor,
)
from aktis.data._blocks.types import ROWS
from aktis.data.exceptions import SchemaError


def conform(block: pa.Table, schema: pa.Schema) -> pa.Table:
    """The block with exactly these columns: cast, in this order, those that it lacks filled with nulls."""
    if block.schema.equals(schema):
        return block
    index = {name: i for i, name in enumerate(block.schema.names)}
    columns = []
    for field in schema:
        i = index.get(field.name)
        if i is None:
            columns.append(nulls(block.num_rows, field.type))
            continue
        column = block.column(i)
        try:
            columns.append(cast(column, field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, OverflowError) as error:
            raise SchemaError(
                f"column {field.name!r} cannot be cast from {column.type} to {field.type}: {error}"
            ) from error
    return pa.Table.from_arrays(columns, schema=schema)


def nulls(length: int, data_type: pa.DataType) -> pa.Array:
    """A column of nulls."""
    if isinstance(data_type, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(data_type, pa.nulls(length, data_type.storage_type))
    return pa.nulls(length, data_type)


def cast(column: pa.Array | pa.ChunkedArray, data_type: pa.DataType) -> pa.Array | pa.ChunkedArray:
    """The column with this type, which is one that :func:`~aktis.data._blocks.unify.join` gave."""
    if column.type == data_type:
        return column
    if isinstance(column, pa.ChunkedArray):
        return pa.chunked_array([cast(chunk, data_type) for chunk in column.chunks], data_type)
    return _cast(column, data_type)


def _cast(array: pa.Array, to: pa.DataType) -> pa.Array:
    if array.type == to:
        return array
    if pat.is_null(array.type) or array.null_count == len(
        array
    ):  # Arrow cannot cast every type, but nothing is nothing
        return nulls(len(array), to)
    if is_object(to):
        from aktis.data._blocks.values import to_list

        return encode_objects(to_list(array))
    if is_object(array.type):
        return pa.array(decode_objects(array), to)
    if is_tensor(to) and is_tensor(array.type):
        return _cast_tensors(array, to)
    if pat.is_dictionary(array.type) and not pat.is_dictionary(to):
        return _cast(array.dictionary_decode(), to)
    if pat.is_struct(array.type) and pat.is_struct(to):
        return _cast_structs(array, to)
    if pat.is_list(to) or pat.is_large_list(to):
        return _cast_lists(array, to)
    if pat.is_fixed_size_list(to) and pat.is_fixed_size_list(array.type) and to.list_size == array.type.list_size:
        return _cast_fixed(array, to)
    if pat.is_nested(to) or pat.is_fixed_size_binary(array.type):  # not by Arrow: some of its versions crash
        return pa.array(array.to_pylist(), to)
    # Large ints lose digits as floats: that is what the meeting of ints and floats costs, as in pandas.
    return array.cast(to, safe=not pat.is_floating(to))


def _cast_tensors(array: pa.Array, to: pa.DataType) -> pa.Array:
    if is_fixed_tensor(to):
        if array.type.permutation is None or array.type.permutation == list(range(len(array.type.shape))):
            storage = array.storage
            return pa.ExtensionArray.from_storage(to, _cast_fixed(storage, to.storage_type))
        from aktis.data._blocks.tensors import fixed_tensors, tensors_to_numpy

        plain = fixed_tensors(np.ascontiguousarray(tensors_to_numpy(array)))
        return _cast_tensors(plain, to)
    if is_fixed_tensor(array.type):
        array = fixed_to_variable(array)
    if array.type == to:
        return array
    storage = array.storage
    data = _cast(storage.field("data"), to.storage_type.field("data").type)
    shape = storage.field("shape")
    mask = array.is_null() if array.null_count else None
    return _variable(pa.StructArray.from_arrays([data, shape], names=["data", "shape"], mask=mask), to.ndim)


def _cast_fixed(storage: pa.Array, to: pa.DataType) -> pa.Array:
    size = to.list_size
    values = _cast(storage.values.slice(storage.offset * size, len(storage) * size), to.value_type)
    validity = pa.array(storage.is_valid()).buffers()[1] if storage.null_count else None
    return pa.Array.from_buffers(to, len(storage), [validity], children=[values])


def _mask(array: pa.Array) -> pa.Array | None:
    return array.is_null() if array.null_count else None


def _cast_structs(array: pa.Array, to: pa.DataType) -> pa.Array:
    children: dict[str, Any] = {f.name: array.field(i) for i, f in enumerate(array.type)}
    columns = [_cast(children[f.name], f.type) if f.name in children else nulls(len(array), f.type) for f in to]
    return pa.StructArray.from_arrays(columns, fields=list(to), mask=_mask(array))


def _cast_lists(array: pa.Array, to: pa.DataType) -> pa.Array:
    if isinstance(array, pa.FixedSizeListArray):
        size = array.type.list_size
        values = array.values.slice(array.offset * size, len(array) * size)
        offsets = pa.array(np.arange(0, (len(array) + 1) * size, size) if size else np.zeros(len(array) + 1, np.int64))
    elif isinstance(array, (pa.ListArray, pa.LargeListArray)):
        values, offsets = array.values, array.offsets
    else:
        return pa.array(array.to_pylist(), to)
    if array.null_count:
        there = pa.concat_arrays([array.is_valid(), pa.array([True])])
        offsets = pc.if_else(there, offsets, pa.scalar(None, offsets.type))
    make, width = (pa.ListArray, pa.int32()) if pat.is_list(to) else (pa.LargeListArray, pa.int64())
    return make.from_arrays(offsets.cast(width), _cast(values, to.value_type), type=to)


def rows_only(length: int) -> pa.Table:
    """A block with so many rows, and no columns."""
    return pa.table({ROWS: pa.nulls(length)})
