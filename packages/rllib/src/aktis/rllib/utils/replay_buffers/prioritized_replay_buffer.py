"""Prioritised experience replay (Schaul et al. 2016, https://arxiv.org/abs/1511.05952)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from aktis.rllib.utils.replay_buffers._priority_tree import PriorityTree
from aktis.rllib.utils.replay_buffers._storage import Slots
from aktis.rllib.utils.replay_buffers.replay_buffer import ReplayBuffer, StorageUnit


def importance_weights(priorities: NDArray[np.float64], smallest: float, beta: float) -> NDArray[np.float32]:
    """w_i / max_j w_j with w_i = (N P(i))^-beta (Schaul et al. 2016, section 3.4). [n] -> [n]

    N and the sum of priorities cancel; the greatest weight of the buffer is that of its smallest priority.

    Arguments:
        priorities: of the sampled entries, already to the power of alpha.
        smallest: the smallest of the whole buffer.
        beta: 0 for no correction, 1 for the whole.
    """
    return ((priorities / smallest) ** -beta).astype(np.float32)


class PrioritizedReplayBuffer(ReplayBuffer):
    """Samples entries with probability P(i) = p_i^alpha / sum_k p_k^alpha; new ones have the greatest priority that there was.

    Arguments:
        capacity: greatest number of timesteps.
        storage_unit: "timesteps", "sequences", "episodes" or "fragments".
        alpha: 0 for uniform sampling, 1 for sampling in proportion to priorities.
        kwargs: as for ReplayBuffer.
    """

    def __init__(
        self, capacity: int = 10000, storage_unit: str | StorageUnit = "timesteps", alpha: float = 1.0, **kwargs: Any
    ) -> None:
        if alpha < 0:
            raise ValueError(f"alpha of a PrioritizedReplayBuffer must be 0 or more, not {alpha!r}.")
        super().__init__(capacity, storage_unit, **kwargs)
        self._alpha = float(alpha)
        self._max_priority = 1.0
        self._tree = PriorityTree(self.capacity)
        self._priority_updates = 0

    def add(
        self,
        batch: SampleBatch | MultiAgentBatch,
        *,
        weight: float | NDArray[np.floating[Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        """Adds a batch.

        Arguments:
            batch: rows in order of time.
            weight: priority of the new entries: one number, or one for each row (None: the greatest that there was).
        """
        if batch.count == 0:
            return
        start = 0
        for entry in self._entries(batch):
            of_entry = weight[start : start + entry.count] if isinstance(weight, np.ndarray) and weight.ndim else weight
            start += entry.count
            self._add_entry(entry, weight=of_entry)

    def _add_entry(self, entry: Any, *, weight: Any = None, **kwargs: Any) -> Slots:
        slots = super()._add_entry(entry)
        if weight is None:
            self._tree.set(slots, self._max_priority**self._alpha)
            return slots
        priorities = np.broadcast_to(np.asarray(weight, np.float64), (entry.count,))
        if self.storage_unit is not StorageUnit.TIMESTEPS:
            priorities = priorities.mean(keepdims=True)
        self._set_priorities(slots, priorities[-len(slots) :])
        return slots

    def _on_evicted(self, slots: Slots) -> None:
        self._tree.set(slots, 0.0)

    def sample(self, num_items: int, beta: float = 0.0, **kwargs: Any) -> Any:
        """Entries in proportion to their priorities, with the columns `weights` and `batch_indexes`.

        Arguments:
            num_items: how many.
            beta: strength of the importance-sampling correction: 0 for none, 1 for the whole.

        Raises:
            ValueError: the buffer is empty, or beta is negative.
        """
        if beta < 0:
            raise ValueError(f"beta must be 0 or more, not {beta!r}.")
        if len(self._storage) == 0:
            raise ValueError("Trying to sample from an empty buffer: add experiences first.")
        slots = self._tree.sample(num_items, self._rng)
        weights = importance_weights(self._tree.get(slots), self._tree.smallest(), beta)
        batch = self._take(slots)
        if self.storage_unit is not StorageUnit.TIMESTEPS:
            lengths = self._storage.lengths(slots)
            slots, weights = np.repeat(slots, lengths), np.repeat(weights, lengths)
        for policy_batch in batch.policy_batches.values() if isinstance(batch, MultiAgentBatch) else [batch]:
            # In lockstep, policies have as many rows as the step has agents: the weights are those of the timestep only.
            if policy_batch.count == len(slots):
                policy_batch["weights"] = weights
                policy_batch["batch_indexes"] = slots
        return batch

    def update_priorities(
        self, idxes: Sequence[int] | NDArray[Any], priorities: Sequence[float] | NDArray[Any]
    ) -> None:
        """Sets the priorities of sampled entries.

        Arguments:
            idxes: their `batch_indexes`.
            priorities: |TD error| + epsilon of each; where an entry appears several times, the last counts.

        Raises:
            ValueError: not as many priorities as entries, one that is not positive, or an entry that is not there.
        """
        slots = np.asarray(idxes, np.int64)
        values = np.asarray(priorities, np.float64)
        if slots.shape != values.shape:
            raise ValueError(f"{values.shape} priorities for {slots.shape} entries: there must be one for each.")
        if not len(slots):
            return
        if slots.min() < 0 or slots.max() >= self.capacity or not self._tree.get(slots).all():
            raise ValueError("Priorities for entries that are not in the buffer: use the batch_indexes of a sample.")
        self._set_priorities(slots, values)
        self._priority_updates += len(slots)

    def _set_priorities(self, slots: Slots, values: NDArray[np.float64]) -> None:
        if not values.min() > 0 or not np.isfinite(values.max()):
            bad = values[~((values > 0) & np.isfinite(values))][0]
            raise ValueError(
                f"Priorities must be positive numbers, not {bad}: a TD error of NaN means that the loss diverged."
            )
        self._tree.set(slots, values**self._alpha)
        self._max_priority = max(self._max_priority, float(values.max()))

    def stats(self, debug: bool = False) -> dict[str, Any]:
        """As ReplayBuffer's; with `debug`, also the mean of priorities and their number of updates."""
        data = super().stats(debug)
        if debug:
            data["mean_priority"] = self._tree.total() / max(1, len(self))
            data["max_priority"] = self._max_priority
            data["priority_updates"] = self._priority_updates
        return data

    def get_state(self) -> dict[str, Any]:
        """As ReplayBuffer's, with the priorities."""
        live = self._storage.live()
        return super().get_state() | {
            "slots": live,
            "priorities": self._tree.get(live),
            "max_priority": self._max_priority,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores what `get_state` gave."""
        super().set_state(state)
        self._tree = PriorityTree(self.capacity)
        live = self._storage.live()  # oldest first, as they were saved
        self._tree.set(live, np.asarray(state["priorities"], np.float64))
        self._max_priority = float(state["max_priority"])
