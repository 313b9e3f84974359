"""From what an environment observed to the row of numbers that a policy gets: checked, preprocessed, written in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import gymnasium
import numpy as np

__all__ = ["EnvError", "Reader", "explain_mismatch", "refuse_nan"]

Array: TypeAlias = Any  # np.ndarray


class EnvError(ValueError):
    """What an environment gave breaks the rules: the message names the environment, the step and the rule."""


class Reader:
    """Writes observations of one space into arrays.

    Args:
        space: The environment's observation space.
        preprocessor: Flattens observations (``aktis.rllib.models.preprocessors``). None: they are arrays as they are.
    """

    def __init__(self, space: gymnasium.Space[Any], preprocessor: Any = None) -> None:
        self.space = space
        self.preprocessor = preprocessor
        self.identity = preprocessor is None or type(preprocessor).__name__ == "NoPreprocessor"
        target = space if preprocessor is None else preprocessor.observation_space
        self.shape: tuple[int, ...] = tuple(target.shape or ())
        self.dtype: np.dtype[Any] = np.dtype(target.dtype or np.float32)

    def row(self, observation: Any) -> Array:
        """The observation as a new array."""
        if self.identity:
            return np.array(observation, self.dtype)
        return np.array(self.preprocessor.transform(observation), self.dtype)

    def write(self, into: Array, index: int, observation: Any) -> None:
        """``into[index]`` becomes the observation."""
        into[index] = observation if self.identity else self.preprocessor.transform(observation)

    def check(self, observation: Any, where: str) -> None:
        """Raise an EnvError unless the observation is of the space (another precision of floats is no error)."""
        reason = explain_mismatch(self.space, observation)
        if reason:
            raise EnvError(
                f"{where}: the observation is not in the environment's observation_space: {reason}. Make "
                "observation_space say what "
                "the environment gives, or switch these checks off with config.environment(disable_env_checking=True)"
            )


def refuse_nan(obs: Any, whose: Callable[[tuple[int, ...]], str], mask: Array | None = None) -> None:
    """Raise an EnvError if a block of observations has NaN: all weights would be NaN after the next update.

    Args:
        obs: A column of floats (others have none); structures are passed over.
        whose: Says where the row of an index comes from.
        mask: Which rows count. None: all.
    """
    if not isinstance(obs, np.ndarray) or obs.dtype.kind != "f" or not np.isnan(np.add.reduce(obs, axis=None)):
        return
    rows = np.isnan(obs.reshape(*obs.shape[:2], -1)).any(axis=2)
    if mask is not None:
        rows &= mask
    if rows.any():
        at = tuple(int(part) for part in np.argwhere(rows)[0])
        raise EnvError(
            f"{whose(at)}: the observation has nan (or None). Nothing can be learned from it: find out in the environment where it "
            "comes from"
        )


def explain_mismatch(space: gymnasium.Space[Any], value: Any, path: str = "") -> str | None:
    """Why a value is not of a space, naming the offending part; None if it is.

    Arrays may differ from the space in the precision of their kind of number (float64 for float32): what is written into a batch is
    converted.
    """
    at = f" at {path}" if path else ""
    if isinstance(space, gymnasium.spaces.Dict):
        if not isinstance(value, dict):
            return f"{_describe(value)}{at} where a dictionary with the keys {list(space.spaces)} is expected"
        if set(value) != set(space.spaces):
            return f"the keys {sorted(map(str, value))}{at} where {sorted(map(str, space.spaces))} are expected"
        parts = ((key, space.spaces[key], value[key]) for key in space.spaces)
        return _first(explain_mismatch(sub, part, f"{path}[{key!r}]") for key, sub, part in parts)
    if isinstance(space, gymnasium.spaces.Tuple):
        if not isinstance(value, (tuple, list)) or len(value) != len(space.spaces):
            return f"{_describe(value)}{at} where a tuple of {len(space.spaces)} is expected"
        pairs = enumerate(zip(space.spaces, value, strict=True))
        return _first(explain_mismatch(sub, part, f"{path}[{key}]") for key, (sub, part) in pairs)
    if isinstance(space, gymnasium.spaces.Box):
        return _explain_box(space, value, at)
    if (
        isinstance(space, gymnasium.spaces.Discrete)
        and isinstance(value, np.ndarray)
        and value.shape == ()
        and value.dtype.kind in "iu"
    ):
        value = int(value)
    try:
        inside = space.contains(value)
    except Exception as error:
        return f"{_describe(value)}{at} where {space} is expected ({type(error).__name__}: {error})"
    return None if inside else f"{_describe(value)}{at} where {space} is expected"


def _first(reasons: Any) -> str | None:
    return next((reason for reason in reasons if reason), None)


def _explain_box(space: gymnasium.spaces.Box, value: Any, at: str) -> str | None:
    try:
        array = np.asarray(value)
    except ValueError:
        return f"{_describe(value)}{at} where an array of shape {space.shape} is expected"
    if array.dtype.kind not in "fiub":
        return f"{_describe(value)}{at} where numbers of type {space.dtype} are expected"
    if array.shape != space.shape:
        return f"an array of shape {array.shape}{at} where shape {space.shape} is expected"
    if array.dtype.kind == "f" and np.dtype(space.dtype).kind in "iu":
        return f"an array of {array.dtype}{at} where {space.dtype} is expected"
    if array.dtype.kind == "f" and np.isnan(array).any():
        return f"nan{at}{_index_of(np.isnan(array))}"
    # Bounds are compared in the precision of the space: what is equal there is inside.
    array = array.astype(space.dtype, copy=False)
    outside = (array < space.low) | (array > space.high)
    if not outside.any():
        return None
    where = tuple(int(part) for part in np.argwhere(outside)[0])
    bounds = f"{space.low[where]} to {space.high[where]}"
    return f"the value {array[where]}{at}{_index_of(outside)} where {bounds} is expected"


def _index_of(mask: Array) -> str:
    if mask.ndim == 0:
        return ""
    return f" in element {[int(part) for part in np.argwhere(mask)[0]]}"


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and type {value.dtype}"
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:77] + '...'} ({type(value).__name__})"
