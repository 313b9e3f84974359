"""The policies of an episode sampler: from observations of many agents, in many environments, to their actions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from aktis.rllib.evaluation._action_transform import ActionTransform, flatten_actions
from aktis.rllib.evaluation._agent_connectors import OwnConnectors
from aktis.rllib.evaluation._agent_record import AgentRecord
from aktis.rllib.evaluation._observations import Reader
from aktis.rllib.evaluation._policy_log import PolicyLog
from aktis.rllib.evaluation._views import Views
from aktis.rllib.policy import _columns

__all__ = ["Acting", "RowOf"]

Array = np.ndarray[Any, np.dtype[Any]]


class RowOf(Mapping[str, Any]):
    """One row of a dict of columns; taken out only when it is looked at."""

    __slots__ = ("_columns", "_row")

    def __init__(self, columns: Mapping[str, Any], row: int) -> None:
        self._columns = columns
        self._row = row

    def __getitem__(self, key: str) -> Any:
        return self._columns[key][self._row]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


class Acting:
    """One policy, what belongs to it, and the agents that wait for its actions.

    Args:
        policy: It.
        filter_: Of observations; None: none.
        preprocessor: Flattens observations; None: they are arrays as they are.
        normalize: Actions are in [-1, 1] and unsquashed for the environment.
        clip: Actions are clipped for the environment.
        update_filter: Whether observations change the statistics of the filter.
        flatten: Structured actions are stored flattened.
    """

    def __init__(
        self,
        policy: Any,
        filter_: Any,
        preprocessor: Any,
        *,
        normalize: bool,
        clip: bool,
        update_filter: bool,
        flatten: bool = True,
    ) -> None:
        self.policy = policy
        self.filter = None if type(filter_).__name__ == "NoFilter" else filter_
        self.update_filter = update_filter
        space = policy.observation_space
        space = getattr(space, "original_space", space)
        # Without a preprocessor, observations that are dicts or tuples stay so.
        self.structured = preprocessor is None and isinstance(space, (spaces.Dict, spaces.Tuple))
        self._flatten = flatten
        self.reader = Reader(space, preprocessor)
        self._normalizes = normalize
        self.transform = ActionTransform(policy.action_space, normalize=normalize, clip=clip)
        self.log = PolicyLog()
        self.connectors = OwnConnectors(policy)
        requirements = getattr(policy, "view_requirements", None) or {}
        self.views = Views(requirements, 1)
        states = [np.asarray(state) for state in policy.get_initial_state()]
        self._all_states = states
        # A memory that is a view of earlier outputs (attention) is no state of ours.
        self.initial = [] if any(data.startswith("state_out_") for data in self.views.depth) else states
        self._arrived: list[tuple[AgentRecord, Array]] = []
        self._records: list[AgentRecord] = []
        self._observations: list[Array] = []

    # ---- observations ----

    def row(self, observation: Any) -> Any:
        """An observation as policies get it: preprocessed, not filtered."""
        if self.structured:
            return _columns.map_column(np.asarray, observation)
        return self.reader.row(observation)

    def arrive(self, record: AgentRecord, row: Array) -> None:
        """An agent has observed something that it will act on (after `filter_arrived`)."""
        self._arrived.append((record, row))

    def final(self, record: AgentRecord, row: Array) -> None:
        """An agent has observed the end of its episode."""
        if self.filter is not None and self.connectors.agent is None:
            row = self.filter(row, update=False)
        record.next_obs = row

    def filter_arrived(self) -> None:
        """Filter what has arrived, all together."""
        if not self._arrived:
            return
        arrived, self._arrived = self._arrived, []
        rows = self._stacked([row for _, row in arrived])
        if self.filter is not None and self.connectors.agent is None:
            rows = self.filter.batch(rows, update=self.update_filter)
        for index, (record, _) in enumerate(arrived):
            record.next_obs = _columns.take(rows, index) if self.structured else rows[index]
            record.pending = True
            if self.views.views and not record.recent:
                self._begin_views(record)
        self._records.extend(record for record, _ in arrived)
        self._observations.append(rows)

    def forget(self, dropped: set[int]) -> None:
        """Agents (by `id`) that wait no more, because their episode is gone."""
        self._arrived = [entry for entry in self._arrived if id(entry[0]) not in dropped]
        if not any(id(record) in dropped for record in self._records):
            return
        rows = _columns.concat(self._observations)
        kept = [index for index, record in enumerate(self._records) if id(record) not in dropped]
        self._records = [self._records[index] for index in kept]
        self._observations = [_columns.take(rows, np.array(kept))] if kept else []

    def _stacked(self, rows: list[Any]) -> Any:
        if self.structured:
            return _columns.map_column(lambda *leaves: np.stack(leaves), rows[0], *rows[1:])
        return np.stack(rows)

    @property
    def waits(self) -> bool:
        """Whether agents wait for its actions."""
        return bool(self._records)

    def replace_policy(self, policy: Any) -> bool:
        """Go on with another object for the same policy (one that was fetched into memory). False: it is of another kind."""
        old = self.policy
        alike = type(policy) is type(old) and policy.observation_space == old.observation_space
        if not alike or policy.action_space != old.action_space:
            return False
        if set(policy.view_requirements) != set(old.view_requirements):
            return False
        self.policy = policy
        self.connectors = OwnConnectors(policy)
        return True

    def take_over(self, other: Acting) -> None:
        """Go on in the place of another policy: its agents wait for this one now, and what it computed stays in the log."""
        self.log = other.log
        self._arrived, self._records, self._observations = other._arrived, other._records, other._observations
        for record in self._records:
            if len(record.states) != len(self.initial):
                record.states = list(self.initial)

    # ---- actions ----

    def act(self) -> Iterator[tuple[AgentRecord, Any, Array, Mapping[str, Any]]]:
        """Compute the actions of all agents that wait.

        Yields:
            For each agent its record, its action for the environment, as it is stored, and what else was computed.
        """
        if not self._records:
            return
        records, self._records = self._records, []
        obs = self._observations[0] if len(self._observations) == 1 else _columns.concat(self._observations)
        self._observations = []
        columns: dict[str, Any] = {"obs": obs}
        if self.views.views:
            self.views.history = {
                data: np.stack([record.recent[data] for record in records])
                for data in self.views.depth
                if data in records[0].recent
            }
            columns.update(self.views.inputs(obs))
        for index in range(len(self.initial)):
            columns[f"state_in_{index}"] = np.stack([record.states[index] for record in records])
        policy = self.policy
        actions, states, extras = policy.compute_actions_from_input_dict(
            dict(columns), timestep=policy.global_timestep, episodes=[record.episode for record in records]
        )
        stored = flatten_actions(policy.action_space, actions) if self._flatten else actions
        logged = {"obs": obs, "actions": stored, **extras}
        logged.update(
            {name: column for name, column in columns.items() if name.startswith("state_in_") and self.initial}
        )
        if not self.initial:
            logged.update({f"state_out_{index}": np.asarray(state) for index, state in enumerate(states)})
        first = self.log.append(logged, len(records))
        for_env = self.transform.each(actions)
        state_arrays = [np.asarray(state) for state in states] if self.initial else []
        for index, record in enumerate(records):
            record.act(first + index, record.episode.length, [state[index] for state in state_arrays])
            if self.views.views:
                record.acted = {"obs": obs[index], "actions": _columns.take(stored, index)}
                record.acted.update({f"state_out_{i}": np.asarray(state)[index] for i, state in enumerate(states)})
            if self.connectors.agent is not None or self.connectors.action is not None:
                for_env[index] = self._through_connectors(
                    record, index, columns, actions, states, extras, for_env[index]
                )
            mine = stored[index] if self._flatten else _columns.take(stored, index)
            yield record, for_env[index], mine, RowOf(extras, index)

    def _through_connectors(
        self, record: AgentRecord, index: int, columns: Any, actions: Any, states: Any, extras: Any, for_env: Any
    ) -> Any:
        given = {name: _columns.take(column, slice(index, index + 1)) for name, column in columns.items()}
        output = (_columns.take(actions, index), [state[index] for state in states], dict(RowOf(extras, index)))
        return self.connectors.act(record.episode.env_id, record.agent_id, given, output, for_env)

    def logged_instead(self, record: AgentRecord, action: Any) -> Any:
        """An agent did another action than the policy's: store that one, and how likely it was.

        Args:
            record: The agent, which has just acted.
            action: What it did, as the environment sees it.

        Returns:
            The action as it is stored.
        """
        policy = self.policy
        mine = self._normalized(action)
        stored = flatten_actions(policy.action_space, _batch_of_one(mine))[0] if self._flatten else mine
        values: dict[str, Any] = {"actions": stored}
        try:
            likelihood = policy.compute_log_likelihoods(
                _batch_of_one(mine),
                _batch_of_one(record.next_obs),
                [state[None] for state in record.states_in],
                actions_normalized=True,
            )
            likelihood = float(np.asarray(likelihood).reshape(-1)[0])
            values.update(action_logp=likelihood, action_prob=float(np.exp(likelihood)))
        except NotImplementedError:  # the policy has no distribution; nothing that learns from it needs one
            pass
        self.log.replace(record.current, values)
        if record.acted:
            record.acted["actions"] = values["actions"]
        return values["actions"]

    def _normalized(self, action: Any) -> Any:
        import tree

        def leaf(space: Any, value: Any) -> Any:
            value = np.asarray(value)
            bounded = isinstance(space, spaces.Box) and np.isfinite(space.low).all() and np.isfinite(space.high).all()
            if not bounded or not self._normalizes:
                return value
            if np.dtype(space.dtype).kind == "f":
                return ((value - space.low) * 2.0 / np.maximum(space.high - space.low, 1e-12) - 1.0).astype(np.float32)
            return value - space.low

        def down(space: Any, value: Any) -> Any:
            if isinstance(space, spaces.Dict):
                return {key: down(part, value[key]) for key, part in space.spaces.items()}
            if isinstance(space, spaces.Tuple):
                return tuple(down(part, item) for part, item in zip(space.spaces, value, strict=True))
            return leaf(space, value)

        return tree.map_structure(np.asarray, down(self.policy.action_space, action))

    # ---- views ----

    def _begin_views(self, record: AgentRecord) -> None:
        """Nothing lies before an episode: zeros; of observations, the first one."""
        from aktis.rllib.evaluation._vector_runner import _zero_actions

        for data, depth in self.views.depth.items():
            if data == "obs":
                example: Array = record.next_obs
            elif data == "rewards":
                example = np.zeros((), np.float32)
            elif data == "actions":
                example = flatten_actions(self.policy.action_space, _zero_actions(self.policy.action_space))[0]
            elif data.startswith("state_out_"):
                example = np.zeros_like(self._all_states[int(data.rsplit("_", 1)[1])])
            else:
                continue
            record.recent[data] = np.repeat(example[None], depth, axis=0)
        record.before = dict(record.recent)


def _batch_of_one(action: Any) -> Any:
    import tree

    return tree.map_structure(lambda leaf: np.asarray(leaf)[None], action)
