"""Returns of several steps (Sutton and Barto 2018, section 7.1), for all trajectories of a rollout at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aktis.rllib.evaluation.postprocessing import adjust_nstep
from aktis.rllib.policy.sample_batch import SampleBatch

if TYPE_CHECKING:
    from aktis.rllib.evaluation.rollout import Rollout

#: The column with gamma^k, k being the number of steps whose rewards are summed in a row. At the end of a
# trajectory there are fewer than n.
DISCOUNTS = "discounts"


def nstep_returns(
    rewards: NDArray[Any], ends: NDArray[np.bool_], n_step: int, gamma: float
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """R_t = sum_{i < k} gamma^i r_{t + i}, where k is n, or the number of steps to the end of the trajectory if that is less.

    Arguments:
        rewards: [N, T].
        ends: [N, T], the last steps of trajectories; the last column is.
        n_step: n, 1 or more.
        gamma: discount.

    Returns:
        The sums [N, T], the flat index n * T + t of the last step of each sum [N, T], and gamma^k [N, T].
    """
    count, steps = rewards.shape
    time = np.arange(steps)
    # The end of each step's own trajectory: the nearest at or after it.
    end = np.minimum.accumulate(np.where(ends, time, steps - 1)[:, ::-1], axis=1)[:, ::-1]
    last = np.minimum(time + n_step - 1, end)
    summed = rewards.astype(np.float64)
    for ahead in range(1, min(n_step, steps)):
        summed[:, :-ahead] += np.where(
            last[:, :-ahead] >= time[:-ahead] + ahead, gamma**ahead * rewards[:, ahead:], 0.0
        )
    discounts = gamma ** (last - time + 1.0)
    return summed.astype(np.float32), last + (np.arange(count) * steps)[:, None], discounts.astype(np.float32)


class NStepPolicy:
    """Mixin of policies that learn from single transitions: rewards of `config.n_step` steps, and what was observed after them."""

    config: Any
    compute_td_error: Any  # |TD error| of each row of a batch

    def postprocess_trajectory(
        self, sample_batch: SampleBatch, other_agent_batches: Any = None, episode: Any = None
    ) -> SampleBatch:
        """Makes transitions of n steps out of those of one trajectory."""
        n_step, gamma = int(self.config.get("n_step", 1) or 1), float(self.config["gamma"])
        if n_step > 1:
            rows = len(sample_batch[SampleBatch.REWARDS])
            steps = np.minimum(n_step, rows - np.arange(rows))
            adjust_nstep(n_step, gamma, sample_batch)
            sample_batch[DISCOUNTS] = (gamma**steps).astype(np.float32)
        return self._with_priorities(sample_batch)

    def postprocess_rollout(self, rollout: Rollout) -> None:
        """The same for all trajectories of a rollout."""
        n_step, gamma = int(self.config.get("n_step", 1) or 1), float(self.config["gamma"])
        columns = rollout.columns
        if n_step > 1:
            columns[SampleBatch.REWARDS], last, columns[DISCOUNTS] = nstep_returns(
                columns[SampleBatch.REWARDS], rollout.ends(), n_step, gamma
            )
            for key in (SampleBatch.NEXT_OBS, SampleBatch.TERMINATEDS, SampleBatch.TRUNCATEDS):
                column = columns[key]
                columns[key] = column.reshape(-1, *column.shape[2:])[last]
        if self._worker_side_prioritization():
            flat = SampleBatch({key: column.reshape(-1, *column.shape[2:]) for key, column in columns.items()})
            columns["weights"] = self.compute_td_error(flat).reshape(columns[SampleBatch.REWARDS].shape)

    def _with_priorities(self, batch: SampleBatch) -> SampleBatch:
        if self._worker_side_prioritization():
            batch["weights"] = self.compute_td_error(batch)
        return batch

    def _worker_side_prioritization(self) -> bool:
        buffer = self.config.get("replay_buffer_config") or {}
        return bool(buffer.get("worker_side_prioritization"))
