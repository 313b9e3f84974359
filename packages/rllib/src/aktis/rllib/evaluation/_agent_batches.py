"""From the trajectories of many agents to the batch of each policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from aktis.rllib.evaluation._agent_record import Trajectory
from aktis.rllib.evaluation._observations import refuse_nan
from aktis.rllib.evaluation._policy_log import PolicyLog
from aktis.rllib.evaluation._trajectories import explored, handles_whole_rollouts
from aktis.rllib.evaluation._views import Views, asked_for, shifted_column
from aktis.rllib.evaluation.rollout import Rollout
from aktis.rllib.policy import _columns
from aktis.rllib.policy.sample_batch import SampleBatch

__all__ = ["AgentBatches", "training_columns"]

Array = np.ndarray[Any, np.dtype[Any]]


class AgentBatches:
    """Makes batches.

    Args:
        policies: By id.
        after: `after(trajectory, processed, originals)`, the callback `on_postprocess_trajectory`; None: nobody wants it.
        with_policy_ids: What policies get of other agents: `(policy_id, policy, batch)`, or `(policy, batch)`.
        compress: Compress observations.
        check: Look at observations.
    """

    def __init__(
        self,
        policies: Mapping[str, Any],
        after: Callable[[Trajectory, SampleBatch, dict[Any, Any]], None] | None = None,
        *,
        with_policy_ids: bool = True,
        compress: bool = False,
        check: bool = True,
    ) -> None:
        self._policies = policies
        self._after = after
        self._with_policy_ids = with_policy_ids
        self._compress = compress
        self._check = check
        self._clip: Callable[[Array], Array] = lambda rewards: rewards.astype(np.float32)

    def make(
        self,
        trajectories: Sequence[Trajectory],
        logs: Mapping[str, PolicyLog],
        views: Mapping[str, Views],
        first_unroll: int,
        clip: Callable[[Array], Array],
    ) -> dict[str, SampleBatch]:
        """The batch of each policy.

        Args:
            trajectories: In the order in which they shall be.
            logs: Of each policy.
            views: Of each policy.
            first_unroll: Number of the first trajectory.
            clip: Of rewards.
        """
        by_policy: dict[str, list[tuple[int, Trajectory]]] = {}
        for number, trajectory in enumerate(trajectories, first_unroll):
            by_policy.setdefault(trajectory.record.policy_id, []).append((number, trajectory))
        rollouts: dict[str, Rollout] = {}
        whole = self._after is None and all(
            handles_whole_rollouts(self._policies[policy_id]) for policy_id in by_policy
        )
        # Rollouts are arrays: structured observations go the other way.
        whole = whole and not any(isinstance(t.next_obs, (dict, tuple)) for t in trajectories)
        for policy_id, mine in by_policy.items():
            wanted = asked_for(self._policies[policy_id])
            rollouts[policy_id] = one_rollout(
                mine, logs[policy_id], views[policy_id], wanted if whole else {*wanted, "new_obs"}, clip
            )
            if self._check:
                refuse_nan(rollouts[policy_id].columns["obs"], partial(_whose, mine))
        if whole:
            batches = {policy_id: self._whole(policy_id, rollout) for policy_id, rollout in rollouts.items()}
        else:
            batches = self._each(by_policy, rollouts)
        if self._compress:
            for batch in batches.values():
                batch.compress(columns=frozenset({"obs", "new_obs"}))
        return batches

    def _whole(self, policy_id: str, rollout: Rollout) -> SampleBatch:
        process = getattr(self._policies[policy_id], "postprocess_rollout", None)
        if process is not None:
            process(rollout)
        return SampleBatch({name: column[0] for name, column in rollout.columns.items()})

    def _each(
        self, by_policy: dict[str, list[tuple[int, Trajectory]]], rollouts: dict[str, Rollout]
    ) -> dict[str, SampleBatch]:
        """Each trajectory through `postprocess_trajectory`, with those of the others in its episode beside it."""
        raw: list[tuple[int, Trajectory, SampleBatch]] = []
        for policy_id, mine in by_policy.items():
            columns = {name: _columns.take(column, 0) for name, column in rollouts[policy_id].columns.items()}
            end = 0
            for number, trajectory in mine:
                first, end = end, end + len(trajectory)
                raw.append(
                    (
                        number,
                        trajectory,
                        SampleBatch(
                            {name: _columns.take(column, slice(first, end)) for name, column in columns.items()}
                        ),
                    )
                )
        raw.sort(key=lambda entry: entry[0])
        # Trajectories of one agent may follow one another in the same episode (complete episodes never do): the latest is seen.
        together: dict[int, dict[Any, Any]] = {}
        for _, trajectory, batch in raw:
            record = trajectory.record
            policy = self._policies[record.policy_id]
            entry = (record.policy_id, policy, batch) if self._with_policy_ids else (policy, batch)
            together.setdefault(id(record.episode), {})[record.agent_id] = entry
        if self._after is not None:
            # Post-processing may change its batch; what the callback gets as original must stay so.
            together = {
                key: {agent: (*entry[:-1], entry[-1].copy(shallow=True)) for agent, entry in agents.items()}
                for key, agents in together.items()
            }
        done: dict[str, list[SampleBatch]] = {policy_id: [] for policy_id in by_policy}
        for _, trajectory, batch in raw:
            record = trajectory.record
            originals = together[id(record.episode)]
            others = {agent: entry for agent, entry in originals.items() if agent != record.agent_id}
            policy = self._policies[record.policy_id]
            processed = policy.postprocess_trajectory(explored(policy, batch), others, record.episode)
            if self._after is not None:
                self._after(trajectory, processed, originals)
            done[record.policy_id].append(processed)
        return {policy_id: SampleBatch.concat_samples(batches) for policy_id, batches in done.items()}  # type: ignore[misc]


def _whose(numbered: Sequence[tuple[int, Trajectory]], at: tuple[int, ...]) -> str:
    """Where a row of a policy's rollout `[1, T]` comes from."""
    row = at[1]
    for _, trajectory in numbered:
        if row < len(trajectory):
            break
        row -= len(trajectory)
    record = trajectory.record
    return f"sub-environment {record.episode.env_id}, agent {record.agent_id!r}, step {trajectory.times[row]} of its episode"


def stacked(rows: Sequence[Any]) -> Any:
    """Rows (arrays, or structures of arrays) as a column."""
    return (
        np.stack(rows)
        if isinstance(rows[0], np.ndarray)
        else _columns.map_column(lambda *leaves: np.stack(leaves), *rows)
    )


def _following(obs: Array, at: Array, last: Array) -> Array:
    following = np.empty_like(obs)
    following[:-1] = obs[1:]
    following[at] = last
    return following


def _with_axis(column: Any) -> Any:
    return column[None] if isinstance(column, np.ndarray) else _columns.map_column(lambda leaf: leaf[None], column)


def one_rollout(
    numbered: Sequence[tuple[int, Trajectory]],
    log: PolicyLog,
    views: Views,
    wanted: set[str],
    clip: Callable[[Array], Array],
) -> Rollout:
    """All trajectories of a policy, one after the other, as a rollout of one environment `[1, T, ...]`."""
    trajectories = [trajectory for _, trajectory in numbered]
    lengths = np.array([len(trajectory) for trajectory in trajectories])
    ends = np.cumsum(lengths) - 1
    columns = log.take([row for trajectory in trajectories for row in trajectory.rows])
    total = int(lengths.sum())
    columns["rewards"] = clip(
        np.array([reward for trajectory in trajectories for reward in trajectory.rewards], np.float64)
    )
    for name in ("terminated", "truncated"):
        column = columns[f"{name}s"] = np.zeros(total, bool)
        column[ends] = [getattr(trajectory, name) for trajectory in trajectories]
    columns["t"] = np.array([time for trajectory in trajectories for time in trajectory.times], np.int64)
    columns["eps_id"] = np.repeat(np.array([int(t.record.episode.episode_id) for t in trajectories], np.int64), lengths)
    columns["agent_index"] = np.repeat(np.array([t.record.index for t in trajectories], np.int64), lengths)
    columns["unroll_id"] = np.repeat(np.array([number for number, _ in numbered], np.int64), lengths)
    training_columns(columns, trajectories, lengths, views, wanted)
    cuts = np.array(
        [end for end, trajectory in zip(ends.tolist(), trajectories, strict=True) if not trajectory.terminated],
        np.int64,
    )
    cut = [trajectory for trajectory in trajectories if not trajectory.terminated]
    obs = columns["obs"]
    cut_obs = stacked([trajectory.next_obs for trajectory in cut]) if cut else _columns.take(obs, slice(0, 0))
    states = [np.stack(rows) for rows in zip(*(trajectory.states for trajectory in cut), strict=True)] if cut else []
    return Rollout({name: _with_axis(column) for name, column in columns.items()}, cuts, cut_obs, states)


def training_columns(
    columns: dict[str, Array], trajectories: Sequence[Trajectory], lengths: Array, views: Views, wanted: set[str]
) -> None:
    """Add what is there only where it is asked for: next observations, infos, environments, and views of earlier steps."""
    ends = np.cumsum(lengths)
    if "new_obs" in wanted:
        last = stacked([trajectory.next_obs for trajectory in trajectories])
        columns["new_obs"] = _columns.map_column(
            lambda obs, final: _following(obs, ends - 1, final), columns["obs"], last
        )
    if "infos" in wanted:
        infos: Array = np.empty(int(lengths.sum()), object)
        for index, info in enumerate(info for trajectory in trajectories for info in trajectory.infos):
            infos[index] = info
        columns["infos"] = infos
    if "env_id" in wanted:
        columns["env_id"] = np.repeat(
            np.array([trajectory.record.episode.env_id for trajectory in trajectories]), lengths
        )
    for view in views.views:
        if not view.train or view.data not in columns:
            continue
        parts = []
        for end, trajectory in zip(ends.tolist(), trajectories, strict=True):
            if view.data not in trajectory.before:
                continue
            block = columns[view.data][None, end - len(trajectory) : end]
            t = np.arange(trajectory.first, trajectory.first + len(trajectory))[None]
            before = trajectory.before[view.data][None]
            shifted = [shifted_column(before, block, t, shift, view.data == "obs") for shift in view.shifts]
            parts.append(np.stack(shifted, axis=2)[0] if view.stacked else shifted[0][0])
        if len(parts) == len(trajectories):
            columns[view.name] = np.concatenate(parts)
