"""Checks of what users write into search spaces."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any


def is_number(value: Any) -> bool:
    """Whether it is a number (of Python or numpy) other than not-a-number."""
    if isinstance(value, (bool, complex)):
        return False
    try:
        return isinstance(value, (int, float)) or (hasattr(value, "__float__") and float(value) == value)
    except (TypeError, ValueError):
        return False


def number(value: Any, name: str) -> float:
    """The value as a Python number, ints kept; TypeError, ValueError for what is none."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, str):
        hint = ""
        try:
            hint = (
                f". YAML reads numbers such as 1e-4 as text: write {float(value)!r} there, as 1.0e-4" if value else ""
            )
        except ValueError:
            pass
        raise TypeError(f"{name} must be a number, got the text {value!r}{hint}")
    if not is_number(value):
        raise TypeError(f"{name} must be a number, got {value!r} ({type(value).__name__})")
    if value != value:
        raise ValueError(f"{name} must be a number, got nan")
    return value if isinstance(value, int) else float(value)


def whole(value: Any, name: str) -> int:
    given = number(value, name)
    if not math.isfinite(given) or given != int(given):
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    return int(given)


def check_order(lower: float, upper: float) -> None:
    if lower > upper:
        raise ValueError(f"the lower bound {lower!r} is above the upper bound {upper!r}")


def check_positive(lower: float) -> None:
    if not lower > 0:
        raise ValueError(
            f"a logarithmic scale needs a lower bound above 0, got {lower!r}: give the bounds themselves, not their logarithms"
        )


def decimal_places(q: float) -> int:
    """How many decimals multiples of ``q`` have at most."""
    if isinstance(q, int):
        return 0
    mantissa, _, exponent = repr(q).partition("e")
    return max(len(mantissa.partition(".")[2].rstrip("0")) - int(exponent or 0), 0)


def same(value: Any, other: Any) -> bool:
    if value is other:
        return True
    try:
        return bool(value == other)
    except Exception:  # arrays have many truths
        return False


def takes_one(func: Callable[..., Any]) -> bool:
    """Whether the function takes the specification, rather than nothing."""
    try:
        signature = inspect.signature(func)
    except ValueError:  # built into C, where random functions take nothing
        return False
    candidates: tuple[tuple[Any, ...], ...] = (({},), ())
    for arguments in candidates:
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return bool(arguments)
    raise ValueError(f"a function of a search space takes no argument or one, got {func!r} with {signature}")
