"""What a batch of data is to an estimator: a DataFrame of plain columns, or an array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aktis.air.constants import TENSOR_COLUMN_NAME

if TYPE_CHECKING:
    import pandas


def as_features(frame: pandas.DataFrame, columns: Sequence[Any] | None = None) -> Any:
    """The features in a DataFrame, for an estimator.

    Columns of arrays, as tensors are in a DataFrame, become one column for each number (``image_0``, ``image_1``, ...). Data
    without names (``__value__``) are an array.

    Args:
        frame: The data.
        columns: The columns to use, in this order; numbers for data without names. None: all.

    Raises:
        ValueError: there is no such column, or a column has arrays of unequal shapes.
    """
    import numpy

    if list(frame.columns) == [TENSOR_COLUMN_NAME]:
        values = _matrix(frame[TENSOR_COLUMN_NAME], TENSOR_COLUMN_NAME)
        if values is None:
            values = frame[TENSOR_COLUMN_NAME].to_numpy()
        if columns is None:
            return values
        return values[:, numpy.asarray(_checked(columns, range(values.shape[1])))]
    if columns is not None:
        frame = frame[_checked(columns, frame.columns)]
    return _plain(frame)


def _checked(columns: Sequence[Any], known: Any) -> list[Any]:
    missing = [name for name in columns if name not in known]
    if missing:
        names = ", ".join(map(str, known)) or "none"
        raise ValueError(f"feature_columns names {missing[0]!r}, which the data do not have; they have: {names}")
    return list(columns)


def _plain(frame: pandas.DataFrame) -> pandas.DataFrame:
    import pandas

    parts: list[Any] = []
    for name in frame.columns:
        values = _matrix(frame[name], name)
        if values is not None:
            names = [f"{name}_{index}" for index in range(values.shape[1])]
            parts.append(pandas.DataFrame(values, index=frame.index, columns=names))
        else:
            parts.append(frame[name])
    if all(part is not None and getattr(part, "ndim", 1) == 1 for part in parts):
        return frame
    return pandas.concat(parts, axis=1)


def is_array(value: Any) -> bool:
    """Whether it is an array (also one in a class of its own, as tensors in DataFrames are), or a list."""
    return isinstance(value, list) or (hasattr(value, "__array__") and getattr(value, "ndim", 1) > 0)


def _matrix(column: Any, name: Any) -> Any:
    """The arrays in a column, a flat row for each; None if it has none."""
    import numpy

    if not len(column) or not is_array(column.iloc[0]):
        return None
    values = [numpy.asarray(value) for value in column]
    if len({value.shape for value in values}) > 1:
        shapes = sorted({value.shape for value in values})
        raise ValueError(f"the arrays in column {name!r} must have equal shapes, but have {shapes[0]} and {shapes[1]}")
    return numpy.stack(values).reshape(len(values), -1)
