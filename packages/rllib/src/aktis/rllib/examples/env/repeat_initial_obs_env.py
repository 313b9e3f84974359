"""Remember the first observation of the episode: a test of memory."""

from __future__ import annotations

from typing import Any

import gymnasium as gym


class RepeatInitialObsEnv(gym.Env):  # type: ignore[misc]
    """Reward 1 for the action that is the episode's first observation, -1 for the other.

    Args:
        episode_len: Steps of an episode (or a configuration with that key).
    """

    def __init__(self, episode_len: Any = 100) -> None:
        self.observation_space = gym.spaces.Discrete(2)
        self.action_space = gym.spaces.Discrete(2)
        self.episode_len = int(episode_len.get("episode_len", 100) if hasattr(episode_len, "get") else episode_len)
        self.token = 0
        self.num_steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.token = int(self.np_random.integers(2))
        self.num_steps = 0
        return self.token, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.num_steps += 1
        return 0, 1.0 if action == self.token else -1.0, False, self.num_steps >= self.episode_len, {}
