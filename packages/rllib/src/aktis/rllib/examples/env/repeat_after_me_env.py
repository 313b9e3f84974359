"""Do what was observed some steps ago: a test of memory."""

from __future__ import annotations

from collections import deque
from typing import Any

import gymnasium as gym


class RepeatAfterMeEnv(gym.Env):  # type: ignore[misc]
    """Reward 1 for the action that was observed `repeat_delay` steps before, -1 for another.

    Args:
        config: `repeat_delay` (1), `episode_len` (100).
    """

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        config = config or {}
        self.observation_space = gym.spaces.Discrete(2)
        self.action_space = gym.spaces.Discrete(2)
        self.delay = int(config.get("repeat_delay", 1))
        self.episode_len = int(config.get("episode_len", 100))
        self.history: deque[int] = deque()
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.history = deque([0] * self.delay, maxlen=self.delay + 1)
        self.steps = 0
        return self._next(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward = 1.0 if action == self.history[0] else -1.0
        self.steps += 1
        return self._next(), reward, False, self.steps >= self.episode_len, {}

    def _next(self) -> int:
        token = int(self.np_random.integers(2))
        self.history.append(token)
        return token
