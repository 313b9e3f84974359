"""Observations that count steps: what a sampler mixes up is seen at once."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from aktis.rllib.env.multi_agent_env import MultiAgentDict, MultiAgentEnv


class DebugCounterEnv(gym.Env):  # type: ignore[misc]
    """Observes the number of the step, gives `step % 3`, ends after 15 steps.

    Args:
        config: `start_at_t` (0).
    """

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self.action_space = gym.spaces.Discrete(2)
        self.observation_space = gym.spaces.Box(0, 100, (1,), np.float32)
        self.start_at_t = int((config or {}).get("start_at_t", 0))
        self.i = self.start_at_t

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.i = self.start_at_t
        return self._obs(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.i += 1
        return self._obs(), float(self.i % 3), False, self.i >= 15 + self.start_at_t, {}

    def _obs(self) -> Any:
        return np.array([self.i], np.float32)


class MultiAgentDebugCounterEnv(MultiAgentEnv):
    """Agents with episodes of different lengths. Observes `[agent, step, previous action (2 numbers)]`; gives `step % 3`.

    Args:
        config: `num_agents` (2), `base_episode_len` (103): agent a's episode has `base_episode_len - 20 * a` steps.
    """

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        super().__init__()
        config = config or {}
        self.num_agents = int(config.get("num_agents", 2))
        self.base_episode_len = int(config.get("base_episode_len", 103))
        self._agent_ids = set(range(self.num_agents))
        self.action_space = gym.spaces.Box(-float("inf"), float("inf"), (2,), np.float32)
        self.observation_space = gym.spaces.Box(-float("inf"), float("inf"), (4,), np.float32)
        self.timesteps = [0] * self.num_agents
        self.over: set[int] = set()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiAgentDict, MultiAgentDict]:
        gym.Env.reset(self, seed=seed)
        self.timesteps, self.over = [0] * self.num_agents, set()
        return {agent: np.array([agent, 0, 0, 0], np.float32) for agent in range(self.num_agents)}, {}

    def step(self, action_dict: MultiAgentDict) -> tuple[MultiAgentDict, ...]:
        obs: MultiAgentDict = {}
        rewards: MultiAgentDict = {}
        truncateds: MultiAgentDict = {}
        for agent, action in action_dict.items():
            self.timesteps[agent] += 1
            obs[agent] = np.array([agent, self.timesteps[agent], *action], np.float32)
            rewards[agent] = float(self.timesteps[agent] % 3)
            truncateds[agent] = self.timesteps[agent] > self.base_episode_len - 20 * agent
            if truncateds[agent]:
                self.over.add(agent)
        truncateds["__all__"] = len(self.over) == self.num_agents
        return obs, rewards, {"__all__": False}, truncateds, {}
