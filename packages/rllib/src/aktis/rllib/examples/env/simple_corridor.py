"""Walk to the end of a corridor: the smallest environment that can be learned."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np


class SimpleCorridor(gym.Env):  # type: ignore[misc]
    """Action 0 goes left, action 1 right; each step costs 0.1 and the end brings 1.

    Args:
        config: `corridor_length` (10).
    """

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self.end_pos = int((config or {}).get("corridor_length", 10))
        self.cur_pos = 0
        self.action_space = gym.spaces.Discrete(2)
        self.observation_space = gym.spaces.Box(0.0, 999.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.cur_pos = 0
        return self._obs(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if action not in (0, 1):
            raise ValueError(f"action {action!r}: it must be 0 (left) or 1 (right)")
        self.cur_pos = max(0, self.cur_pos + (1 if action == 1 else -1))
        there = self.cur_pos >= self.end_pos
        return self._obs(), 1.0 if there else -0.1, there, False, {}

    def _obs(self) -> Any:
        return np.array([self.cur_pos], np.float32)
