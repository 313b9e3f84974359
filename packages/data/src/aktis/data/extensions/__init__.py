"""Columns whose values are arrays: types for Arrow tables and for pandas frames."""

from __future__ import annotations

from aktis.data.extensions._arrow import (
    ArrowTensorArray,
    ArrowTensorType,
    ArrowVariableShapedTensorArray,
    ArrowVariableShapedTensorType,
    column_needs_tensor_extension,
)
from aktis.data.extensions._pandas import TensorArray, TensorArrayElement, TensorDtype

__all__ = [
    "ArrowTensorArray",
    "ArrowTensorType",
    "ArrowVariableShapedTensorArray",
    "ArrowVariableShapedTensorType",
    "TensorArray",
    "TensorArrayElement",
    "TensorDtype",
    "column_needs_tensor_extension",
]
