"""Pendulum without its velocity: a policy needs memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.envs.classic_control import PendulumEnv
from gymnasium.spaces import Box


class StatelessPendulum(PendulumEnv):  # type: ignore[misc]
    """Pendulum of which only the angle (cosine and sine) is observed."""

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        super().__init__(g=(config or {}).get("g", 10.0))
        self.observation_space = Box(-1.0, 1.0, (2,), np.float32)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = super().step(action)
        return obs[:-1], reward, terminated, truncated, info

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        obs, info = super().reset(seed=seed, options=options)
        return obs[:-1], info
