"""What SampleBatch does with one column: an array, or a nested structure (dict, tuple) of arrays.

A column has one row for each time step. Pure functions. NumPy arrays take the short way; tensors of torch or
TensorFlow are recognised by their type, without importing either.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Column = Any
"""An array (NumPy, torch or TensorFlow) or a dict or tuple of columns."""


def map_column(function: Callable[..., Any], first: Column, *others: Column) -> Column:
    """`function` of the leaves of one or several columns of the same structure."""
    if isinstance(first, dict):
        return {key: map_column(function, first[key], *(other[key] for other in others)) for key in first}
    if isinstance(first, tuple):
        parts = [map_column(function, *leaves) for leaves in zip(first, *others, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)
    return function(first, *others)


def leaves(column: Column) -> list[Any]:
    """The arrays of a column, in order."""
    if isinstance(column, dict):
        return [leaf for part in column.values() for leaf in leaves(part)]
    if isinstance(column, tuple):
        return [leaf for part in column for leaf in leaves(part)]
    return [column]


def first_leaf(column: Column) -> Any:
    """The first array of a column (None for an empty structure)."""
    while isinstance(column, (dict, tuple)):
        if not column:
            return None
        column = next(iter(column.values())) if isinstance(column, dict) else column[0]
    return column


def rows_of(column: Column, axis: int = 0) -> int:
    """How many rows a column has; 0 for a number or an unknown size (a symbolic tensor)."""
    shape = getattr(first_leaf(column), "shape", None)
    if shape is None or len(shape) <= axis:
        return 0
    return int(shape[axis] or 0)


def as_column(value: Any, objects: bool = False) -> Column:
    """Lists become arrays, lists of observations that are dicts or tuples become a dict or tuple of arrays.

    Args:
        value: A column, or a list with one element for each row.
        objects: The rows are Python objects (infos): make an object array of them.
    """
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, list):
        if objects:
            return object_array(value)
        return stack_rows(value)
    if isinstance(value, (dict, tuple)):
        return map_column(lambda leaf: np.asarray(leaf) if isinstance(leaf, list) else leaf, value)
    return value


def object_array(values: Sequence[Any]) -> np.ndarray:
    """A one-dimensional array of Python objects, whatever they are."""
    out: np.ndarray = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        out[index] = value
    return out


def stack_rows(values: list[Any]) -> Column:
    """One column of a list of rows; rows that are structures become a structure of arrays."""
    first = values[0] if values else None
    if isinstance(first, dict):
        if not first:
            return object_array(values)
        return {key: stack_rows([value[key] for value in values]) for key in first}
    if isinstance(first, tuple) and any(isinstance(part, (dict, tuple, np.ndarray)) for part in first):
        return tuple(stack_rows([value[i] for value in values]) for i in range(len(first)))
    if hasattr(first, "__module__") and type(first).__module__.startswith(("torch", "tensorflow")):
        return _framework_of(first).stack(values)
    return np.asarray(values)


def take(column: Column, index: Any, axis: int = 0) -> Column:
    """Rows `index` (a slice, an array of indices, or a number) of a column."""
    if isinstance(column, np.ndarray):
        return column[index] if axis == 0 else column[:, index]
    if isinstance(column, (dict, tuple)):
        return map_column(lambda leaf: take(leaf, index, axis), column)
    if getattr(column, "shape", None) is None or len(column.shape) <= axis:
        return column
    if isinstance(index, np.ndarray) and type(column).__module__.startswith("tensorflow"):
        return sys.modules["tensorflow"].gather(column, index, axis=axis)
    return column[index] if axis == 0 else column[:, index]


def concat(columns: Sequence[Column], axis: int = 0) -> Column:
    """Columns of the same structure, one after the other.

    Raises:
        ValueError: Their structures or shapes differ.
    """
    first = columns[0]
    if isinstance(first, dict):
        if any(not isinstance(column, dict) or column.keys() != first.keys() for column in columns):
            raise ValueError(f"structures differ: {[_structure(column) for column in columns]}")
        return {key: concat([column[key] for column in columns], axis) for key in first}
    if isinstance(first, tuple):
        if any(not isinstance(column, tuple) or len(column) != len(first) for column in columns):
            raise ValueError(f"structures differ: {[_structure(column) for column in columns]}")
        return tuple(concat([column[i] for column in columns], axis) for i in range(len(first)))
    if any(isinstance(column, (dict, tuple)) for column in columns):
        raise ValueError(f"structures differ: {[_structure(column) for column in columns]}")
    if type(first).__module__.startswith("torch"):
        return sys.modules["torch"].cat(list(columns), dim=axis)
    if type(first).__module__.startswith("tensorflow"):
        return sys.modules["tensorflow"].concat(list(columns), axis=axis)
    return np.concatenate(columns, axis=axis)


def zero_pad(column: Column, positions: np.ndarray, total: int) -> Column:
    """A column of `total` rows: row i of `column` at `positions[i]`, zeros (None for Python objects) elsewhere."""
    if isinstance(column, (dict, tuple)):
        return map_column(lambda leaf: zero_pad(leaf, positions, total), column)
    if type(column).__module__.startswith("torch"):
        padded = column.new_zeros((total, *column.shape[1:]))
        padded[positions] = column
        return padded
    array = np.asarray(column)
    out = (
        np.zeros((total, *array.shape[1:]), dtype=array.dtype)
        if array.dtype != object
        else np.full(total, None, dtype=object)
    )
    out[positions] = array
    return out


def copied(column: Column) -> Column:
    """A column with arrays of its own."""
    if isinstance(column, np.ndarray):
        return column.copy()
    if isinstance(column, (dict, tuple)):
        return map_column(copied, column)
    return column.clone() if hasattr(column, "clone") else column


def nbytes(column: Column) -> int:
    """The memory of a column's arrays (of Python objects: their pointers and, for bytes, themselves)."""
    total = 0
    for leaf in leaves(column):
        if isinstance(leaf, np.ndarray):
            total += leaf.nbytes
            if leaf.dtype == object:
                total += sum(len(item) for item in leaf.ravel() if isinstance(item, bytes))
        elif hasattr(leaf, "element_size"):
            total += leaf.element_size() * leaf.nelement()
        else:
            total += sys.getsizeof(leaf)
    return total


def to_torch(column: Column, device: Any = None) -> Column:
    """Tensors on `device`: float64 as float32; arrays of objects or strings stay what they are."""
    import torch

    def convert(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            return leaf if device is None else leaf.to(device)
        array = np.asarray(leaf)
        if array.dtype.kind not in "biuf":
            return leaf
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        elif array.dtype.kind == "u" and array.dtype.itemsize > 1:
            array = array.astype(np.int64)
        if not array.flags.writeable or any(stride < 0 for stride in array.strides):
            array = array.copy()
        tensor = torch.from_numpy(array) if array.ndim else torch.tensor(array.item())
        return tensor if device is None else tensor.to(device, non_blocking=True)

    return map_column(convert, column)


def to_tensorflow(column: Column, device: Any = None) -> Column:
    """Tensors of TensorFlow: float64 as float32; arrays of objects stay what they are."""
    import contextlib

    import tensorflow as tf

    def convert(leaf: Any) -> Any:
        if isinstance(leaf, (tf.Tensor, tf.Variable)):
            return leaf
        array = np.asarray(leaf)
        if array.dtype.kind not in "biuf":
            return leaf
        return tf.convert_to_tensor(array.astype(np.float32) if array.dtype == np.float64 else array)

    with tf.device(device) if device else contextlib.nullcontext():
        return map_column(convert, column)


def _framework_of(value: Any) -> Any:
    return sys.modules["torch" if type(value).__module__.startswith("torch") else "tensorflow"]


def _structure(column: Column) -> Any:
    if isinstance(column, dict):
        return {key: _structure(part) for key, part in column.items()}
    if isinstance(column, tuple):
        return tuple(_structure(part) for part in column)
    return "array"
