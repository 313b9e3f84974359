"""Actions for observations, outside of sampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aktis.rllib.algorithms._algorithm.base import DEFAULT_POLICY_ID, AlgorithmParts

__all__ = ["ActionsPart", "next_state"]


class ActionsPart(AlgorithmParts):
    """``compute_single_action`` and ``compute_actions``."""

    def compute_single_action(
        self,
        observation: Any = None,
        state: Sequence[Any] | None = None,
        *,
        prev_action: Any = None,
        prev_reward: float | None = None,
        info: Mapping[str, Any] | None = None,
        input_dict: Any = None,
        policy_id: str = DEFAULT_POLICY_ID,
        full_fetch: bool = False,
        explore: bool | None = None,
        timestep: int | None = None,
        episode: Any = None,
        unsquash_action: bool | None = None,
        clip_action: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """The action of a policy for one observation of the environment.

        Args:
            observation: As the environment gives it; it is preprocessed and filtered here.
            state: Of a recurrent policy, as the last call returned it; at first ``policy.get_initial_state()``. An
                attention network returns what is new in its memory (see :func:`next_state`).
            prev_action: The action before, for models that look at it.
            prev_reward: The reward before.
            info: What the environment said beside the observation.
            input_dict: Instead of ``observation`` and what goes with it: the columns of a batch with one row, ready for
                the policy.
            policy_id: Which policy.
            full_fetch: Return everything.
            explore: Whether to explore; ``config.explore`` by default.
            timestep: The time that exploration goes by.
            episode: The episode, for policies that look at it.
            unsquash_action: Scale the action to the bounds of its space; ``config.normalize_actions`` by default.
            clip_action: Clip it to the bounds of its space; ``config.clip_actions`` by default.
            kwargs: For the policy. (``unsquash_actions`` and ``clip_actions`` are old names of those.)

        Returns:
            The action; with ``state`` or ``full_fetch``: (action, state, further outputs).

        Raises:
            ValueError: neither or both of observation and input_dict; no such policy.
        """
        unsquash, clip = self._how_to_act(unsquash_action, clip_action, kwargs)
        policy = self._policy_to_ask(policy_id)
        explore = self.config.explore if explore is None else explore
        if (observation is None) == (input_dict is None):
            raise ValueError("compute_single_action() needs either an observation or an input_dict")
        if input_dict is not None:
            batch = {**input_dict}
            if observation is None and "obs" in batch:
                batch["obs"] = _rows([self._seen_by_policy(_row(batch["obs"], 0), policy_id)])
            for i, part in enumerate(state or ()):
                batch[f"state_in_{i}"] = np.expand_dims(np.asarray(part), 0)
            actions, states, extra = policy.compute_actions_from_input_dict(
                batch, explore=explore, timestep=timestep, **kwargs
            )
            action, state_out = _row(actions, 0), policy.newest([_row(part, 0) for part in states])
            extra = _row(extra, 0)
        else:
            action, state_out, extra = policy.compute_single_action(
                self._seen_by_policy(observation, policy_id),
                list(state) if state is not None else None,
                prev_action=prev_action,
                prev_reward=prev_reward,
                info=info,
                explore=explore,
                timestep=timestep,
                episode=episode,
                **kwargs,
            )
        action = _for_environment(action, policy, unsquash, clip)
        return (action, state_out, extra) if state or full_fetch else action

    def compute_actions(
        self,
        observations: Mapping[Any, Any],
        state: Mapping[Any, Sequence[Any]] | Sequence[Any] | None = None,
        *,
        prev_action: Mapping[Any, Any] | None = None,
        prev_reward: Mapping[Any, float] | None = None,
        info: Mapping[Any, Any] | None = None,
        policy_id: str = DEFAULT_POLICY_ID,
        full_fetch: bool = False,
        explore: bool | None = None,
        timestep: int | None = None,
        episodes: Sequence[Any] | None = None,
        unsquash_actions: bool | None = None,
        clip_actions: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Actions of a policy for several observations at once.

        Args:
            observations: Of each agent.
            state: Of each agent, of a recurrent policy.
            prev_action: The action before, of each agent.
            prev_reward: The reward before, of each agent.
            info: Of each agent.
            policy_id: Which policy.
            full_fetch: Return everything.
            explore: As in :meth:`compute_single_action`, and so on.
            timestep: The time that exploration goes by.
            episodes: Of each agent, for policies that look at it.
            unsquash_actions: Scale actions to the bounds of their space.
            clip_actions: Clip them.
            kwargs: For the policy.

        Returns:
            The action of each agent; with ``state`` or ``full_fetch``: (actions, states of each agent, further outputs).
        """
        unsquash, clip = self._how_to_act(unsquash_actions, clip_actions, kwargs)
        policy = self._policy_to_ask(policy_id)
        agents = list(observations)
        if not agents:
            return ({}, {}, {}) if state or full_fetch else {}
        states = _states_by_agent(state, agents)
        batch: dict[str, Any] = {
            "obs": _rows([self._seen_by_policy(observations[agent], policy_id) for agent in agents])
        }
        for i in range(len(states[0])):
            batch[f"state_in_{i}"] = np.stack([np.asarray(states[row][i]) for row in range(len(agents))])
        for column, given in (("prev_actions", prev_action), ("prev_rewards", prev_reward), ("infos", info)):
            if given:
                batch[column] = _rows([given[agent] for agent in agents])
        actions, states_out, extra = policy.compute_actions_from_input_dict(
            _as_batch(batch),
            explore=self.config.explore if explore is None else explore,
            timestep=timestep,
            episodes=list(episodes) if episodes is not None else None,
            **kwargs,
        )
        made = {agent: _for_environment(_row(actions, i), policy, unsquash, clip) for i, agent in enumerate(agents)}
        if not state and not full_fetch:
            return made
        new = {agent: policy.newest([_row(part, i) for part in states_out]) for i, agent in enumerate(agents)}
        return made, new, extra

    def compute_action(self, *args: Any, **kwargs: Any) -> Any:
        """The old name of :meth:`compute_single_action`."""
        return self.compute_single_action(*args, **kwargs)

    def _how_to_act(self, unsquash: bool | None, clip: bool | None, kwargs: dict[str, Any]) -> tuple[bool, bool]:
        for old in ("unsquash_actions", "normalize_actions"):
            unsquash = kwargs.pop(old, None) if unsquash is None else unsquash
        clip = kwargs.pop("clip_actions", None) if clip is None else clip
        return (
            self.config.normalize_actions if unsquash is None else unsquash,
            self.config.clip_actions if clip is None else clip,
        )

    def _policy_to_ask(self, policy_id: str) -> Any:
        policy = self.get_policy(policy_id)
        if policy is None:
            known = ", ".join(sorted(self._local.policy_map.keys()))
            raise ValueError(f"there is no policy {policy_id!r}; the policies are {known}")
        return policy

    def _seen_by_policy(self, observation: Any, policy_id: str) -> Any:
        """An observation as the policy gets it while sampling: preprocessed and filtered. The filter does not learn from it."""
        worker = self._local
        preprocessor = (getattr(worker, "preprocessors", None) or {}).get(policy_id)
        if preprocessor is not None:
            observation = preprocessor.transform(observation)
        observation_filter = (getattr(worker, "filters", None) or {}).get(policy_id)
        return observation if observation_filter is None else observation_filter(observation, update=False)


def next_state(state: Sequence[Any], new: Sequence[Any]) -> list[Any]:
    """The state for the next step: what ``compute_single_action`` returned, behind what is there of memories."""
    return [
        np.concatenate([old[1:], [part]]) if np.ndim(old) == np.ndim(part) + 1 else part
        for old, part in zip(state, new, strict=True)
    ]


def _states_by_agent(state: Any, agents: list[Any]) -> list[Sequence[Any]]:
    """The state of each agent, in their order: a list of parts each. What is no dict is the same for all."""
    if not state:
        return [() for _ in agents]
    if isinstance(state, Mapping):
        return [state[agent] for agent in agents]
    return [state for _ in agents]


def _for_environment(action: Any, policy: Any, unsquash: bool, clip: bool) -> Any:
    from aktis.rllib.utils.spaces import space_utils

    if unsquash:
        return space_utils.unsquash_action(action, policy.action_space_struct)
    return space_utils.clip_action(action, policy.action_space_struct) if clip else action


def _as_batch(columns: dict[str, Any]) -> Any:
    from aktis.rllib.policy.sample_batch import SampleBatch

    return SampleBatch(columns)


def _row(columns: Any, index: int) -> Any:
    import tree

    if isinstance(columns, list):  # actions one by one, as policies without a network like to return them
        return columns[index]
    return tree.map_structure(lambda column: column[index], columns)


def _rows(values: list[Any]) -> Any:
    import tree

    if isinstance(values[0], Mapping) and not all(
        isinstance(value, Mapping) and value.keys() == values[0].keys() for value in values
    ):
        made: Any = np.empty(len(values), object)  # infos, each with keys of its own
        made[:] = values
        return made
    return tree.map_structure(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *values)
