"""Naming types: what ``cast`` and ``return_dtype=`` understand."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import numpy as np
import pyarrow as pa

_PYTHON = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.binary(),
    datetime.datetime: pa.timestamp("us"),
    datetime.date: pa.date32(),
    datetime.time: pa.time64("us"),
    datetime.timedelta: pa.duration("us"),
}
_ALIASES = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bytes": pa.binary(), "boolean": pa.bool_()}


def arrow_type(spec: Any) -> pa.DataType:
    """The Arrow type that ``spec`` stands for.

    ``spec`` is an Arrow type, a name of one (``"int32"``, ``"string"``, ``"timestamp[us]"``), a Python type (``int``,
    ``str``, ``datetime.date`` ...), a numpy type, or a ``DataType`` (anything with ``to_arrow_dtype()``).
    """
    if isinstance(spec, pa.DataType):
        return spec
    if hasattr(spec, "to_arrow_dtype"):
        return spec.to_arrow_dtype()
    if isinstance(spec, type) and spec in _PYTHON:
        return _PYTHON[spec]
    if spec is decimal.Decimal:
        raise TypeError("Decimal alone does not say how many digits: give pyarrow.decimal128(precision, scale)")
    if isinstance(spec, str):
        known = _ALIASES.get(spec)
        if known is not None:
            return known
        try:
            return pa.type_for_alias(spec)
        except ValueError:
            pass
    try:
        return pa.from_numpy_dtype(np.dtype(spec))
    except (TypeError, ValueError, NotImplementedError):
        raise TypeError(
            f"{spec!r} names no type. Give a pyarrow type such as pyarrow.int64(), its name ('int64', 'string', "
            f"'timestamp[us]'), a Python type (int, str, ...) or a numpy type"
        ) from None


def is_text(type_: pa.DataType) -> bool:
    """Whether values of the type are strings."""
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_) or str(type_) == "string_view")


def is_list(type_: pa.DataType) -> bool:
    """Whether values of the type are lists."""
    t = pa.types
    return bool(t.is_list(type_) or t.is_large_list(type_) or t.is_fixed_size_list(type_))
