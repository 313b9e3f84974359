"""Nested data in words: shapes, types and ranges instead of numbers."""

from __future__ import annotations

import pprint
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["summarize"]


def summarize(obj: Any) -> str:
    """A text about data: of an array its shape, type, range and mean.

    >>> print(summarize({"obs": np.zeros((2, 3))}))
    {'obs': 'array((2, 3), float64, min=0.0, max=0.0, mean=0.0)'}

    Args:
        obj: Dicts, lists and tuples of arrays, and anything else.
    """
    return pprint.pformat(_summary(obj), width=120)


def _summary(obj: Any) -> Any:
    if isinstance(obj, Mapping):
        return {key: _summary(value) for key, value in obj.items()}
    if isinstance(obj, tuple) and hasattr(obj, "_fields"):
        return {key: _summary(value) for key, value in zip(obj._fields, obj, strict=True)}
    if isinstance(obj, list | tuple):
        if len(obj) > 3:  # of many, the first and how many
            return [_summary(obj[0]), f"... {len(obj)} entries"]
        return type(obj)(_summary(value) for value in obj)
    if hasattr(obj, "shape") and hasattr(obj, "dtype"):
        return _of_array(np.asarray(obj.detach().cpu() if hasattr(obj, "detach") else obj))
    return obj


def _of_array(array: np.ndarray[Any, np.dtype[Any]]) -> str:
    if array.dtype == object or not array.size:
        return f"array({array.shape}, {array.dtype})"
    low, high, mean = (round(float(value), 3) for value in (array.min(), array.max(), array.mean()))
    return f"array({array.shape}, {array.dtype}, min={low}, max={high}, mean={mean})"
