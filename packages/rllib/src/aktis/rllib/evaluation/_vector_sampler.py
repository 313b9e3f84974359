"""Sampling of single-agent environments, all sub-environments of a worker together.

What happens in a step of N environments: one call of the policy for all of them, N calls of ``env.step``, and one write into each
column (``_vector_runner.py``). Episodes are numbers in arrays; objects for them exist only where callbacks want them
(``_episode_tracker.py``). Here, blocks of steps become batches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from aktis.rllib.evaluation._finished import Finished, split_episodes
from aktis.rllib.evaluation._trajectories import as_batch, handles_whole_rollouts, postprocess_each
from aktis.rllib.evaluation._vector_runner import Cut, SamplerSettings, VectorRunner
from aktis.rllib.evaluation.metrics import RolloutMetrics
from aktis.rllib.evaluation.rollout import Rollout
from aktis.rllib.policy.sample_batch import DEFAULT_POLICY_ID, MultiAgentBatch, SampleBatch

__all__ = ["SamplerSettings", "VectorSampler"]

Array: TypeAlias = Any  # np.ndarray


class VectorSampler:
    """Batches out of what a runner does.

    Args:
        runner: Steps the environments.
        after_trajectory: ``after_trajectory(episode, postprocessed, original)``: the callback
            ``on_postprocess_trajectory``, if it is
            overridden.
        policy_id: Of the policy that acts. Batches of another one than the default are MultiAgentBatches, as everywhere.
    """

    def __init__(
        self,
        runner: VectorRunner,
        after_trajectory: Callable[[Any, SampleBatch, SampleBatch], None] | None = None,
        policy_id: str = DEFAULT_POLICY_ID,
    ) -> None:
        self.runner = runner
        self.num_envs = runner.num_envs
        self._after_trajectory = after_trajectory
        self.policy_id = policy_id
        self._finished: deque[Finished] = deque()
        self._partial: list[list[dict[str, Array]]] = [[] for _ in range(runner.num_envs)]

    def sample(self, fragment: int) -> SampleBatch | MultiAgentBatch:
        """The next batch.

        Args:
            fragment: With truncated episodes: steps of each environment. With complete ones: how many steps the batch has at least.
        """
        runner = self.runner
        runner.refresh()
        by_trajectory = self._after_trajectory is not None or not handles_whole_rollouts(runner.policy)
        runner.for_trajectories = by_trajectory
        if runner.settings.complete_episodes:
            rollout, mask = self._complete(fragment)
        else:
            rollout, mask = self._truncated(fragment)
        rollout.columns["unroll_id"] = runner.book.unroll_ids(rollout.ends())
        if by_trajectory:
            tracker = runner.tracker
            episode_of = _no_episode if tracker is None else tracker.episode_of
            batch = postprocess_each(rollout, mask, runner.policy, episode_of, self._after_trajectory)
        else:
            process = getattr(runner.policy, "postprocess_rollout", None)
            if process is not None:
                process(rollout)
            batch = as_batch(rollout.columns, mask)
        if runner.tracker is not None:
            runner.tracker.forget(np.unique(rollout.columns["eps_id"]).tolist())
        if runner.settings.compress:
            batch.compress(columns=frozenset({"obs", "new_obs"}))
        if self.policy_id != DEFAULT_POLICY_ID:
            return MultiAgentBatch({self.policy_id: batch}, batch.count)
        return batch

    def get_metrics(self) -> list[RolloutMetrics]:
        """The episodes that ended since the last call, each once."""
        return self.runner.take_metrics()

    def close(self) -> None:
        """Close the environments."""
        self.runner.stepper.close()

    def _truncated(self, fragment: int) -> tuple[Rollout, Array | None]:
        """The same number of steps of each environment; episodes go on in the next one."""
        steps = self.runner.run(fragment)
        columns = steps.columns
        length = columns["rewards"].shape[1]
        cuts = {env * length + step: cut for (env, step), cut in steps.truncated.items()}
        running = ~(columns["terminateds"][:, -1] | columns["truncateds"][:, -1])
        for env in np.flatnonzero(running).tolist():
            cuts[env * length + length - 1] = steps.cut(env)
        return _rollout(columns, cuts), steps.mask

    def _complete(self, fragment: int) -> tuple[Rollout, None]:
        """Episodes that have ended, one after the other as if they were of one environment."""
        while (ready := sum(episode.length for episode in self._finished)) < fragment:
            steps = self.runner.run_until_ended(fragment - ready)
            self._finished.extend(split_episodes(steps.columns, steps.mask, steps.truncated, self._partial))
        chosen: list[Finished] = []
        cuts: dict[int, Cut] = {}
        end = 0
        while end < fragment:
            episode = self._finished.popleft()
            chosen.append(episode)
            end += episode.length
            if episode.cut is not None:
                cuts[end - 1] = episode.cut
        columns = {
            name: np.concatenate([episode.columns[name] for episode in chosen])[None] for name in chosen[0].columns
        }
        return _rollout(columns, cuts), None


def _rollout(columns: dict[str, Array], cuts: dict[int, Cut]) -> Rollout:
    ordered = sorted(cuts)
    if not ordered:
        obs = columns["obs"]
        return Rollout(columns, np.zeros(0, np.int64), np.zeros((0, *obs.shape[2:]), obs.dtype))
    states = [np.stack(rows) for rows in zip(*(cuts[cut][1] for cut in ordered), strict=True)]
    return Rollout(columns, np.array(ordered, np.int64), np.stack([cuts[cut][0] for cut in ordered]), states)


def _no_episode(env: int, episode_id: int) -> None:
    return None
