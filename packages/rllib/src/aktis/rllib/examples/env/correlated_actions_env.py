"""The second action should follow from the first: a test of distributions in which actions depend on each other."""

from __future__ import annotations

from typing import Any

import gymnasium as gym


class CorrelatedActionsEnv(gym.Env):  # type: ignore[misc]
    """Actions are a tuple of two; 5 for a first one that is the observation, and 5 for a second one that is equal to the first.

    The best policy gets 200 in 20 steps.
    """

    def __init__(self, config: Any = None) -> None:
        self.observation_space = gym.spaces.Discrete(2)
        self.action_space = gym.spaces.Tuple([gym.spaces.Discrete(2), gym.spaces.Discrete(2)])
        self.last_observation = 0
        self.t = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0
        self.last_observation = int(self.np_random.integers(2))
        return self.last_observation, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.t += 1
        first, second = action
        reward = 5.0 * (first == self.last_observation) + 5.0 * (first == second)
        self.last_observation = int(self.np_random.integers(2))
        return self.last_observation, reward, False, self.t >= 20, {}
