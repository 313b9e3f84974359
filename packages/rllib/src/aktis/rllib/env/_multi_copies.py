"""Several agents, each with its own copy of a single-agent environment (`make_multi_agent`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import gymnasium as gym

from aktis.rllib.env.multi_agent_env import MultiAgentDict, MultiAgentEnv


class MultiCopies(MultiAgentEnv):
    """Agents 0 to n - 1; the episode is over when each agent's own is.

    Args:
        config: The configuration of each copy; `"num_agents"` (default 1) is taken out of it.
    """

    creator: ClassVar[tuple[str | Callable[[Any], Any]]]  # in a tuple, so that a function does not become a method

    def __init__(self, config: Any = None) -> None:
        super().__init__()
        config = dict(config or {}) if not hasattr(config, "copy_with_overrides") else config.copy_with_overrides()
        num_agents = int(config.pop("num_agents", 1))
        if num_agents < 1:
            raise ValueError(f"num_agents={num_agents}: an environment needs at least one agent")
        creator = type(self).creator[0]
        if isinstance(creator, str):
            # What the checker finds in every step is checked by the sampler, once.
            self.envs = [gym.make(creator, disable_env_checker=True) for _ in range(num_agents)]
        else:
            self.envs = [creator(config) for _ in range(num_agents)]
        self.observation_space = self.envs[0].observation_space
        self.action_space = self.envs[0].action_space
        self._agent_ids = set(range(num_agents))
        self.terminateds: set[int] = set()
        self.truncateds: set[int] = set()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiAgentDict, MultiAgentDict]:
        self.terminateds, self.truncateds = set(), set()
        obs, infos = {}, {}
        for agent, env in enumerate(self.envs):
            # Agents must not see the same episode: each copy has a seed of its own.
            obs[agent], infos[agent] = env.reset(seed=None if seed is None else seed + agent, options=options)
        return obs, infos

    def step(self, action_dict: MultiAgentDict) -> tuple[MultiAgentDict, ...]:
        if not action_dict:
            raise ValueError("step() needs the action of at least one agent")
        obs, rewards, terminateds, truncateds, infos = {}, {}, {}, {}, {}
        for agent, action in action_dict.items():
            obs[agent], rewards[agent], terminated, truncated, infos[agent] = self.envs[agent].step(action)
            terminateds[agent], truncateds[agent] = terminated, truncated
            if terminated:
                self.terminateds.add(agent)
            elif truncated:
                self.truncateds.add(agent)
        over = len(self.terminateds) + len(self.truncateds) == len(self.envs)
        # Everybody is done: terminated if the last of them was, so that no value is added to a fallen pole's.
        terminateds["__all__"] = over and not self.truncateds
        truncateds["__all__"] = over and bool(self.truncateds)
        return obs, rewards, terminateds, truncateds, infos

    def render(self) -> Any:
        return self.envs[0].render()

    def close(self) -> None:
        for env in self.envs:
            env.close()
