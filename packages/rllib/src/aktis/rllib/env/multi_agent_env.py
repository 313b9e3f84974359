"""Environments of several agents: every step is a set of dicts by agent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import gymnasium as gym

if TYPE_CHECKING:
    from aktis.rllib.env._multi_agent_base_env import MultiAgentEnvWrapper as MultiAgentEnvWrapper
    from aktis.rllib.env.base_env import BaseEnv
    from aktis.rllib.env.env_context import EnvContext

AgentID = Any
MultiAgentDict = dict[AgentID, Any]
MultiEnvDict = dict[Any, MultiAgentDict]

__all__ = ["AgentID", "MultiAgentDict", "MultiAgentEnv", "MultiAgentEnvWrapper", "MultiEnvDict", "make_multi_agent"]


class MultiAgentEnv(gym.Env):  # type: ignore[misc]
    """An environment in which several agents act, together, in turn, or each at its own pace.

    Rules:

    - `reset(seed=, options=)` returns `(observations, infos)`, `step(actions)` returns `(observations, rewards,
      terminateds, truncateds, infos)`: dicts by agent.
    - The agents in `observations` are those that act next: exactly they are in the following `actions`.
    - Rewards may be given to any agent of the episode at any step; those of an agent that does not act next are added
      up until it does (or until the episode ends).
    - `terminateds` and `truncateds` have the key `"__all__"`: whether the episode is over for everybody. An agent that
      is done in one of them does not act again in this episode; its last observation may be given with it.
    - Agents in `infos` are among those in `observations`; the key `"__common__"` is for everybody.

    Which agents there are is said by the attribute `_agent_ids`. `observation_space` and `action_space` are either
    those of each agent, or a `gymnasium.spaces.Dict` with one space for each agent.
    """

    def __init__(self) -> None:
        if not hasattr(self, "observation_space"):
            self.observation_space: Any = None
        if not hasattr(self, "action_space"):
            self.action_space: Any = None
        if not hasattr(self, "_agent_ids"):
            self._agent_ids: set[AgentID] = set()

    # ---- what an environment defines ----

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiAgentDict, MultiAgentDict]:
        """Begin an episode.

        Args:
            seed: Where randomness begins; None leaves it as it is.
            options: For the environment.

        Returns:
            Observations of the agents that act first, and infos.
        """
        super().reset(seed=seed, options=options)
        return {}, {}

    def step(self, action_dict: MultiAgentDict) -> tuple[MultiAgentDict, ...]:
        """Do one action of each agent that was observed last.

        Returns:
            Observations, rewards, terminateds, truncateds (both with `"__all__"`) and infos, by agent.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define step(action_dict)")

    def render(self) -> Any:
        """An image [height, width, 3] uint8, or None where the environment shows itself."""

    def get_agent_ids(self) -> set[AgentID]:
        """The agents that may take part in an episode."""
        ids = getattr(self, "_agent_ids", None) or set()
        return ids if isinstance(ids, set) else set(ids)

    # ---- spaces ----

    def get_observation_space(self, agent_id: AgentID) -> gym.Space[Any]:
        """The observation space of one agent."""
        return _space_of(self, self.observation_space, agent_id, "observation_space")

    def get_action_space(self, agent_id: AgentID) -> gym.Space[Any]:
        """The action space of one agent."""
        return _space_of(self, self.action_space, agent_id, "action_space")

    def observation_space_contains(self, x: MultiAgentDict) -> bool:
        """Whether each agent's observation is in its space."""
        return self._contains("observation_space", x)

    def action_space_contains(self, x: MultiAgentDict) -> bool:
        """Whether each agent's action is in its space."""
        return self._contains("action_space", x)

    def _contains(self, which: str, values: MultiAgentDict) -> bool:
        if not isinstance(values, dict):
            return False
        space = getattr(self, which)
        try:
            return all(_space_of(self, space, agent, which).contains(value) for agent, value in values.items())
        except KeyError:
            return False

    def observation_space_sample(self, agent_ids: Iterable[AgentID] | None = None) -> MultiAgentDict:
        """Random observations of `agent_ids` (of all agents)."""
        return self._sample("observation_space", agent_ids)

    def action_space_sample(self, agent_ids: Iterable[AgentID] | None = None) -> MultiAgentDict:
        """Random actions of `agent_ids` (of all agents)."""
        return self._sample("action_space", agent_ids)

    def _sample(self, which: str, agent_ids: Iterable[AgentID] | None) -> MultiAgentDict:
        agents = self.get_agent_ids() if agent_ids is None else agent_ids
        space = getattr(self, which)
        return {agent: _space_of(self, space, agent, which).sample() for agent in agents}

    # ---- other forms of it ----

    def with_agent_groups(
        self,
        groups: Mapping[str, list[AgentID]],
        obs_space: gym.Space[Any] | None = None,
        act_space: gym.Space[Any] | None = None,
    ) -> MultiAgentEnv:
        """This environment with groups of agents that act as one.

        A group's observation and action are tuples, in the order of its agents; its reward is the sum of theirs (each in
        `info["_group_rewards"]`).

        Args:
            groups: The agents of each group. Agents in none of them stay single.
            obs_space: The groups' observation space: a Tuple.
            act_space: The groups' action space: a Tuple.
        """
        from aktis.rllib.env.wrappers.group_agents_wrapper import GroupAgentsWrapper

        return GroupAgentsWrapper(self, groups, obs_space, act_space)

    def to_base_env(
        self,
        make_env: Callable[[int], Any] | None = None,
        num_envs: int = 1,
        remote_envs: bool = False,
        remote_env_batch_wait_ms: int = 0,
        restart_failed_sub_environments: bool = False,
    ) -> BaseEnv:
        """This environment (and `num_envs - 1` more) behind the interface that samplers use."""
        from aktis.rllib.env.base_env import convert_to_base_env

        return convert_to_base_env(
            self, make_env, num_envs, remote_envs, remote_env_batch_wait_ms, None, restart_failed_sub_environments
        )


def is_space_by_agent(space: Any, agent_ids: Iterable[AgentID]) -> bool:
    """Whether a space is a mapping with one space for each agent (and not a Dict observation that all agents share)."""
    if not isinstance(space, gym.spaces.Dict):
        return isinstance(space, Mapping)
    agents = set(agent_ids)
    return bool(agents) and set(space.spaces) >= agents


def _space_of(env: MultiAgentEnv, space: Any, agent_id: AgentID, which: str) -> gym.Space[Any]:
    if space is None:
        raise ValueError(
            f"{type(env).__name__}.{which} is None: set it to a gymnasium space (of every agent, or a Dict by agent)"
        )
    if not is_space_by_agent(space, env.get_agent_ids()):
        return space
    if agent_id not in set(space.keys()):
        raise KeyError(
            f"{type(env).__name__}.{which} has no space for agent {agent_id!r}, only for {list(space.keys())}"
        )
    return space[agent_id]


def make_multi_agent(env_name_or_creator: str | Callable[[EnvContext], Any]) -> type[MultiAgentEnv]:
    """A class of environments in which each of several agents has its own copy of a single-agent environment.

    Args:
        env_name_or_creator: A Gymnasium name or a function from the configuration to an environment.

    Returns:
        A MultiAgentEnv class. Its configuration's `"num_agents"` (default 1) says how many; agents are 0, 1, ...

    Example:
        >>> MultiAgentCartPole = make_multi_agent("CartPole-v1")
        >>> env = MultiAgentCartPole({"num_agents": 2})
        >>> obs, infos = env.reset(seed=0)
        >>> sorted(obs)
        [0, 1]
    """
    from aktis.rllib.env._multi_copies import MultiCopies

    class MultiEnv(MultiCopies):
        creator = (env_name_or_creator,)

    return MultiEnv


def __getattr__(name: str) -> Any:
    if name == "MultiAgentEnvWrapper":
        from aktis.rllib.env._multi_agent_base_env import MultiAgentEnvWrapper

        return MultiAgentEnvWrapper
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
