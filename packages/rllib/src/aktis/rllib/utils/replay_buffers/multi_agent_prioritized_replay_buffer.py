"""Prioritised replay for several policies."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from aktis.rllib.utils.replay_buffers.multi_agent_replay_buffer import MultiAgentReplayBuffer, ReplayMode
from aktis.rllib.utils.replay_buffers.prioritized_replay_buffer import PrioritizedReplayBuffer
from aktis.rllib.utils.replay_buffers.replay_buffer import ReplayBuffer, StorageUnit


class MultiAgentPrioritizedReplayBuffer(MultiAgentReplayBuffer):
    """Holds one PrioritizedReplayBuffer for each policy.

    Arguments:
        capacity: greatest number of timesteps of each policy.
        prioritized_replay_alpha: 0 for uniform sampling, 1 for sampling in proportion to priorities.
        prioritized_replay_beta: strength of the importance-sampling correction.
        prioritized_replay_eps: added to |TD error|, so that no priority is 0.
        worker_side_prioritization: batches bring the initial priorities of their rows as the column `weights`.
        *args: as for MultiAgentReplayBuffer.
        **kwargs: as for MultiAgentReplayBuffer.
    """

    _underlying: type[ReplayBuffer] = PrioritizedReplayBuffer

    def __init__(
        self,
        capacity: int = 10000,
        *args: Any,
        prioritized_replay_alpha: float = 0.6,
        prioritized_replay_beta: float = 0.4,
        prioritized_replay_eps: float = 1e-6,
        worker_side_prioritization: bool = False,
        **kwargs: Any,
    ) -> None:
        if "prioritized_replay" in kwargs:
            kwargs.pop("prioritized_replay")
        super().__init__(capacity, *args, **kwargs)
        self.prioritized_replay_alpha = prioritized_replay_alpha
        self.prioritized_replay_beta = prioritized_replay_beta
        self.prioritized_replay_eps = prioritized_replay_eps
        self.worker_side_prioritization = worker_side_prioritization
        if issubclass(self._buffer_class, PrioritizedReplayBuffer):
            self._buffer_kwargs.setdefault("alpha", prioritized_replay_alpha)

    def _add_to_underlying_buffer(self, policy_id: str, batch: SampleBatch | MultiAgentBatch, **kwargs: Any) -> None:
        buffer = self._buffer_of(policy_id)
        if isinstance(batch, SampleBatch) and "weights" in batch:
            # Priorities of the workers; sampled batches get importance weights in a column of the same name.
            weights = np.abs(np.asarray(batch["weights"], np.float64)) + self.prioritized_replay_eps
            batch = batch.copy(shallow=True)
            del batch["weights"]
            if self.worker_side_prioritization and buffer.storage_unit in (
                StorageUnit.TIMESTEPS,
                StorageUnit.FRAGMENTS,
            ):
                kwargs.setdefault("weight", weights)
        buffer.add(batch, **kwargs)

    def _sample_from(self, policy_id: str, num_items: int, **kwargs: Any) -> Any:
        kwargs.setdefault("beta", self.prioritized_replay_beta)
        return self.replay_buffers[policy_id].sample(num_items, **kwargs)

    def update_priorities(self, prio_dict: dict[str, tuple[Any, Any]]) -> None:
        """New priorities after learning.

        Arguments:
            prio_dict: `batch_indexes` and TD errors (of any sign) of the learned rows, by policy.
        """
        begun = time.perf_counter()
        for policy_id, (batch_indexes, td_errors) in prio_dict.items():
            if self.replay_mode is ReplayMode.LOCKSTEP:
                continue  # one timestep has rows of several policies: there is no priority of one of them
            buffer = self.replay_buffers[policy_id]
            if not isinstance(buffer, PrioritizedReplayBuffer):
                continue
            index = np.asarray(batch_indexes)
            errors = np.abs(np.asarray(td_errors, np.float64))
            if len(errors) != len(
                index
            ):  # one error for each row of sequences with padding or without, or for each sequence
                index, errors = _match(index, errors)
            if buffer.storage_unit is not StorageUnit.TIMESTEPS:  # an item's priority is the mean of its rows
                index, inverse = np.unique(index, return_inverse=True)
                errors = np.bincount(inverse, errors) / np.bincount(inverse)
            buffer.update_priorities(index, errors + self.prioritized_replay_eps)
        self._note("update_priorities_time_ms", begun)

    def stats(self, debug: bool = False) -> dict[str, Any]:
        """Mean times, and the stats of each policy's buffer as `policy_<id>`."""
        return super().stats(debug)


def _match(index: Any, errors: Any) -> tuple[Any, Any]:
    """One index for each error, where there is one error for each item of which `index` has several rows."""
    starts = np.flatnonzero(np.r_[True, index[1:] != index[:-1]])
    if len(starts) == len(errors):
        return index[starts], errors
    raise ValueError(f"{len(errors)} TD errors for {len(index)} rows: there must be one for each.")


class MultiAgentMixInReplayBuffer(MultiAgentPrioritizedReplayBuffer):
    """Each sample is a mixture of new experiences, each of which is returned once, and of replayed ones.

    Arguments:
        capacity: greatest number of timesteps of each policy.
        replay_ratio: share of replayed entries: 0 for new ones only, 1 for replay only, 0.66 for two replayed for each new one.
        *args: as for MultiAgentPrioritizedReplayBuffer.
        **kwargs: as for MultiAgentPrioritizedReplayBuffer.

    Raises:
        ValueError: a ratio outside of [0, 1].
    """

    _underlying = ReplayBuffer

    def __init__(self, capacity: int = 10000, *args: Any, replay_ratio: float = 0.66, **kwargs: Any) -> None:
        if not 0.0 <= replay_ratio <= 1.0:
            raise ValueError(f"replay_ratio must be between 0 and 1, not {replay_ratio!r}.")
        super().__init__(capacity, *args, **kwargs)
        self.replay_ratio = replay_ratio
        import numpy as np

        self._mix_rng = np.random.default_rng(self._seed)
        self._new: dict[str, list[Any]] = {}  # batches that were not returned yet, by policy

    def _add_to_underlying_buffer(self, policy_id: str, batch: SampleBatch | MultiAgentBatch, **kwargs: Any) -> None:
        super()._add_to_underlying_buffer(policy_id, batch, **kwargs)
        entries = self._buffer_of(policy_id)._entries(batch)
        self._new.setdefault(policy_id, []).extend(entry.copy() for entry in entries)

    def sample(self, num_items: int, policy_id: str | None = None, **kwargs: Any) -> MultiAgentBatch:
        """About `num_items` entries of each policy, or of `policy_id`: as many new ones as `replay_ratio`
        allows, and replayed ones in proportion.

        Where there are fewer new ones, fewer are replayed. An empty batch where nothing was added since the
        last call (and the ratio is below 1).
        """
        policies = [policy_id] if policy_id is not None else list(self.replay_buffers)
        samples: dict[str, Any] = {}
        for pid in policies:
            if pid not in self.replay_buffers:
                continue
            parts = self._mix(pid, num_items, **kwargs)
            if parts:
                from aktis.rllib.policy.sample_batch import concat_samples

                samples[pid] = concat_samples(parts)
        if self.replay_mode is ReplayMode.LOCKSTEP and samples:
            return next(iter(samples.values()))  # type: ignore[no-any-return]
        return MultiAgentBatch(samples, max((batch.count for batch in samples.values()), default=0))

    def _mix(self, policy_id: str, num_items: int, **kwargs: Any) -> list[Any]:
        if self.replay_ratio == 1.0:
            self._new.pop(policy_id, None)
            return [self._plain(self._sample_from(policy_id, num_items, **kwargs))]
        new = self._take_new(policy_id, self._round(num_items * (1.0 - self.replay_ratio)) or 1)
        if not new:
            return []
        buffer = self.replay_buffers[policy_id]
        entries = sum(entry.count for entry in new) if buffer.storage_unit is StorageUnit.TIMESTEPS else len(new)
        replayed = self._round(entries * self.replay_ratio / (1.0 - self.replay_ratio))
        return [*new, self._plain(self._sample_from(policy_id, replayed, **kwargs))] if replayed else new

    def _take_new(self, policy_id: str, count: int) -> list[Any]:
        """The oldest entries that were not returned yet, at most `count`."""
        waiting = self._new.get(policy_id, [])
        rows = self.replay_buffers[policy_id].storage_unit is StorageUnit.TIMESTEPS
        taken: list[Any] = []
        while waiting and count > 0:
            entry = waiting.pop(0)
            if rows and entry.count > count:
                waiting.insert(0, entry.slice(count, entry.count))
                entry = entry.slice(0, count)
            taken.append(entry)
            count -= entry.count if rows else 1
        return taken

    def _plain(self, batch: Any) -> Any:
        """Without what only prioritised entries have: new ones have no index yet."""
        for part in batch.policy_batches.values() if isinstance(batch, MultiAgentBatch) else [batch]:
            for key in ("weights", "batch_indexes"):
                if key in part:
                    del part[key]
        return batch

    def _round(self, value: float) -> int:
        """Up or down at random, so that the mean is right."""
        return int(value + self._mix_rng.random())

    def get_state(self) -> dict[str, Any]:
        """The state of each policy's buffer; entries that were not returned yet count as returned."""
        return super().get_state() | {"mix_rng": self._mix_rng.bit_generator.state}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores what `get_state` gave."""
        super().set_state(state)
        self._mix_rng.bit_generator.state = state["mix_rng"]
        self._new = {}
