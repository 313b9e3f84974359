"""What every logger does with results: flatten them, and turn odd values into what files and other tools take.

Nothing here imports numpy or torch: their values are known by what they can do.
"""

from __future__ import annotations

import json
import math
import numbers
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["SafeFallbackEncoder", "flat_metrics", "flatten_dict", "safe_str", "to_json", "to_number", "to_plain"]


def flatten_dict(nested: Mapping[Any, Any], delimiter: str = "/", skip: Iterable[str] = ()) -> dict[str, Any]:
    """Make ``{"a": {"b": 1}}`` into ``{"a/b": 1}``. Dictionaries without keys disappear.

    Args:
        nested: What to flatten; it is not changed.
        delimiter: What joins keys.
        skip: Keys of the first level to leave out.

    Returns:
        Keys of the first level first, then those of the second, and so on (the order of the columns of ``progress.csv``).
    """
    flat: dict[str, Any] = {}
    waiting: deque[tuple[str, Mapping[Any, Any], tuple[int, ...]]] = deque()
    for key, value in nested.items():
        if key in skip:
            continue
        if isinstance(value, dict):
            waiting.append((f"{key}{delimiter}", value, (id(nested),)))
        else:
            flat[key if type(key) is str else str(key)] = value
    while waiting:
        prefix, level, outer = waiting.popleft()
        if id(level) in outer:  # a dictionary that holds itself
            continue
        for key, value in level.items():
            if isinstance(value, dict):
                waiting.append((f"{prefix}{key}{delimiter}", value, (*outer, id(level))))
            else:
                flat[f"{prefix}{key}"] = value
    return flat


def safe_str(value: Any) -> str:
    """``str(value)``, also of objects that cannot say what they are."""
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"


class SafeFallbackEncoder(json.JSONEncoder):
    """JSON of results: NaN and infinities are written as such, numpy values as Python's, anything else as its ``str``."""

    def __init__(self, nan_str: str = "null", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.nan_str = nan_str

    def default(self, value: Any) -> Any:
        return _fallback(value)


def _fallback(value: Any) -> Any:
    """What JSON gets for an object that it does not know."""
    if hasattr(value, "dtype") and hasattr(value, "tolist"):  # numpy, torch
        try:
            plain = value.tolist()
        except Exception:
            return safe_str(value)
        return safe_str(value) if plain is value else plain
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, Mapping):
        return dict(value)
    return safe_str(value)


_encode = SafeFallbackEncoder().encode


def to_json(value: Any) -> str:
    """One line of JSON, whatever the value holds."""
    try:
        return _encode(value)
    except (
        TypeError,
        ValueError,
        OverflowError,
        RecursionError,
    ):  # keys that JSON has not, or a value that holds itself
        return _encode(to_plain(value))


def to_plain(value: Any, _inside: tuple[int, ...] = ()) -> Any:
    """The same in dictionaries with strings as keys, lists, numbers, strings, booleans and None."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if id(value) in _inside or len(_inside) > 100:
        return "..."
    if isinstance(value, Mapping):
        inside = (*_inside, id(value))
        return {safe_str(key): to_plain(item, inside) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        inside = (*_inside, id(value))
        return [to_plain(item, inside) for item in value]
    if isinstance(value, str):
        return str(value)
    plain = _fallback(value)
    return plain if isinstance(plain, str) else to_plain(plain, (*_inside, id(value)))


def to_number(value: Any) -> float | None:
    """The value as a float when it is a number (numpy's too, and arrays of one number), else None."""
    kind = type(value)
    if kind is float:
        return value  # type: ignore[no-any-return]
    if kind is int or kind is bool or isinstance(value, numbers.Real):
        try:
            return float(value)
        except (OverflowError, ValueError):  # an int beyond floats
            return math.inf if value > 0 else -math.inf
    if hasattr(value, "dtype") and hasattr(value, "item") and getattr(value, "size", None) == 1:
        try:
            return float(value.item())
        except (TypeError, ValueError):
            return None
    return None


def flat_metrics(result: Mapping[Any, Any], skip: Iterable[str] = ("config",)) -> dict[str, float]:
    """Every number of a result, flat; booleans count as 0 and 1."""
    found: dict[str, float] = {}
    for key, value in flatten_dict(result, skip=skip).items():
        number = to_number(value)
        if number is not None:
            found[key] = number
    return found
