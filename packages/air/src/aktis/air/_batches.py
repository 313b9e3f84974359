"""Batches from one format to another: DataFrames, arrays, dicts of arrays, Arrow tables.

An array alone is a column called ``__value__`` where columns need names. Arrays of more dimensions are columns of arrays in
DataFrames, and lists of fixed size in Arrow. Libraries are imported when something of theirs is to be made.
"""

from __future__ import annotations

import sys
from typing import Any

VALUE = "__value__"


def kind_of(data: Any) -> str:
    """ "pandas", "numpy", "dict" or "arrow". Raises TypeError for anything else."""
    pandas, numpy, arrow = (sys.modules.get(name) for name in ("pandas", "numpy", "pyarrow"))
    if pandas is not None and isinstance(data, pandas.DataFrame):
        return "pandas"
    if numpy is not None and isinstance(data, numpy.ndarray):
        return "numpy"
    if arrow is not None and isinstance(data, arrow.Table):
        return "arrow"
    if isinstance(data, dict):
        return "dict"
    raise TypeError(
        f"a batch must be a pandas.DataFrame, a numpy.ndarray, a dict of arrays or a pyarrow.Table, not {type(data).__name__}"
    )


def to_pandas(data: Any) -> Any:
    """The batch as a DataFrame."""
    pandas = _need("pandas")
    kind = kind_of(data)
    if kind == "pandas":
        return data
    columns = {VALUE: data} if kind == "numpy" else _columns(data)
    return pandas.DataFrame({name: _as_column(values) for name, values in columns.items()})


def _as_column(values: Any) -> Any:
    # A DataFrame's column has one dimension: of more, each row is an array.
    return list(values) if getattr(values, "ndim", 1) > 1 else values


def _columns(data: Any) -> dict[str, Any]:
    """The columns of a table, or of a dict, as arrays."""
    kind = kind_of(data)
    if kind == "pandas":
        return {str(name): _stacked(data[name].to_numpy()) for name in data.columns}
    if kind == "arrow":
        return {name: _arrow_column(data.column(name)) for name in data.column_names}
    return dict(data)


def to_numpy(data: Any) -> Any:
    """The batch as an array, if it is one, or a table of one column; else as a dict of arrays."""
    numpy = _need("numpy")
    kind = kind_of(data)
    if kind == "numpy":
        return data
    columns = _columns(data)
    if kind == "dict":
        return {name: numpy.asarray(values) for name, values in columns.items()}
    return next(iter(columns.values())) if len(columns) == 1 else columns


def _stacked(values: Any) -> Any:
    """A column of arrays of one shape as one array."""
    import numpy

    if values.dtype != object or not len(values) or not isinstance(values[0], (numpy.ndarray, list)):
        return values
    try:
        return numpy.stack([numpy.asarray(value) for value in values])
    except ValueError:  # of different shapes
        return values


def _arrow_column(column: Any) -> Any:
    combined = column.combine_chunks()
    if hasattr(combined, "to_numpy_ndarray"):  # pyarrow's tensors
        return combined.to_numpy_ndarray()
    return _stacked(combined.to_numpy(zero_copy_only=False))


def convert(data: Any, kind: str) -> Any:
    """The batch in the format that :func:`kind_of` names. A dict of one array may stand for that array."""
    if kind == "pandas":
        return to_pandas(data)
    if kind == "arrow":
        return _to_arrow(data)
    if kind == "numpy":
        values = to_numpy(data)
        return next(iter(values.values())) if isinstance(values, dict) and len(values) == 1 else values
    return {VALUE: data} if kind_of(data) == "numpy" else _columns(data)


def _to_arrow(data: Any) -> Any:
    arrow = _need("pyarrow")
    if kind_of(data) == "arrow":
        return data
    columns = {VALUE: data} if kind_of(data) == "numpy" else _columns(data)
    return arrow.table({name: _arrow_array(arrow, column) for name, column in columns.items()})


def _arrow_array(arrow: Any, values: Any) -> Any:
    values = _need("numpy").asarray(values)
    array = arrow.array(values.reshape(-1))
    for size in reversed(values.shape[1:]):
        array = arrow.FixedSizeListArray.from_arrays(array, size)
    return array


def _need(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        extra = 'pip install "aktis-air[pandas]"' if name == "pandas" else f"pip install {name}"
        raise ModuleNotFoundError(f"this predictor computes on {name}, which is not installed: {extra}") from error
