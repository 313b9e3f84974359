"""Environments that do next to nothing, for tests."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from aktis.rllib.env.vector_env import VectorEnv


class MockEnv(gym.Env):  # type: ignore[misc]
    """Observes 0 and gives 1 at each step; ends after `episode_length` steps."""

    def __init__(self, episode_length: int, config: Any = None) -> None:
        self.episode_length = episode_length
        self.config = config
        self.i = 0
        self.observation_space = gym.spaces.Discrete(1)
        self.action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.i = 0
        return 0, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.i += 1
        return 0, 1.0, self.i >= self.episode_length, False, {}


class MockEnv2(gym.Env):  # type: ignore[misc]
    """Observes the number of the step and gives 100 at each; ends after `episode_length` steps."""

    def __init__(self, episode_length: int) -> None:
        self.episode_length = episode_length
        self.i = 0
        self.observation_space = gym.spaces.Discrete(self.episode_length + 1)
        self.action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.i = 0
        return self.i, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.i += 1
        return self.i, 100.0, self.i >= self.episode_length, False, {}


class MockVectorEnv(VectorEnv):
    """Several MockEnv2, as a VectorEnv.

    Args:
        episode_length: Of each.
        num_envs: How many.
    """

    def __init__(self, episode_length: int, num_envs: int) -> None:
        self.envs = [MockEnv2(episode_length) for _ in range(num_envs)]
        super().__init__(self.envs[0].observation_space, self.envs[0].action_space, num_envs)

    def vector_reset(self, *, seeds: Any = None, options: Any = None) -> tuple[list[Any], list[dict[str, Any]]]:
        seeds = seeds or [None] * self.num_envs
        first = [env.reset(seed=seed) for env, seed in zip(self.envs, seeds, strict=True)]
        return [obs for obs, _ in first], [info for _, info in first]

    def reset_at(
        self, index: int | None = None, *, seed: Any = None, options: Any = None
    ) -> tuple[Any, dict[str, Any]]:
        return self.envs[index or 0].reset(seed=seed)

    def vector_step(
        self, actions: list[Any]
    ) -> tuple[list[Any], list[float], list[bool], list[bool], list[dict[str, Any]]]:
        steps = [env.step(action) for env, action in zip(self.envs, actions, strict=True)]
        obs, rewards, terminateds, truncateds, infos = zip(*steps, strict=True)
        return list(obs), list(rewards), list(terminateds), list(truncateds), list(infos)

    def get_sub_environments(self) -> list[Any]:
        return list(self.envs)
