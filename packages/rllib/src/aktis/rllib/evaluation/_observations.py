"""From what an environment observed to the row of numbers that a policy gets: checked, preprocessed, written in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import gymnasium
import numpy as np

from aktis.rllib.utils.spaces.explain import explain_mismatch

__all__ = ["EnvError", "Reader", "refuse_nan"]

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
                f"{where}: the observation is not in the environment's observation_space: {reason}. "
                "Make observation_space say what the environment gives, or switch these "
                "checks off with config.environment(disable_env_checking=True)"
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
