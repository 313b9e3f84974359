"""Environments of PettingZoo (1.24 and later): those in which agents take turns (AEC), and those in which they act together."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from aktis.rllib.env.multi_agent_env import MultiAgentDict, MultiAgentEnv

__all__ = ["ParallelPettingZooEnv", "PettingZooEnv"]

Step = tuple[MultiAgentDict, MultiAgentDict, MultiAgentDict, MultiAgentDict, MultiAgentDict]


class _PettingZoo(MultiAgentEnv):
    """What both kinds share: agents are those of `possible_agents`, spaces are theirs."""

    def __init__(self, env: Any) -> None:
        super().__init__()
        agents = getattr(env, "possible_agents", None)
        if not agents:
            raise ValueError(
                f"{env!r} has no possible_agents: a PettingZoo environment must say beforehand which agents there can be"
            )
        self._agent_ids = set(agents)
        self.observation_space = _together({agent: env.observation_space(agent) for agent in agents})
        self.action_space = _together({agent: env.action_space(agent) for agent in agents})

    @property
    def get_sub_environments(self) -> Any:
        """The innermost environment."""
        return self._inner().unwrapped

    def _inner(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define _inner()")

    def render(self) -> Any:
        return self._inner().render()

    def close(self) -> None:
        self._inner().close()


class PettingZooEnv(_PettingZoo):
    """An AEC environment: one agent is observed and acts at a time.

    Args:
        env: It, wrapped as needed (for example by supersuit).

    Example:
        >>> from pettingzoo.classic import rps_v2  # doctest: +SKIP
        >>> env = PettingZooEnv(rps_v2.env())  # doctest: +SKIP
    """

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.env = env
        env.reset()

    def _inner(self) -> Any:
        return self.env

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiAgentDict, MultiAgentDict]:
        self.env.reset(seed=seed, options=options)
        agent = self.env.agent_selection
        return {agent: self.env.observe(agent)}, {agent: dict(self.env.infos.get(agent) or {})}

    def step(self, action_dict: MultiAgentDict) -> Step:
        agent = self.env.agent_selection
        if agent not in action_dict:
            raise ValueError(f"it is the turn of {agent!r}; actions came from {list(action_dict)}")
        self.env.step(action_dict[agent])
        obs: MultiAgentDict = {}
        rewards: MultiAgentDict = {}
        terminateds: MultiAgentDict = {}
        truncateds: MultiAgentDict = {}
        infos: MultiAgentDict = {}
        while self.env.agents:
            agent = self.env.agent_selection
            obs[agent], rewards[agent], terminateds[agent], truncateds[agent], infos[agent] = self.env.last()
            if not (terminateds[agent] or truncateds[agent]):
                break
            self.env.step(None)  # an agent that is done is taken out
        return obs, rewards, *_with_all(terminateds, truncateds, over=not self.env.agents), infos


class ParallelPettingZooEnv(_PettingZoo):
    """A parallel environment: all agents act at each step.

    Args:
        env: It, wrapped as needed.
    """

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.par_env = env

    def _inner(self) -> Any:
        return self.par_env

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiAgentDict, MultiAgentDict]:
        obs, infos = self.par_env.reset(seed=seed, options=options)
        return obs, {agent: info for agent, info in infos.items() if agent in obs}

    def step(self, action_dict: MultiAgentDict) -> Step:
        obs, rewards, terminateds, truncateds, infos = self.par_env.step(action_dict)
        over = not self.par_env.agents
        infos = {agent: info for agent, info in infos.items() if agent in obs}
        return obs, rewards, *_with_all(dict(terminateds), dict(truncateds), over=over), infos


def _together(by_agent: dict[Any, Any]) -> Any:
    """One space for all, if they are the same; else one for each agent."""
    first, *others = by_agent.values()
    return first if all(space == first for space in others) else gym.spaces.Dict(by_agent)


def _with_all(
    terminateds: MultiAgentDict, truncateds: MultiAgentDict, *, over: bool
) -> tuple[MultiAgentDict, MultiAgentDict]:
    cut = over and any(truncateds.values())
    return {**terminateds, "__all__": over and not cut}, {**truncateds, "__all__": cut}
