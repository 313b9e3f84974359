"""Python values of Arrow columns, and Arrow columns of Python values."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import types as pat

from aktis.data._blocks.objects import decode_objects, encode_objects, is_object
from aktis.data._blocks.tensors import can_be_tensor, is_tensor, tensor_column, tensors_to_list

# ---- from Arrow


def to_list(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """The values of a column as Python objects; faster than ``to_pylist``, and right for tensors and objects."""
    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks == 1:
            return _array_to_list(column.chunk(0))
        return [value for chunk in column.chunks for value in _array_to_list(chunk)]
    return _array_to_list(column)


def _array_to_list(array: pa.Array) -> list[Any]:
    kind = array.type
    if is_object(kind):
        return decode_objects(array)
    if is_tensor(kind):
        return tensors_to_list(array)
    if array.null_count == 0 and (pat.is_integer(kind) or pat.is_floating(kind) or _is_day_or_micros(kind)):
        values: list[Any] = array.to_numpy(zero_copy_only=False).tolist()
        return values
    if pat.is_list(kind) or pat.is_large_list(kind):
        return _lists_to_list(array)
    if pat.is_struct(kind):
        return _structs_to_list(array)
    if pat.is_dictionary(kind):
        words = [*to_list(array.dictionary), None]
        codes = array.indices.fill_null(-1) if array.null_count else array.indices
        return [words[code] for code in codes.to_numpy().tolist()]
    plain: list[Any] = array.to_pylist()
    return plain


def _is_day_or_micros(kind: pa.DataType) -> bool:
    return bool(pat.is_date32(kind) or (pat.is_timestamp(kind) and kind.tz is None and kind.unit == "us"))


def _lists_to_list(array: pa.Array) -> list[Any]:
    offsets = array.offsets.to_numpy()
    if not len(array):
        return []
    start = int(offsets[0])
    values = to_list(array.values.slice(start, int(offsets[-1]) - start))
    bounds = (offsets - start).tolist()
    rows: list[Any] = [values[a:b] for a, b in zip(bounds, bounds[1:])]
    return _with_nulls(rows, array)


def _structs_to_list(array: pa.Array) -> list[Any]:
    names = [field.name for field in array.type]
    if not names or len(set(names)) < len(names):
        plain: list[Any] = array.to_pylist()
        return plain
    rows = dict_maker(tuple(names))(*(to_list(array.field(i)) for i in range(len(names))))
    return _with_nulls(rows, array)


def _with_nulls(rows: list[Any], array: pa.Array) -> list[Any]:
    if array.null_count:
        for i in np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)).tolist():
            rows[i] = None
    return rows


@lru_cache(maxsize=256)
def dict_maker(names: tuple[str, ...]) -> Callable[..., list[dict[str, Any]]]:
    """A function from columns (lists of equal length) to rows (dicts with these keys).

    A dict display in a comprehension takes half the time of ``dict(zip(names, row))``, so one is compiled for the names.
    """
    columns = [f"c{i}" for i in range(len(names))]
    values = [f"v{i}" for i in range(len(names))]
    items = ", ".join(f"{name!r}: {value}" for name, value in zip(names, values))
    joined = columns[0] if len(names) == 1 else f"zip({', '.join(columns)})"
    source = f"lambda {', '.join(columns)}: [{{{items}}} for {', '.join(values)} in {joined}]"
    make: Callable[..., list[dict[str, Any]]] = eval(source, {"__builtins__": {"zip": zip}})
    return make


# ---- to Arrow

_NONE = type(None)
_PLAIN: dict[type, pa.DataType] = {
    str: pa.string(),
    bytes: pa.binary(),
    bool: pa.bool_(),
    datetime.date: pa.date32(),
    datetime.timedelta: pa.duration("us"),
}
_FAILURES = (
    pa.ArrowInvalid,
    pa.ArrowTypeError,
    pa.ArrowNotImplementedError,
    OverflowError,
    UnicodeError,
    TypeError,
    ValueError,
)


def plain_column(values: Sequence[Any], types: set[type]) -> pa.Array | pa.ChunkedArray | None:
    """Values that are all of one simple type (``types``: the set of their types), or None, in an Arrow column from which
    each comes back as it was. Gives None where there is no such column."""
    if len(types) == 1:
        (kind,) = types
        if kind is int:
            try:
                return pa.array(np.fromiter(values, np.int64, len(values)))
            except OverflowError:
                return None
        if kind is float:
            return pa.array(np.fromiter(values, np.float64, len(values)))
        if kind is _NONE:
            return pa.nulls(len(values))
    elif len(types) == 2 and _NONE in types:
        (kind,) = types - {_NONE}
    else:
        return None
    data_type = _PLAIN.get(kind) or (pa.int64() if kind is int else pa.float64() if kind is float else None)
    if kind is datetime.datetime:
        if any(value is not None and (value.tzinfo is not None or value.fold) for value in values):
            return None
        data_type = pa.timestamp("us")
    if data_type is None:
        return None
    try:
        return pa.array(values, data_type)
    except (OverflowError, UnicodeError, pa.ArrowInvalid):
        return None


def item_column(values: Sequence[Any]) -> pa.Array | pa.ChunkedArray:
    """A column of rows that are Python objects: each comes back as it was (numpy scalars as the Python numbers they equal)."""
    types = set(map(type, values))
    plain = plain_column(values, types)
    if plain is not None:
        return plain
    if len(types) == 1:
        (kind,) = types
        if issubclass(kind, (np.bool_, np.integer, np.floating)) and can_be_tensor(np.dtype(kind)):
            return pa.array(np.array(values))
    return encode_objects(values)


def value_column(values: Sequence[Any]) -> pa.Array | pa.ChunkedArray:
    """A column of a table with these values: of an Arrow type if there is one, else of objects."""
    types = set(map(type, values))
    plain = plain_column(values, types)
    if plain is not None:
        return plain
    missing = {t for t in types if t is _NONE or t.__name__ in ("NAType", "NaTType")}
    if len(missing) > (_NONE in missing):
        values = [None if type(value) in missing else value for value in values]
        missing = {_NONE}
        return value_column(values)
    kinds = types - missing
    try:
        return _inferred(values, kinds)
    except _FAILURES:
        return encode_objects(values)


def _inferred(values: Sequence[Any], kinds: set[type]) -> pa.Array | pa.ChunkedArray:
    if all(issubclass(kind, np.ndarray) for kind in kinds):
        return _arrays(values)
    if all(_is_number(kind) for kind in kinds):
        if len(kinds) == 1 and next(iter(kinds)).__module__ == "numpy":
            (kind,) = kinds
            return pa.array(values, pa.from_numpy_dtype(np.dtype(kind)))
        if any(issubclass(kind, (float, np.floating)) for kind in kinds):
            return pa.array([None if value is None else float(value) for value in values], pa.float64())
        return pa.array([None if value is None else int(value) for value in values], pa.int64())
    if any(kind.__name__ == "TensorArrayElement" for kind in kinds):
        return value_column([value.to_numpy() if hasattr(value, "to_numpy") else value for value in values])
    if len(kinds) > 1 and not kinds <= {list, tuple} and not all(issubclass(kind, dict) for kind in kinds):
        return encode_objects(values)
    kind = next(iter(kinds))
    if issubclass(kind, (set, frozenset)):
        return encode_objects(values)
    if kind is datetime.datetime and len({value.tzinfo is None for value in values if value is not None}) > 1:
        return encode_objects(values)
    if kind.__module__.startswith("pandas"):
        import pandas as pd

        return pa.Array.from_pandas(pd.Series(list(values)))
    return pa.array(values)


def _is_number(kind: type) -> bool:
    return issubclass(kind, (int, float, np.integer, np.floating)) and not issubclass(kind, (bool, np.bool_))


def _arrays(values: Sequence[Any]) -> pa.Array:
    if all(value is None or can_be_tensor(value.dtype) for value in values):
        return tensor_column(values)
    if all(value is None or (value.ndim == 1 and value.dtype.kind in "UMm") for value in values):
        return pa.array(values)
    return encode_objects(values)
