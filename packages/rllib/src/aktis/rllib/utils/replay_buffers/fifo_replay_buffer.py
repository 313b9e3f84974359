"""A queue with the face of a replay buffer: each batch is sampled once, in the order in which they came."""

from __future__ import annotations

from typing import Any

from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from aktis.rllib.utils.replay_buffers._storage import _item_of, _item_state
from aktis.rllib.utils.replay_buffers.replay_buffer import ReplayBuffer, StorageUnit


class FifoReplayBuffer(ReplayBuffer):
    """For algorithms that are written for a buffer, but learn from each batch once. It has no limit and keeps batches whole.

    Arguments:
        *args: accepted for the sake of the configuration, and of no effect.
        **kwargs: likewise.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(capacity=1, storage_unit=StorageUnit.FRAGMENTS)
        self._queue: list[SampleBatch | MultiAgentBatch] = []

    def __len__(self) -> int:
        """Batches that wait."""
        return len(self._queue)

    def add(self, batch: SampleBatch | MultiAgentBatch, **kwargs: Any) -> None:
        """Puts a batch at the queue's end."""
        self._queue.append(batch)
        self._num_timesteps_added += batch.count

    def sample(self, *args: Any, **kwargs: Any) -> Any:
        """Takes the oldest batch out; an empty MultiAgentBatch where none waits."""
        if not self._queue:
            return MultiAgentBatch({}, 0)
        batch = self._queue.pop(0)
        self._num_timesteps_sampled += batch.count
        return batch

    def update_priorities(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: there are no priorities."""

    def stats(self, debug: bool = False) -> dict[str, Any]:
        """Timesteps that came and went, batches that wait and their bytes."""
        return super().stats(debug) | {
            "num_entries": len(self._queue),
            "est_size_bytes": sum(batch.size_bytes() for batch in self._queue),
        }

    def get_state(self) -> dict[str, Any]:
        """As ReplayBuffer's, with the queue."""
        return super().get_state() | {"queue": [_item_state(batch) for batch in self._queue]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores what `get_state` gave."""
        super().set_state(state)
        self._queue = [_item_of(item) for item in state["queue"]]
