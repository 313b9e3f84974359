"""Environments of several agents that drive themselves."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from aktis.rllib.env.external_env import ExternalEnv
from aktis.rllib.env.multi_agent_env import MultiAgentDict, is_space_by_agent

__all__ = ["ExternalMultiAgentEnv"]


class ExternalMultiAgentEnv(ExternalEnv):
    """An ExternalEnv whose observations, actions, rewards and infos are dicts by agent.

    Args:
        action_space: Of each agent, or a Dict by agent.
        observation_space: Of each agent, or a Dict by agent.
        max_concurrent: How many episodes may go on at once.

    Raises:
        ValueError: The two Dict spaces have different agents.
    """

    def __init__(
        self, action_space: gym.Space[Any], observation_space: gym.Space[Any], max_concurrent: int = 100
    ) -> None:
        super().__init__(action_space, observation_space, max_concurrent)
        if (
            isinstance(action_space, dict)
            and isinstance(observation_space, dict)
            and action_space.keys() != observation_space.keys()
        ):
            raise ValueError(
                f"the spaces are of different agents: actions of {sorted(action_space)}, "
                f"observations of {sorted(observation_space)}"
            )
        if isinstance(action_space, dict) and is_space_by_agent(action_space, action_space):
            self._agent_ids = set(action_space)

    def get_action(self, episode_id: str, observation_dict: MultiAgentDict) -> MultiAgentDict:
        """The policies' actions for the observed agents.

        Raises:
            KeyError: There is no such episode.
            EnvStopped: The worker has stopped.
        """
        return self._get(episode_id).ask(_by_agent("observation_dict", observation_dict))

    def log_action(self, episode_id: str, observation_dict: MultiAgentDict, action_dict: MultiAgentDict) -> None:
        """Observations, and the actions that were done (chosen elsewhere).

        Raises:
            KeyError: There is no such episode.
            ValueError: Observations and actions are of different agents.
        """
        if _by_agent("observation_dict", observation_dict).keys() != _by_agent("action_dict", action_dict).keys():
            raise ValueError(
                f"observations of agents {list(observation_dict)} and actions of {list(action_dict)}: they must be the same"
            )
        self._get(episode_id).log(observation_dict, action_dict)

    def log_returns(  # type: ignore[override]
        self,
        episode_id: str,
        reward_dict: MultiAgentDict,
        info_dict: MultiAgentDict | None = None,
        multiagent_done_dict: MultiAgentDict | None = None,
    ) -> None:
        """Rewards since the last actions.

        Args:
            episode_id: The episode.
            reward_dict: By agent.
            info_dict: By agent.
            multiagent_done_dict: Agents that are done (for which the value of what follows is zero).

        Raises:
            KeyError: There is no such episode.
        """
        self._get(episode_id).reward(_by_agent("reward_dict", reward_dict), info_dict or {}, multiagent_done_dict or {})

    def end_episode(self, episode_id: str, observation_dict: MultiAgentDict) -> None:
        """The episode is over for all agents; with their last observations.

        Raises:
            KeyError: There is no such episode.
        """
        self._finish(episode_id, _by_agent("observation_dict", observation_dict))


def _by_agent(name: str, value: Any) -> MultiAgentDict:
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be a dict by agent, not {value!r:.100}")
    return value
