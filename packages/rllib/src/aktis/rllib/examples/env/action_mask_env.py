"""A random environment that allows only some of its actions at each step."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete

from aktis.rllib.examples.env.random_env import RandomEnv


class ActionMaskEnv(RandomEnv):
    """Observes `{"action_mask", "observations"}`; an action that is masked out is an error.

    Args:
        config: As of RandomEnv.
    """

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        config = {"action_space": Discrete(5), "observation_space": Box(-1.0, 1.0, (5,)), **(config or {})}
        super().__init__(config)
        self.inner_space = self.observation_space
        self.observation_space = Dict(
            {"action_mask": Box(0.0, 1.0, (self.action_space.n,)), "observations": self.inner_space}
        )
        self.valid_actions: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        obs, info = super().reset(seed=seed, options=options)
        return self._masked(obs), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if not self.valid_actions[action]:
            raise ValueError(f"action {action} is masked out: the mask is {self.valid_actions}")
        obs, reward, terminated, truncated, info = super().step(action)
        return self._masked(obs), reward, terminated, truncated, info

    def _masked(self, obs: dict[str, Any]) -> dict[str, Any]:
        mask = self.np_random.integers(0, 2, self.action_space.n).astype(np.float32)
        mask[self.np_random.integers(self.action_space.n)] = 1.0
        self.valid_actions = mask
        return {"action_mask": mask, "observations": obs["observations"]}
