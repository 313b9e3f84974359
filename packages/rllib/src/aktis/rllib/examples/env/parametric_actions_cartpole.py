"""CartPole with many actions, of which two are available at each step: for models that mask actions."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete

__all__ = ["ParametricActionsCartPole", "ParametricActionsCartPoleNoEmbeddings"]


class _ManyActions(gym.Env):  # type: ignore[misc]
    """Which of the actions mean left and right is drawn anew at each step; another one ends the episode with -100."""

    def __init__(self, max_avail_actions: Any) -> None:
        if hasattr(max_avail_actions, "get"):
            max_avail_actions = max_avail_actions.get("max_avail_actions", 10)
        self.max_avail_actions = int(max_avail_actions)
        self.action_space = Discrete(self.max_avail_actions)
        self.wrapped = gym.make("CartPole-v1", disable_env_checker=True)
        self.left_idx = self.right_idx = 0
        self.last_obs: Any = None

    def _draw(self) -> None:
        self.left_idx, self.right_idx = (
            int(i) for i in self.np_random.choice(self.max_avail_actions, 2, replace=False)
        )

    def _mask(self) -> Any:
        mask: Any = np.zeros(self.max_avail_actions, np.float32)
        mask[[self.left_idx, self.right_idx]] = 1.0
        return mask

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._draw()
        self.last_obs, info = self.wrapped.reset(seed=seed)
        return self._obs(), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if action not in (self.left_idx, self.right_idx):
            return self._obs(), -100.0, True, False, {}
        self.last_obs, reward, terminated, truncated, info = self.wrapped.step(0 if action == self.left_idx else 1)
        self._draw()
        return self._obs(), reward, terminated, truncated, info

    def _obs(self) -> dict[str, Any]:
        raise NotImplementedError(f"{type(self).__name__} must define _obs()")

    def close(self) -> None:
        self.wrapped.close()


class ParametricActionsCartPole(_ManyActions):
    """Observes `{"action_mask", "avail_actions" (an embedding of each), "cart"}`.

    Args:
        max_avail_actions: How many actions there are (or a configuration with that key).
    """

    def __init__(self, max_avail_actions: Any = 10) -> None:
        super().__init__(max_avail_actions)
        rng = np.random.default_rng(0)
        self.left_action_embed, self.right_action_embed = rng.normal(size=(2, 2)).astype(np.float32)
        self.observation_space = Dict(
            {
                "action_mask": Box(0, 1, (self.max_avail_actions,), np.float32),
                "avail_actions": Box(-10, 10, (self.max_avail_actions, 2), np.float32),
                "cart": self.wrapped.observation_space,
            }
        )

    def _obs(self) -> dict[str, Any]:
        embeddings: Any = np.zeros((self.max_avail_actions, 2), np.float32)
        embeddings[self.left_idx] = self.left_action_embed
        embeddings[self.right_idx] = self.right_action_embed
        return {"action_mask": self._mask(), "avail_actions": embeddings, "cart": self.last_obs}


class ParametricActionsCartPoleNoEmbeddings(_ManyActions):
    """Observes `{"valid_avail_actions_mask", "cart"}`; the two actions that are available are always the same.

    Args:
        max_avail_actions: How many actions there are (or a configuration with that key).
    """

    def __init__(self, max_avail_actions: Any = 10) -> None:
        super().__init__(max_avail_actions)
        rng = np.random.default_rng(0)
        self.fixed = tuple(int(i) for i in sorted(rng.choice(self.max_avail_actions, 2, replace=False)))
        self.observation_space = Dict(
            {
                "valid_avail_actions_mask": Box(0, 1, (self.max_avail_actions,), np.float32),
                "cart": self.wrapped.observation_space,
            }
        )

    def _draw(self) -> None:
        self.left_idx, self.right_idx = self.fixed

    def _obs(self) -> dict[str, Any]:
        return {"valid_avail_actions_mask": self._mask(), "cart": self.last_obs}
