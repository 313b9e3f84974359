"""Observations are to be repeated, whatever structure they have."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import tree
from gymnasium import spaces

from aktis.rllib.utils.spaces.space_utils import flatten_space

__all__ = ["NestedSpaceRepeatAfterMeEnv"]


class NestedSpaceRepeatAfterMeEnv(gym.Env):  # type: ignore[misc]
    """The closer the action is to the observation, part by part, the higher the reward.

    Args:
        config: ``space``: of observations and actions (a Tuple of a Dict of Discrete and Box, by default);
            ``episode_len``: steps (100).
    """

    def __init__(self, config: Any = None) -> None:
        config = config or {}
        default = spaces.Tuple(
            [spaces.Discrete(2), spaces.Dict({"a": spaces.Box(-1.5, 1.5, (), np.float32), "b": spaces.Discrete(2)})]
        )
        self.observation_space = self.action_space = config.get("space", default)
        self.flattened_action_space = flatten_space(self.action_space)
        self.episode_len = config.get("episode_len", 100)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Draw what is to be repeated."""
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.steps = 0
        return self._draw(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Minus the distance: the square of it for boxes, and one for each other number that is wrong."""
        reward = 0.0
        for part, wanted, space in zip(
            tree.flatten(action), tree.flatten(self.current_obs), self.flattened_action_space, strict=True
        ):
            difference = np.asarray(part, np.float64) - np.asarray(wanted, np.float64)
            reward -= float((difference**2).sum() if isinstance(space, spaces.Box) else (difference != 0).sum())
        self.steps += 1
        return self._draw(), reward, False, self.steps >= self.episode_len, {}

    def _draw(self) -> Any:
        self.current_obs = self.observation_space.sample()
        return self.current_obs
