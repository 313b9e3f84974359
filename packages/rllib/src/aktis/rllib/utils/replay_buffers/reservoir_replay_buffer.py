"""A buffer that is a uniform sample of everything ever added (algorithm R, Vitter 1985)."""

from __future__ import annotations

from typing import Any

import numpy as np

from aktis.rllib.policy.sample_batch import SampleBatch
from aktis.rllib.utils.replay_buffers._storage import ColumnRing, Slots
from aktis.rllib.utils.replay_buffers.replay_buffer import ReplayBuffer, StorageUnit


class ReservoirReplayBuffer(ReplayBuffer):
    """Once it is full, a new entry replaces a random one or is dropped, so that all that ever came are equally likely to be there.

    Arguments:
        capacity: greatest number of timesteps.
        storage_unit: "timesteps", "sequences", "episodes" or "fragments".
        kwargs: as for ReplayBuffer.
    """

    def __init__(self, capacity: int = 10000, storage_unit: str | StorageUnit = "timesteps", **kwargs: Any) -> None:
        super().__init__(capacity, storage_unit, **kwargs)
        self._num_add_calls = 0  # entries that ever came
        self._num_evicted = 0

    def _add_entry(self, entry: Any, **kwargs: Any) -> Slots:
        if isinstance(self._storage, ColumnRing):
            return self._add_rows(entry)
        self._num_add_calls += 1
        if self._storage.timesteps + entry.count <= self.capacity:
            return super()._add_entry(entry)
        self._eviction_started = True
        self._count(entry.count)
        self._num_evicted += 1
        # Kept with probability (entries that fit) / (entries that came).
        place = int(self._rng.integers(self._num_add_calls))
        live = self._storage.live()
        if place >= len(live):
            return live[:0]
        slot = live[place : place + 1]
        if self._storage.timesteps - int(self._storage.lengths(slot)[0]) + entry.count > self.capacity:
            return live[:0]  # it is longer than the one that it would replace, and there is no room
        self._storage.put(entry, slot)
        self._forget(slot)
        return slot

    def _add_rows(self, batch: SampleBatch) -> Slots:
        """The algorithm for many rows at once."""
        storage = self._storage
        room = min(self.capacity - len(storage), batch.count)
        slots = super()._add_entry(batch.slice(0, room)) if room else np.zeros(0, np.int64)
        self._num_add_calls += room
        if room == batch.count:
            return slots
        rest = np.arange(room, batch.count)
        self._eviction_started = True
        self._count(len(rest))
        self._num_evicted += len(rest)
        # Row k of all that ever came (from 1) replaces slot j, j uniform in 0 .. k - 1, if there is such a slot.
        place = self._rng.integers(self._num_add_calls + 1 + np.arange(len(rest)))
        self._num_add_calls += len(rest)
        # Of several rows for one slot, the last stays.
        last = dict(zip(place[place < self.capacity].tolist(), rest[place < self.capacity].tolist(), strict=True))
        if last:
            targets = np.fromiter(last.keys(), np.int64, len(last))
            rows = np.fromiter(last.values(), np.int64, len(last))
            storage.put(SampleBatch({key: _rows(value, rows) for key, value in dict.items(batch)}), targets)
            self._forget(targets)
        return slots

    def _count(self, timesteps: int) -> None:
        self._num_timesteps_added += timesteps
        self._num_timesteps_added_wrap = (self._num_timesteps_added_wrap + timesteps) % self.capacity

    def _forget(self, slots: Slots) -> None:
        self._evicted_hits = [*self._evicted_hits, *self._hits[slots].tolist()][-1000:]
        self._hits[slots] = 0

    def stats(self, debug: bool = False) -> dict[str, Any]:
        """As ReplayBuffer's, with the number of entries that were dropped or replaced."""
        return super().stats(debug) | {"num_evicted": self._num_evicted}

    def get_state(self) -> dict[str, Any]:
        """As ReplayBuffer's, with the number of entries that ever came."""
        return super().get_state() | {"num_add_calls": self._num_add_calls, "num_evicted": self._num_evicted}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores what `get_state` gave."""
        super().set_state(state)
        self._num_add_calls = state["num_add_calls"]
        self._num_evicted = state["num_evicted"]


def _rows(column: Any, rows: Slots) -> Any:
    from aktis.rllib.policy._columns import take

    return take(column, rows)
