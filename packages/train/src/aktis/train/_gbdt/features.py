"""Batches of any kind as what models predict on: a matrix where all columns are numbers, else a table with its categories."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy
    import pandas

__all__ = ["FeatureError", "arrow_column", "frame", "kind_of", "matrix", "names_of", "select"]

_NUMERIC = "biuf"  # kinds of numpy: bool, int, unsigned, float


class FeatureError(ValueError):
    """A batch does not have the columns that the model was trained on."""


def kind_of(data: Any) -> str:
    """ "pandas", "numpy", "dict" or "arrow".

    Raises:
        TypeError: it is something else.
    """
    pandas, numpy, arrow = (sys.modules.get(name) for name in ("pandas", "numpy", "pyarrow"))
    if isinstance(data, dict):
        return "dict"
    if numpy is not None and isinstance(data, numpy.ndarray):
        return "numpy"
    if pandas is not None and isinstance(data, pandas.DataFrame):
        return "pandas"
    if arrow is not None and isinstance(data, arrow.Table):
        return "arrow"
    raise TypeError(
        f"a batch must be a pandas.DataFrame, a numpy.ndarray, a dict of arrays or a pyarrow.Table, not {type(data).__name__}"
    )


def names_of(data: Any, kind: str) -> list[Any] | None:
    """The names of the columns; None for an array, which has none."""
    if kind == "numpy":
        return None
    if kind == "arrow":
        return list(data.column_names)
    return list(data) if kind == "dict" else list(data.columns)


def select(names: list[Any] | None, wanted: Sequence[Any] | None, trained: Sequence[str] | None) -> list[Any] | None:
    """Which columns to predict on.

    Args:
        names: What the batch has.
        wanted: What the caller asks for.
        trained: What the model was trained on, as far as it knows.

    Returns:
        Names, or positions for an array; None: all, as they are.

    Raises:
        FeatureError: some are not there; names them, and those that are.
    """
    if names is None:
        return None if wanted is None else list(wanted)
    if wanted is None:
        if not trained or (len(names) == 1 < len(trained) and names[0] not in trained):
            return names  # one column that has another name may be all features in one tensor
        wanted = trained
    else:
        wanted = [names[key] if isinstance(key, int) and key not in names else key for key in wanted]
    if list(wanted) == names:
        return names
    known = set(names)
    missing = [name for name in wanted if name not in known]
    if missing:  # LightGBM writes spaces in names as underscores
        renamed = {name.replace(" ", "_"): name for name in names if isinstance(name, str)}
        wanted = [name if name in known else renamed.get(name, name) for name in wanted]
        missing = [name for name in wanted if name not in known]
    if missing:
        raise FeatureError(
            f"the batch lacks the columns {_listed(missing)}, which the model needs; it has {_listed(names)}. "
            "Say feature_columns=[...] if they have other names here"
        )
    return list(wanted)


def _listed(names: Sequence[Any]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown or "none"


def matrix(data: Any, kind: str, columns: list[Any] | None, dtype: Any) -> Any:
    """The columns side by side, as numbers; None if one of them holds something else, such as categories.

    Args:
        data: A batch.
        kind: What :func:`kind_of` says of it.
        columns: Names, or positions in an array; None: all.
        dtype: A type of numpy; None: the smallest of float32 and float64 that holds all.
    """
    import numpy

    if kind == "numpy":
        array = data.reshape(-1, 1) if data.ndim == 1 else data
        if array.dtype.kind not in _NUMERIC:
            return None
        array = array if columns is None else array[:, columns]
        return array.astype(dtype or numpy.result_type(array.dtype, numpy.float32), copy=False)
    if kind == "pandas" and columns == list(data.columns) and _is_numeric(data):
        array = data.to_numpy()
        if array.dtype.kind in _NUMERIC:
            return array.astype(dtype or numpy.result_type(array.dtype, numpy.float32), copy=False)
    parts = [_column(data, kind, name) for name in columns or []]
    if any(part is None for part in parts):
        return None
    return _side_by_side([part for part in parts if part is not None], dtype)


def _is_numeric(data: pandas.DataFrame) -> bool:
    # One block of one type: to_numpy is a view.
    types = data.dtypes
    return len(types) > 0 and all(getattr(kind, "kind", "O") in _NUMERIC for kind in set(types))


def _column(data: Any, kind: str, name: Any) -> Any:
    import numpy

    if kind == "arrow":
        return arrow_column(data.column(name))
    if kind == "pandas":
        series = data[name]
        if getattr(series.dtype, "kind", "O") in _NUMERIC and not isinstance(series.dtype, numpy.dtype):
            return numpy.asarray(series.to_numpy(dtype="float64", na_value=numpy.nan))  # pandas' own nullable numbers
        values = series.to_numpy()
    else:
        values = numpy.asarray(data[name])
    if values.dtype == object and len(values) and isinstance(values[0], numpy.ndarray):
        try:
            values = numpy.stack(list(values))
        except ValueError:  # of different shapes
            return None
    return values if values.dtype.kind in _NUMERIC else None


def arrow_column(column: Any) -> Any:
    """The values of a column as numbers, missing ones NaN; None if they are something else."""
    import numpy
    import pyarrow

    kind = column.type
    if isinstance(kind, (pyarrow.FixedShapeTensorType, pyarrow.FixedSizeListType)) or isinstance(
        getattr(kind, "storage_type", None), (pyarrow.ListType, pyarrow.FixedSizeListType)
    ):
        return _arrow_tensor(column)
    if pyarrow.types.is_boolean(kind):
        column = column.cast(pyarrow.uint8())
    elif pyarrow.types.is_null(kind):
        return numpy.full(len(column), numpy.nan, numpy.float32)
    elif pyarrow.types.is_decimal(kind):
        column = column.cast(pyarrow.float64())
    elif not (pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)):
        return None
    return numpy.asarray(column.to_numpy())  # without nulls, and in one chunk, this is the memory of the table itself


def _arrow_tensor(column: Any) -> Any:
    import numpy

    array = column.combine_chunks()
    if hasattr(array, "to_numpy_ndarray"):
        return numpy.asarray(array.to_numpy_ndarray())
    storage = getattr(array, "storage", array)
    values = storage.flatten().to_numpy(zero_copy_only=False)
    if not len(array) or len(values) % len(array) or values.dtype.kind not in _NUMERIC:
        return None
    return numpy.asarray(values.reshape(len(array), -1))


def _side_by_side(parts: list[numpy.ndarray], dtype: Any) -> Any:
    import numpy

    if not parts:
        raise FeatureError("there are no columns to predict on")
    if dtype is None:
        dtype = numpy.result_type(numpy.float32, *{part.dtype for part in parts})
    flat = [part.reshape(len(part), -1) if part.ndim != 1 else part for part in parts]
    if len(flat) == 1:
        return flat[0].reshape(len(flat[0]), -1).astype(dtype, copy=False)
    width = sum(1 if part.ndim == 1 else part.shape[1] for part in flat)
    out = numpy.empty((len(flat[0]), width), dtype)
    start = 0
    for part in flat:
        if part.ndim == 1:
            out[:, start] = part
            start += 1
        else:
            out[:, start : start + part.shape[1]] = part
            start += part.shape[1]
    return out


def frame(data: Any, kind: str, columns: list[Any] | None) -> Any:
    """The columns as a DataFrame, with what categories they have."""
    import pandas

    if kind == "numpy":
        array = data if columns is None else data[:, columns]
        return pandas.DataFrame(array)
    if kind == "arrow":
        return (data if columns is None else data.select(columns)).to_pandas()
    if kind == "dict":
        data = pandas.DataFrame({name: data[name] for name in (columns or data)})
    return data if columns is None else data[columns]
