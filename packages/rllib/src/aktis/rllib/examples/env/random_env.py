"""An environment of which everything is random, in spaces of your choice: to try that an algorithm handles them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from aktis.rllib.env.multi_agent_env import make_multi_agent

__all__ = ["RandomEnv", "RandomLargeObsSpaceEnv", "RandomLargeObsSpaceEnvContActions", "RandomMultiAgentEnv"]


class RandomEnv(gym.Env):  # type: ignore[misc]
    """Random observations, rewards and ends.

    Args:
        config: `observation_space` (Discrete(2)), `action_space` (Discrete(2)), `reward_space` (Box(-1, 1)), `p_terminated`
            (0.1: the chance that a step ends the episode), `max_episode_len` (None; then it is truncated), `static_samples`
            (False: observations and rewards are always the same), `check_action_bounds` (False: an action outside of the
            space is an error).
    """

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        config = config or {}
        self.action_space = config.get("action_space", gym.spaces.Discrete(2))
        self.observation_space = config.get("observation_space", gym.spaces.Discrete(2))
        self.reward_space = config.get("reward_space", gym.spaces.Box(-1.0, 1.0, (), np.float32))
        self.static_samples = config.get("static_samples", False)
        if self.static_samples:
            self.observation_sample = self.observation_space.sample()
            self.reward_sample = self.reward_space.sample()
        self.p_terminated = config.get("p_terminated", config.get("p_done", 0.1))
        self.max_episode_len = config.get("max_episode_len")
        self.check_action_bounds = config.get("check_action_bounds", False)
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
            self.reward_space.seed(seed)
        self.steps = 0
        return self.observation_sample if self.static_samples else self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.check_action_bounds and not self.action_space.contains(action):
            raise ValueError(f"action {action!r} is not in {self.action_space}")
        self.steps += 1
        truncated = self.max_episode_len is not None and self.steps >= self.max_episode_len
        terminated = not truncated and bool(self.np_random.random() < self.p_terminated)
        if self.static_samples:
            return self.observation_sample, float(self.reward_sample), terminated, truncated, {}
        return self.observation_space.sample(), float(self.reward_space.sample()), terminated, truncated, {}


RandomMultiAgentEnv = make_multi_agent(lambda config: RandomEnv(config))


class RandomLargeObsSpaceEnv(RandomEnv):
    """Observations of 5,000 numbers."""

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        super().__init__({"observation_space": gym.spaces.Box(-1.0, 1.0, (5000,)), **(config or {})})


class RandomLargeObsSpaceEnvContActions(RandomEnv):
    """Observations of 5,000 numbers, and actions of 5."""

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        spaces = {
            "observation_space": gym.spaces.Box(-1.0, 1.0, (5000,)),
            "action_space": gym.spaces.Box(-1.0, 1.0, (5,)),
        }
        super().__init__({**spaces, **(config or {})})
