"""Columns whose values are arrays: Arrow types, and the way from numpy to Arrow and back.

Arrays of one shape are Arrow's own ``arrow.fixed_shape_tensor``, which others can read. Arrays of different shapes are
``aktis.variable_shaped_tensor``, a struct of the elements (row by row, in C order) and the shape.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa

Array = np.ndarray[Any, Any]

_DTYPES = "biuf"  # kinds of numpy dtypes that can be the elements of a tensor column


class ArrowVariableShapedTensorType(pa.ExtensionType):  # type: ignore[misc]
    """Arrays whose shapes differ between rows.

    Args:
        dtype: Arrow type (or numpy dtype) of the elements.
        ndim: how many dimensions each array has; None if that differs, too.
    """

    def __init__(self, dtype: Any, ndim: int | None = None) -> None:
        self._value_type = dtype if isinstance(dtype, pa.DataType) else pa.from_numpy_dtype(dtype)
        self._ndim = None if ndim is None else int(ndim)
        storage = pa.struct([("data", pa.large_list(self._value_type)), ("shape", pa.list_(pa.int32()))])
        super().__init__(storage, "aktis.variable_shaped_tensor")

    @property
    def value_type(self) -> pa.DataType:
        """Arrow type of the elements."""
        return self._value_type

    @property
    def ndim(self) -> int | None:
        """How many dimensions each array has; None if that differs."""
        return self._ndim

    def to_pandas_dtype(self) -> Any:
        from aktis.data.extensions import TensorDtype

        known = not pa.types.is_null(self._value_type)
        return TensorDtype((None,) * (self._ndim or 1), self._value_type.to_pandas_dtype() if known else np.float64)

    def __arrow_ext_serialize__(self) -> bytes:
        return json.dumps({"ndim": self._ndim}).encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> ArrowVariableShapedTensorType:
        ndim = json.loads(serialized or b"{}").get("ndim")
        return cls(storage_type.field("data").type.value_type, ndim)

    def __arrow_ext_class__(self) -> type:
        return ArrowVariableShapedTensorArray

    def __reduce__(self) -> tuple[Any, ...]:
        return ArrowVariableShapedTensorType, (self._value_type, self._ndim)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ArrowVariableShapedTensorType):
            return False
        return bool(self._value_type == other._value_type) and self._ndim == other._ndim

    def __ne__(self, other: object) -> bool:  # pyarrow's own would not call __eq__
        return not self == other

    def __hash__(self) -> int:
        return hash((self._value_type, self._ndim))

    def __str__(self) -> str:
        return f"variable_shaped_tensor<{self._value_type}, ndim={self._ndim}>"


class ArrowVariableShapedTensorArray(pa.ExtensionArray):  # type: ignore[misc]
    """A column of arrays whose shapes differ."""

    @staticmethod
    def from_numpy(
        arrays: Sequence[Array | None] | Array,
    ) -> ArrowVariableShapedTensorArray:
        """A column of these arrays; None is null."""
        return variable_tensors(list(arrays))

    def to_numpy(self, zero_copy_only: bool = True) -> Array:
        """An object array of the arrays, which share this column's memory."""
        return tensors_to_numpy(self)


def _register() -> None:
    try:
        pa.register_extension_type(ArrowVariableShapedTensorType(pa.int64(), 1))
    except pa.ArrowKeyError:  # the module was loaded anew
        pass


_register()


def is_fixed_tensor(data_type: pa.DataType) -> bool:
    """Whether this is Arrow's fixed-shape tensor type."""
    return isinstance(data_type, pa.FixedShapeTensorType)


def is_tensor(data_type: pa.DataType) -> bool:
    """Whether the values of a column of this type are arrays."""
    return isinstance(data_type, (pa.FixedShapeTensorType, ArrowVariableShapedTensorType))


def can_be_tensor(dtype: np.dtype[Any]) -> bool:
    """Whether arrays of this dtype can be in a tensor column."""
    return dtype.kind in _DTYPES and dtype.itemsize <= 8


def fixed_tensor_type(value_type: pa.DataType, shape: Sequence[int]) -> pa.DataType:
    """The type of columns of arrays of one shape."""
    return pa.fixed_shape_tensor(value_type, [int(n) for n in shape])


def fixed_tensors(rows: Array) -> pa.ExtensionArray:
    """A column of the arrays ``rows[0]``, ``rows[1]`` ...; shares memory with ``rows`` where it can (not for bool)."""
    rows = np.ascontiguousarray(rows).astype(rows.dtype.newbyteorder("="), copy=False) if rows.ndim else rows
    shape = rows.shape[1:]
    flat = pa.array(rows.reshape(-1))
    storage = _fixed_lists(flat, prod(shape), len(rows))
    return pa.ExtensionArray.from_storage(fixed_tensor_type(flat.type, shape), storage)


def _fixed_lists(flat: pa.Array, size: int, length: int, mask: Array | None = None) -> pa.Array:
    validity = None if mask is None else pa.array(~mask).buffers()[1]
    return pa.Array.from_buffers(pa.list_(flat.type, size), length, [validity], children=[flat])


def variable_tensors(arrays: Sequence[Array | None]) -> ArrowVariableShapedTensorArray:
    """A column of arrays of any shapes, and of one dtype that all of theirs fit into. None is null."""
    full = [np.asarray(a) for a in arrays if a is not None]
    dtype = np.result_type(*{a.dtype for a in full}) if full else None
    mask = np.fromiter((a is None for a in arrays), bool, len(arrays)) if len(full) < len(arrays) else None
    # Without any array nothing is known about the elements: a type of null gives way to every other one.
    flat = pa.array(np.concatenate([a.reshape(-1) for a in full]).astype(dtype, copy=False)) if full else pa.nulls(0)
    sizes: Array = np.zeros(len(arrays), np.int64)
    ndims: Array = np.zeros(len(arrays), np.int32)
    valid = slice(None) if mask is None else ~mask
    sizes[valid] = [a.size for a in full]
    ndims[valid] = [a.ndim for a in full]
    data = pa.LargeListArray.from_arrays(_offsets(sizes, np.int64), flat)
    shapes = np.fromiter((n for a in full for n in a.shape), np.int32)
    shape = pa.ListArray.from_arrays(_offsets(ndims, np.int32), pa.array(shapes))
    storage = pa.StructArray.from_arrays(
        [data, shape], names=["data", "shape"], mask=None if mask is None else pa.array(mask)
    )
    seen = {a.ndim for a in full}
    return _variable(storage, seen.pop() if len(seen) == 1 else None)


def _variable(storage: pa.Array, ndim: int | None) -> ArrowVariableShapedTensorArray:
    kind = ArrowVariableShapedTensorType(storage.type.field("data").type.value_type, ndim)
    column: ArrowVariableShapedTensorArray = pa.ExtensionArray.from_storage(kind, storage)
    return column


def _offsets(sizes: Array, dtype: Any) -> pa.Array:
    offsets: Array = np.zeros(len(sizes) + 1, dtype)
    np.cumsum(sizes, out=offsets[1:])
    return pa.array(offsets)


def tensor_column(arrays: Sequence[Array | None]) -> pa.ExtensionArray:
    """A column of these arrays: of fixed shape if all are alike, else of variable shape. None is null."""
    first = next((a for a in arrays if a is not None), None)
    if first is not None and all(a is not None and a.shape == first.shape for a in arrays):
        if not first.ndim:
            return fixed_tensors(np.stack(arrays))
        return fixed_tensors(np.concatenate(arrays).reshape(len(arrays), *first.shape))
    return variable_tensors(arrays)


def fixed_to_variable(column: pa.ExtensionArray) -> ArrowVariableShapedTensorArray:
    """The same arrays in a column of variable shape."""
    shape = tensor_shape(column.type)
    length = len(column)
    mask = column.is_null() if column.null_count else None
    flat = _fixed_values(column) if column.type.permutation is None else pa.array(tensors_to_numpy(column).reshape(-1))
    sizes: Array = np.full(length, prod(shape), np.int64)
    data = pa.LargeListArray.from_arrays(_offsets(sizes, np.int64), flat)
    ndims: Array = np.full(length, len(shape), np.int32)
    dims = pa.array(np.tile(np.array(shape, np.int32), length))
    storage = pa.StructArray.from_arrays(
        [data, pa.ListArray.from_arrays(_offsets(ndims, np.int32), dims)], names=["data", "shape"], mask=mask
    )
    return _variable(storage, len(shape))


def _fixed_values(column: pa.ExtensionArray) -> pa.Array:
    """The elements of all rows, also of those that are null."""
    storage = column.storage
    size = storage.type.list_size
    return storage.values.slice(storage.offset * size, len(storage) * size)


def tensor_shape(data_type: pa.DataType) -> tuple[int, ...]:
    """The shape that every array of a fixed-shape column has."""
    shape = data_type.shape
    order = data_type.permutation
    return tuple(shape) if order is None else tuple(shape[i] for i in order)


def tensors_to_numpy(column: pa.Array | pa.ChunkedArray) -> Array:
    """One array of all rows, or where their shapes differ (or some are null) an object array of arrays.

    Read-only and without a copy where possible: one chunk, of fixed shape, not bool.
    """
    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks == 1:
            return tensors_to_numpy(column.chunk(0))
        parts = [tensors_to_numpy(chunk) for chunk in column.chunks if len(chunk)]
        if not parts:
            return tensors_to_numpy(pa.ExtensionArray.from_storage(column.type, pa.array([], column.type.storage_type)))
        if any(part.dtype == object for part in parts):
            return object_array([array for part in parts for array in part])
        joined: Array = np.concatenate(parts)
        return joined
    if is_fixed_tensor(column.type):
        return _fixed_to_numpy(column)
    return _variable_to_numpy(column)


def _to_numpy(values: pa.Array) -> Array:
    result: Array = values.to_numpy(zero_copy_only=False)
    return result


def _fixed_to_numpy(column: pa.ExtensionArray) -> Array:
    rows: Array = _to_numpy(_fixed_values(column)).reshape(len(column), *column.type.shape)
    order = column.type.permutation
    if order is not None:
        rows = rows.transpose(0, *(i + 1 for i in order))
    if column.null_count:
        null = _to_numpy(column.is_null())
        return object_array([None if null[i] else rows[i, ...] for i in range(len(rows))])
    return rows


def _variable_to_numpy(column: pa.ExtensionArray) -> Array:
    storage = column.storage
    data, shapes = storage.field("data"), storage.field("shape")
    flat, starts = _to_numpy(data.values), _to_numpy(data.offsets)
    dims, bounds = _to_numpy(shapes.values), _to_numpy(shapes.offsets)
    null = _to_numpy(column.is_null()) if column.null_count else None
    return object_array(
        [
            None
            if null is not None and null[i]
            else flat[starts[i] : starts[i + 1]].reshape(dims[bounds[i] : bounds[i + 1]])
            for i in range(len(column))
        ]
    )


def object_array(values: Sequence[Any]) -> Array:
    """An object array with these elements, even if they are arrays of one shape."""
    result: Array = np.empty(len(values), object)
    for i, value in enumerate(values):
        result[i] = value
    return result


def tensors_to_list(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """The arrays of all rows, writable ones."""
    rows = tensors_to_numpy(column)
    if rows.dtype == object:
        return [None if row is None else row.copy() for row in rows]
    if not rows.flags.writeable:
        rows = rows.copy()
    return [rows[i, ...] for i in range(len(rows))] if rows.ndim == 1 else list(rows)
