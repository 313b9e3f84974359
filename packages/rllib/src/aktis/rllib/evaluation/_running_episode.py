"""What the episode sampler keeps: how it shall sample, and the episodes that run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aktis.rllib.evaluation._agent_record import AgentRecord, Trajectory
from aktis.rllib.evaluation.episode import Episode

if TYPE_CHECKING:
    from aktis.rllib.evaluation._agent_policies import Acting

__all__ = ["EpisodeSamplerSettings", "Running", "forget_rows"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class EpisodeSamplerSettings:
    """How to sample.

    Attributes:
        multi_agent: Batches are MultiAgentBatches; otherwise those of the default policy.
        complete_episodes: Batches hold whole episodes; otherwise as many steps as asked for, and episodes go on in the next one.
        count_steps_by: What is counted: `"env_steps"` or `"agent_steps"`.
        clip_rewards: False: as they are. True: their sign. A number c: to [-c, c].
        normalize_actions: Policies act in [-1, 1].
        clip_actions: Actions are clipped to the space.
        update_filter: Whether sampling changes the statistics of observation filters.
        compress: Whether observations are compressed in batches.
        check: Whether observations are checked against their spaces, at first and now and then.
        with_policy_ids: What `postprocess_trajectory` gets of other agents: `(policy_id, policy, batch)`, or `(policy, batch)`.
        observation_fn: Called with `agent_obs`, `worker`, `base_env`, `policies`, `episode`; gives what agents observe instead.
        worker_index: Of the worker: episodes have numbers that no other worker gives.
        generation: How often the worker was made anew.
    """

    multi_agent: bool = True
    complete_episodes: bool = False
    count_steps_by: str = "env_steps"
    clip_rewards: bool | float = False
    normalize_actions: bool = True
    clip_actions: bool = False
    update_filter: bool = True
    compress: bool = False
    check: bool = True
    with_policy_ids: bool = True
    observation_fn: Callable[..., Any] | None = None
    worker_index: int = 0
    generation: int = 0

    def __post_init__(self) -> None:
        if self.count_steps_by not in ("env_steps", "agent_steps"):
            raise ValueError(f"count_steps_by={self.count_steps_by!r}: it must be 'env_steps' or 'agent_steps'")

    def clip(self, rewards: Array) -> Array:
        """Rewards as they are learned from."""
        limit = self.clip_rewards
        if limit is False or limit is None:
            return rewards.astype(np.float32)
        clipped: Array = np.sign(rewards) if limit is True else np.clip(rewards, -limit, limit)
        return clipped.astype(np.float32)


class Running:
    """An episode that runs: its object, its agents, and what its environment waits for."""

    __slots__ = ("actions", "env_id", "episode", "learn", "logged", "records", "waits")

    def __init__(self, env_id: Any, episode: Episode) -> None:
        self.env_id = env_id
        self.episode = episode
        self.records: dict[Any, AgentRecord] = {}
        self.actions: dict[Any, Any] = {}
        self.logged: dict[Any, Any] = {}
        self.waits = False  # for actions
        self.learn = True


def forget_rows(acting: Mapping[str, Acting], running: Iterable[Running], finished: Iterable[list[Trajectory]]) -> None:
    """Keep in the policies' logs only what has not been handed out, and renumber the rows that agents remember.

    Args:
        acting: By policy id.
        running: Episodes that run.
        finished: Trajectories of those that have ended and wait for their batch.
    """
    alive: dict[str, list[list[int]]] = {policy_id: [] for policy_id in acting}
    going_on: dict[str, list[AgentRecord]] = {policy_id: [] for policy_id in acting}
    for episode in running:
        for record in episode.records.values():
            if record.rows:
                alive[record.policy_id].append(record.rows)
            if record.current >= 0:
                going_on[record.policy_id].append(record)
    for trajectories in finished:
        for trajectory in trajectories:
            alive[trajectory.record.policy_id].append(trajectory.rows)
    for policy_id, policy in acting.items():
        kept = [row for rows in alive[policy_id] for row in rows]
        policy.log.keep([*kept, *(record.current for record in going_on[policy_id])])
        position = 0
        for rows in alive[policy_id]:
            rows[:] = range(position, position + len(rows))
            position += len(rows)
        for offset, record in enumerate(going_on[policy_id]):
            record.current = position + offset
