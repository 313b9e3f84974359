"""Why a value is not in a space, in a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from aktis.rllib.utils.spaces.repeated import Repeated


def explain_mismatch(space: spaces.Space[Any], value: Any, where: str = "") -> str | None:
    """Say what is wrong with ``value`` for ``space``: None if nothing is.

    Args:
        space: Any space.
        value: What should be in it.
        where: Path of the value in a larger one, such as ``['camera'][0]``, for the message.

    Returns:
        What is wrong, naming the part and the rule, without a full stop; None if nothing is. Another float or
            integer type than the space's is no mistake, nor are numbers for arrays without axes: they are converted.
    """
    at = f"at {where}: " if where else ""
    if isinstance(space, spaces.Dict):
        return _explain_dict(space, value, where, at)
    if isinstance(space, spaces.Tuple):
        if not isinstance(value, tuple | list):
            return f"{at}a tuple is needed, and it is {_kind(value)}"
        if len(value) != len(space.spaces):
            return f"{at}a tuple of {len(space.spaces)} is needed, and it has {len(value)}"
        return _first(explain_mismatch(s, v, f"{where}[{i}]") for i, (s, v) in enumerate(zip(space.spaces, value)))
    if isinstance(space, Repeated):
        if not isinstance(value, tuple | list):
            return f"{at}a list is needed, and it is {_kind(value)}"
        if len(value) > space.max_len:
            return f"{at}at most {space.max_len} elements are allowed, and there are {len(value)}"
        return _first(explain_mismatch(space.child_space, v, f"{where}[{i}]") for i, v in enumerate(value))
    if isinstance(space, spaces.Box):
        return _explain_box(space, value, at)
    if isinstance(space, spaces.Discrete):
        return _explain_discrete(space, value, at)
    return _explain_other(space, value, at)


def _first(problems: Any) -> str | None:
    return next((problem for problem in problems if problem), None)


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and type {value.dtype}"
    return f"{type(value).__name__}"


def _explain_dict(space: spaces.Dict, value: Any, where: str, at: str) -> str | None:
    if not isinstance(value, dict):
        return f"{at}a dict with the keys {sorted(map(str, space.spaces))} is needed, and it is {_kind(value)}"
    missing = [key for key in space.spaces if key not in value]
    unknown = [key for key in value if key not in space.spaces]
    if missing or unknown:
        parts = [f"missing {missing}"] * bool(missing) + [f"unknown {unknown}"] * bool(unknown)
        return f"{at}the keys do not fit: {', '.join(parts)}"
    return _first(explain_mismatch(child, value[key], f"{where}[{key!r}]") for key, child in space.spaces.items())


def _explain_box(space: spaces.Box, value: Any, at: str) -> str | None:
    try:
        array = np.asarray(value)
    except ValueError:
        return (
            f"{at}an array of shape {space.shape} is needed, and it is {_kind(value)} with parts of different lengths"
        )
    if array.dtype.kind not in "fiub":
        return f"{at}an array of numbers is needed, and it is {_kind(value)} of type {array.dtype}"
    if array.shape != space.shape:
        return f"{at}shape {space.shape} is needed, and it is {array.shape}"
    if array.dtype.kind == "f" and space.dtype.kind != "f":
        return f"{at}type {space.dtype} is needed, and it is {array.dtype}"
    if array.dtype.kind == "f" and np.isnan(array).any():
        return f"{at}it has NaN at {_place(np.isnan(array))}"
    # A float64 that rounds to the bound in the type of the space is within it.
    rounded = array.astype(space.dtype) if array.dtype.kind == "f" else array
    for wrong, bound, words in ((rounded < space.low, space.low, "below"), (rounded > space.high, space.high, "above")):
        if wrong.any():
            place = tuple(np.argwhere(wrong)[0])
            index = f" at {[int(i) for i in place]}" if place else ""
            return f"{at}{array[place]!s}{index} is {words} the bound {bound[place]!s}"
    return None


def _place(wrong: Any) -> list[int]:
    return [int(i) for i in np.argwhere(wrong)[0]]


def _explain_discrete(space: spaces.Discrete, value: Any, at: str) -> str | None:
    array = np.asarray(value)
    if array.dtype.kind not in "iub" or array.size != 1:
        return f"{at}an integer is needed, and it is {_kind(value)} ({value!r:.100})"
    if not space.start <= int(array.item()) < space.start + space.n:
        return f"{at}{int(array.item())} is not one of {space.start} to {space.start + space.n - 1}"
    return None


def _explain_other(space: spaces.Space[Any], value: Any, at: str) -> str | None:
    problem = f"{at}{value!r:.200} is not in {space}"
    try:
        return None if space.contains(value) else problem
    except Exception as error:  # a space of the user's own, or one whose comparisons the value breaks
        return f"{problem} ({type(error).__name__}: {error})"
