"""Groups of agents that act as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym

from aktis.rllib.env.multi_agent_env import MultiAgentDict, MultiAgentEnv

GROUP_REWARDS = "_group_rewards"
GROUP_INFO = "_group_info"


class GroupAgentsWrapper(MultiAgentEnv):
    """A MultiAgentEnv in which some agents are joined to groups (see `MultiAgentEnv.with_agent_groups`).

    Args:
        env: The environment.
        groups: Agents by group. They must act at the same steps.
        obs_space: The groups' observation space (a Tuple).
        act_space: The groups' action space (a Tuple).

    Raises:
        ValueError: An agent is in two groups.
    """

    def __init__(
        self,
        env: MultiAgentEnv,
        groups: Mapping[str, list[Any]],
        obs_space: gym.Space[Any] | None = None,
        act_space: gym.Space[Any] | None = None,
    ) -> None:
        super().__init__()
        self.env = env
        self.groups = {group: list(agents) for group, agents in groups.items()}
        self.agent_id_to_group: dict[Any, str] = {}
        for group, agents in self.groups.items():
            for agent in agents:
                if agent in self.agent_id_to_group:
                    raise ValueError(
                        f"agent {agent!r} is in two groups, {self.agent_id_to_group[agent]!r} and {group!r}"
                    )
                self.agent_id_to_group[agent] = group
        single = {agent for agent in env.get_agent_ids() if agent not in self.agent_id_to_group}
        self._agent_ids = single | set(self.groups)
        self.observation_space = self._group_space("observation", obs_space)
        self.action_space = self._group_space("action", act_space)

    def _group_space(self, which: str, given: gym.Space[Any] | None) -> Any:
        if given is not None:
            return given
        get = getattr(self.env, f"get_{which}_space")
        try:
            spaces = {
                group: gym.spaces.Tuple([get(agent) for agent in agents]) for group, agents in self.groups.items()
            }
            spaces.update({agent: get(agent) for agent in self._agent_ids if agent not in self.groups})
        except (KeyError, ValueError):
            return None
        return next(iter(spaces.values())) if len(spaces) == 1 else gym.spaces.Dict(spaces)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiAgentDict, MultiAgentDict]:
        obs, infos = self.env.reset(seed=seed, options=options)
        return self._join(obs), self._join_infos(infos, {})

    def step(self, action_dict: MultiAgentDict) -> tuple[MultiAgentDict, ...]:
        obs, rewards, terminateds, truncateds, infos = self.env.step(self._split(action_dict))
        grouped_rewards: MultiAgentDict = {}
        for agent, reward in rewards.items():
            key = self.agent_id_to_group.get(agent, agent)
            grouped_rewards[key] = grouped_rewards.get(key, 0.0) + reward
        return (
            self._join(obs),
            grouped_rewards,
            self._all_of(terminateds),
            self._all_of(truncateds),
            self._join_infos(infos, rewards),
        )

    def render(self) -> Any:
        return self.env.render()

    def close(self) -> None:
        self.env.close()

    def _split(self, actions: MultiAgentDict) -> MultiAgentDict:
        single: MultiAgentDict = {}
        for key, action in actions.items():
            if key not in self.groups:
                single[key] = action
                continue
            agents = self.groups[key]
            if len(action) != len(agents):
                raise ValueError(f"group {key!r} has {len(agents)} agents and was given {len(action)} actions")
            single.update(zip(agents, action, strict=True))
        return single

    def _join(self, values: MultiAgentDict) -> MultiAgentDict:
        joined: MultiAgentDict = {}
        for agent, value in values.items():
            group = self.agent_id_to_group.get(agent)
            if group is None:
                joined[agent] = value
            elif group not in joined:
                missing = [member for member in self.groups[group] if member not in values]
                if missing:
                    raise ValueError(
                        f"agents of a group act together, but {missing} of group {group!r} were not observed with agent {agent!r}"
                    )
                joined[group] = tuple(values[member] for member in self.groups[group])
        return joined

    def _all_of(self, dones: MultiAgentDict) -> MultiAgentDict:
        out = {agent: done for agent, done in dones.items() if agent not in self.agent_id_to_group}
        for group, agents in self.groups.items():
            if any(agent in dones for agent in agents):
                out[group] = all(dones.get(agent, False) for agent in agents)
        return out

    def _join_infos(self, infos: MultiAgentDict, rewards: MultiAgentDict) -> MultiAgentDict:
        out = {agent: info for agent, info in infos.items() if agent not in self.agent_id_to_group}
        for group, agents in self.groups.items():
            entry: dict[str, Any] = {}
            if any(agent in rewards for agent in agents):
                entry[GROUP_REWARDS] = [rewards.get(agent, 0.0) for agent in agents]
            if any(agent in infos for agent in agents):
                entry[GROUP_INFO] = [infos.get(agent, {}) for agent in agents]
            if entry:
                out[group] = entry
        return out
