"""Tensor columns of Arrow tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from aktis.data._blocks.tensors import (
    ArrowVariableShapedTensorArray,
    ArrowVariableShapedTensorType,
    fixed_tensor_type,
    tensor_column,
    tensors_to_numpy,
)

__all__ = [
    "ArrowTensorArray",
    "ArrowTensorType",
    "ArrowVariableShapedTensorArray",
    "ArrowVariableShapedTensorType",
    "column_needs_tensor_extension",
]


class _FixedType(type):
    def __call__(cls, shape: Sequence[int], dtype: Any) -> Any:
        value_type = dtype if isinstance(dtype, pa.DataType) else pa.from_numpy_dtype(np.dtype(dtype))
        return fixed_tensor_type(value_type, shape)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, pa.FixedShapeTensorType)


class ArrowTensorType(metaclass=_FixedType):
    """The type of columns whose arrays have one shape: Arrow's own ``arrow.fixed_shape_tensor``.

    ``ArrowTensorType(shape, dtype)`` gives a ``pyarrow.FixedShapeTensorType``, and those are instances of this class:
    ``shape`` is that of the array in each row, ``dtype`` the Arrow type or numpy dtype of the elements.
    """


class _FixedArray(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, pa.FixedShapeTensorArray)


class ArrowTensorArray(metaclass=_FixedArray):
    """Columns whose arrays have one shape: ``pyarrow.FixedShapeTensorArray``, which are instances of this class."""

    @staticmethod
    def from_numpy(arrays: np.ndarray[Any, Any] | Sequence[np.ndarray[Any, Any] | None]) -> pa.ExtensionArray:
        """A column of arrays.

        Args:
            arrays: one array whose first axis counts the rows, or one array per row. If their shapes differ, or some are None,
                the column is an :class:`ArrowVariableShapedTensorArray`.
        """
        if isinstance(arrays, np.ndarray) and arrays.dtype != object:
            from aktis.data._blocks.tensors import fixed_tensors

            return fixed_tensors(arrays)
        return tensor_column([None if array is None else np.asarray(array) for array in arrays])

    @staticmethod
    def to_numpy(column: pa.Array | pa.ChunkedArray) -> np.ndarray[Any, Any]:
        """One array of all rows; an object array of arrays if shapes differ."""
        return tensors_to_numpy(column)


def column_needs_tensor_extension(series: Any) -> bool:
    """Whether a pandas Series holds arrays as plain objects, so that only a tensor column can take them to Arrow."""
    if series.dtype != object or not len(series):
        return False
    first = next((value for value in series if value is not None), None)
    return isinstance(first, np.ndarray)
