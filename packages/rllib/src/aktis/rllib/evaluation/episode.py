"""An episode as callbacks and post-processing see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

__all__ = ["Episode", "MultiAgentEpisode"]

AGENT = "agent0"  # the only agent of environments that know no agents


class Episode:
    """One episode of one environment, while it runs.

    Args:
        policies: All policies by id.
        policy_mapping_fn: ``f(agent_id, episode, worker=worker)`` gives the id of an agent's policy; asked once per
            agent and episode.
        env_id: Number of the sub-environment.
        worker: The worker that samples it.
        episode_id: A number that no other episode has.

    Attributes:
        length: Environment steps so far.
        total_reward: Of all agents, so far (not clipped).
        agent_rewards: By (agent id, policy id).
        user_data: Anything that callbacks want to keep during the episode.
        custom_metrics: Numbers by name: their mean, least and greatest are in the result.
        hist_data: Lists of numbers by name: in the result's ``hist_stats``.
        media: Images, videos and the like, by name: in the result's ``episode_media``.
    """

    def __init__(
        self,
        policies: Mapping[str, Any],
        policy_mapping_fn: Callable[..., str],
        env_id: int | str = 0,
        *,
        worker: Any = None,
        episode_id: int = 0,
    ) -> None:
        self.policy_map = policies
        self.policy_mapping_fn = policy_mapping_fn
        self.env_id = env_id
        self.worker = worker
        self.episode_id = episode_id
        self.length = 0
        self.total_reward = 0.0
        self.agent_rewards: dict[tuple[Any, str], float] = {}
        self.user_data: dict[Any, Any] = {}
        self.custom_metrics: dict[str, Any] = {}
        self.hist_data: dict[str, list[Any]] = {}
        self.media: dict[str, Any] = {}
        self.is_faulty = False
        self._agent_to_policy: dict[Any, str] = {}
        self._agent_index: dict[Any, int] = {}
        self._obs: dict[Any, Any] = {}
        self._raw_obs: dict[Any, Any] = {}
        self._infos: dict[Any, dict[str, Any]] = {}
        self._actions: dict[Any, Any] = {}
        self._prev_actions: dict[Any, Any] = {}
        self._rewards: dict[Any, list[float]] = {}  # the last two
        self._states: dict[Any, list[Any]] = {}
        self._extra_outs: dict[Any, dict[str, Any]] = {}
        self._terminateds: dict[Any, bool] = {}
        self._truncateds: dict[Any, bool] = {}

    # What users read ------------------------------------------------------------------------------------------------

    def get_agents(self) -> list[Any]:
        """The agents that have acted, or observed something, in the episode so far."""
        return list(self._agent_index)

    def agent_index(self, agent_id: Any) -> int:
        """A number for the agent: agents are counted in the order in which they appear."""
        return self._agent_index.setdefault(agent_id, len(self._agent_index))

    def policy_for(self, agent_id: Any = AGENT, refresh: bool = False) -> str:
        """The id of the policy that acts for an agent: the same one during the whole episode (unless asked to ask again).

        Raises:
            KeyError: ``policy_mapping_fn`` named a policy that there is not.
        """
        policy_id = self._agent_to_policy.get(agent_id)
        if policy_id is None or refresh:
            policy_id = self.policy_mapping_fn(agent_id, self, worker=self.worker)
            if policy_id not in self.policy_map:
                raise KeyError(
                    f"policy_mapping_fn gave {policy_id!r} for the agent {agent_id!r}, but the policies are "
                    f"{sorted(self.policy_map.keys())}: add "
                    "it to config.multi_agent(policies=...)"
                )
            self._agent_to_policy[agent_id] = policy_id
            self.agent_index(agent_id)
        return policy_id

    def last_observation_for(self, agent_id: Any = AGENT) -> Any:
        """What the agent observed last, as its policy gets it (preprocessed and filtered); None before its first observation."""
        return self._obs.get(agent_id)

    def last_raw_obs_for(self, agent_id: Any = AGENT) -> Any:
        """What the agent observed last, as the environment gave it."""
        return self._raw_obs.get(agent_id)

    def last_info_for(self, agent_id: Any = AGENT) -> dict[str, Any] | None:
        """The info that came with the last observation."""
        return self._infos.get(agent_id)

    @property
    def _last_infos(self) -> dict[Any, dict[str, Any]]:
        """The infos by agent, as callbacks in many scripts look them up."""
        return self._infos

    _agent_to_last_info = _last_infos

    @property
    def total_env_steps(self) -> int:
        """Steps of the environment in this episode."""
        return self.length

    def last_action_for(self, agent_id: Any = AGENT) -> Any:
        """The last action of the agent, as its policy made it; before the first one: zeros."""
        if agent_id in self._actions:
            return self._actions[agent_id]
        return self._zero_action(agent_id)

    def prev_action_for(self, agent_id: Any = AGENT) -> Any:
        """The action before the last one; zeros if there is none."""
        if agent_id in self._prev_actions:
            return self._prev_actions[agent_id]
        return self._zero_action(agent_id)

    def last_reward_for(self, agent_id: Any = AGENT) -> float:
        """The last reward of the agent, 0 before the first."""
        rewards = self._rewards.get(agent_id)
        return rewards[-1] if rewards else 0.0

    def prev_reward_for(self, agent_id: Any = AGENT) -> float:
        """The reward before the last one, 0 if there is none."""
        rewards = self._rewards.get(agent_id, [])
        return rewards[-2] if len(rewards) > 1 else 0.0

    def rnn_state_for(self, agent_id: Any = AGENT) -> list[Any]:
        """The state of the agent's recurrent policy."""
        if agent_id not in self._states:
            self._states[agent_id] = list(self.policy_map[self.policy_for(agent_id)].get_initial_state())
        return self._states[agent_id]

    def last_extra_action_outs_for(self, agent_id: Any = AGENT) -> dict[str, Any]:
        """What the policy computed with the last action (``action_logp``, ``vf_preds``, ...)."""
        return self._extra_outs.get(agent_id, {})

    def last_pi_info_for(self, agent_id: Any = AGENT) -> dict[str, Any]:
        """The old name of :meth:`last_extra_action_outs_for`."""
        return self.last_extra_action_outs_for(agent_id)

    def last_terminated_for(self, agent_id: Any = AGENT) -> bool:
        """Whether the agent's episode has ended with a terminal state."""
        return self._terminateds.get(agent_id, False)

    def last_truncated_for(self, agent_id: Any = AGENT) -> bool:
        """Whether the agent's episode was cut off."""
        return self._truncateds.get(agent_id, False)

    def is_done(self, agent_id: Any = AGENT) -> bool:
        """Whether the agent's episode is over."""
        return self.last_terminated_for(agent_id) or self.last_truncated_for(agent_id)

    is_terminated = last_terminated_for
    is_truncated = last_truncated_for

    # What samplers write --------------------------------------------------------------------------------------------

    def observe(self, agent_id: Any, obs: Any, *, raw: Any = None, info: dict[str, Any] | None = None) -> None:
        """An agent has observed something."""
        self.agent_index(agent_id)
        self._obs[agent_id] = obs
        self._raw_obs[agent_id] = raw
        if info is not None:
            self._infos[agent_id] = info

    def act(
        self, agent_id: Any, action: Any, *, state: list[Any] | None = None, extra: dict[str, Any] | None = None
    ) -> None:
        """An agent's policy has chosen an action."""
        if agent_id in self._actions:
            self._prev_actions[agent_id] = self._actions[agent_id]
        self._actions[agent_id] = action
        if state is not None:
            self._states[agent_id] = state
        if extra is not None:
            self._extra_outs[agent_id] = extra

    def reward(self, agent_id: Any, reward: float) -> None:
        """An agent has been rewarded."""
        self.total_reward += reward
        key = (agent_id, self.policy_for(agent_id))
        self.agent_rewards[key] = self.agent_rewards.get(key, 0.0) + reward
        self._rewards[agent_id] = [*self._rewards.get(agent_id, [])[-1:], reward]

    def finish(self, agent_id: Any, *, terminated: bool, truncated: bool) -> None:
        """Whether the episode of an agent is over now."""
        self._terminateds[agent_id] = terminated
        self._truncateds[agent_id] = truncated

    def step(self) -> None:
        """One step of the environment has been done."""
        self.length += 1

    def set_last_info(self, agent_id: Any, info: dict[str, Any]) -> None:
        """The info of an agent (or of ``__common__``)."""
        self._infos[agent_id] = info

    def _zero_action(self, agent_id: Any) -> Any:
        import tree

        policy = self.policy_map[self.policy_for(agent_id)]
        return tree.map_structure(lambda leaf: np.zeros_like(np.asarray(leaf)), policy.action_space.sample())

    def __repr__(self) -> str:
        return f"{type(self).__name__}(episode_id={self.episode_id}, env_id={self.env_id}, length={self.length})"


MultiAgentEpisode = Episode
