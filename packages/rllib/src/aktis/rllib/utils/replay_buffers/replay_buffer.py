"""A replay buffer: experiences in the order in which they came, sampled uniformly; the oldest are dropped (Lin
1992; Mnih et al. 2015)."""

from __future__ import annotations

import enum
import platform
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aktis.rllib.policy.sample_batch import DEFAULT_POLICY_ID, MultiAgentBatch, SampleBatch
from aktis.rllib.utils.replay_buffers._sequences import cut_episodes, cut_sequences
from aktis.rllib.utils.replay_buffers._storage import ColumnRing, ItemRing, Slots

_QUANTILES = (0, 10, 50, 90, 100)


class StorageUnit(enum.Enum):
    """What one entry of a buffer is."""

    TIMESTEPS = "timesteps"  # one row
    SEQUENCES = "sequences"  # a piece of a trajectory, for recurrent models
    EPISODES = "episodes"  # a whole episode
    FRAGMENTS = "fragments"  # a batch as it was added


class ReplayBuffer:
    """Keeps up to `capacity` timesteps, and samples entries of them uniformly, with replacement.

    Arguments:
        capacity: greatest number of timesteps; the oldest are dropped for new ones.
        storage_unit: what is stored, sampled and dropped as one: "timesteps", "sequences", "episodes" or "fragments".
        seed: of the random choice of samples (None: another one each time).
        replay_sequence_length: for sequences: their greatest length (None: the batch's own `seq_lens`, or whole trajectories).
        replay_burn_in: for sequences: steps of the trajectory before it that each one has in addition.
        replay_zero_init_states: for sequences: begin with the initial state of zeros instead of the recorded one.

    Raises:
        ValueError: a capacity below 1, or an unknown storage unit.
    """

    def __init__(
        self,
        capacity: int = 10000,
        storage_unit: str | StorageUnit = "timesteps",
        *,
        seed: int | None = None,
        replay_sequence_length: int | None = None,
        replay_burn_in: int = 0,
        replay_zero_init_states: bool = True,
        **kwargs: Any,
    ) -> None:
        if int(capacity) < 1:
            raise ValueError(f"A replay buffer needs a capacity of 1 or more timesteps, not {capacity!r}.")
        self.capacity = int(capacity)
        self.storage_unit = _storage_unit(storage_unit)
        self.replay_sequence_length = replay_sequence_length
        self.replay_burn_in = replay_burn_in
        self.replay_zero_init_states = replay_zero_init_states
        self._rng = np.random.default_rng(seed)
        self._storage: ColumnRing | ItemRing = self._make_storage()
        self._num_timesteps_added = 0
        self._num_timesteps_added_wrap = 0
        self._num_timesteps_sampled = 0
        self._eviction_started = False
        self._hits: NDArray[np.int64] = np.zeros(
            self.capacity, np.int64
        )  # how often each slot was sampled since it was filled
        self._evicted_hits: list[int] = []  # of the last 1,000 entries that were dropped

    def __len__(self) -> int:
        """Entries in the buffer (timesteps, sequences, episodes or fragments)."""
        return len(self._storage)

    def add(self, batch: SampleBatch | MultiAgentBatch, **kwargs: Any) -> None:
        """Adds a batch, cut into entries. An episode that is not over yet is not added where whole episodes are stored.

        Arguments:
            batch: rows in order of time; they are copied.
        """
        if batch.count == 0:
            return
        for entry in self._entries(batch):
            self._add_entry(entry, **kwargs)

    def add_batch(self, batch: SampleBatch | MultiAgentBatch, **kwargs: Any) -> None:
        """The old name of `add`."""
        self.add(batch, **kwargs)

    def sample(self, num_items: int, **kwargs: Any) -> Any:
        """`num_items` entries in one batch.

        Raises:
            ValueError: the buffer is empty.
        """
        if len(self._storage) == 0:
            raise ValueError("Trying to sample from an empty buffer: add experiences first.")
        slots = self._draw(num_items)
        return self._take(slots)

    def replay(self, num_items: int = 1, **kwargs: Any) -> Any:
        """The old name of `sample`; None from an empty buffer."""
        return self.sample(num_items, **kwargs) if len(self._storage) else None

    def stats(self, debug: bool = False) -> dict[str, Any]:
        """What was added, dropped and sampled, in timesteps, and the bytes of what is there.

        Arguments:
            debug: adds how often entries had been sampled when they were dropped.
        """
        data: dict[str, Any] = {
            "added_count": self._num_timesteps_added,
            "added_count_wrapped": self._num_timesteps_added_wrap,
            "eviction_started": self._eviction_started,
            "sampled_count": self._num_timesteps_sampled,
            "est_size_bytes": self._storage.nbytes,
            "num_entries": len(self._storage),
        }
        if debug:
            hits = self._evicted_hits
            data |= {
                "evicted_hit_count": len(hits),
                "evicted_hit_mean": float(np.mean(hits)) if hits else 0.0,
                "evicted_hit_std": float(np.std(hits)) if hits else 0.0,
                "evicted_hit_quantiles": np.percentile(hits, _QUANTILES).tolist() if hits else [0.0] * len(_QUANTILES),
            }
        return data

    def get_state(self) -> dict[str, Any]:
        """Contents, counters and the random generator, as plain data and arrays."""
        return {
            "storage_unit": self.storage_unit.value,
            "storage": self._storage.get_state(),
            "added_count": self._num_timesteps_added,
            "added_count_wrapped": self._num_timesteps_added_wrap,
            "eviction_started": self._eviction_started,
            "sampled_count": self._num_timesteps_sampled,
            "rng": self._rng.bit_generator.state,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores what `get_state` gave, also of a buffer with a smaller capacity.

        Raises:
            ValueError: the state is of another storage unit, or has more than fits.
        """
        if state["storage_unit"] != self.storage_unit.value:
            raise ValueError(
                f"The state of a buffer of {state['storage_unit']} cannot be restored into one of {self.storage_unit.value}."
            )
        self._storage.set_state(state["storage"])
        self._num_timesteps_added = state["added_count"]
        self._num_timesteps_added_wrap = state["added_count_wrapped"]
        self._eviction_started = state["eviction_started"]
        self._num_timesteps_sampled = state["sampled_count"]
        self._rng.bit_generator.state = state["rng"]
        self._hits = np.zeros(self.capacity, np.int64)

    def make_iterator(self, num_items_to_replay: int) -> Iterator[Any]:
        """Samples without end."""
        while True:
            yield self.sample(num_items_to_replay) if len(self) else None

    def get_host(self) -> str:
        """The name of the machine that the buffer is on."""
        return platform.node()

    def apply(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls `func(buffer, ...)` where the buffer is."""
        return func(self, *args, **kwargs)

    def ping(self) -> str:
        """Says that the buffer is there."""
        return "pong"

    # ------------------------------------------------------------------------------------------------------------------------------

    def _make_storage(self) -> ColumnRing | ItemRing:
        return ColumnRing(self.capacity) if self.storage_unit is StorageUnit.TIMESTEPS else ItemRing(self.capacity)

    def _entries(self, batch: SampleBatch | MultiAgentBatch) -> Sequence[Any]:
        """A batch in the pieces that are stored. Timesteps are stored in columns: all of them are one piece here."""
        if isinstance(batch, MultiAgentBatch):
            if not isinstance(self._storage, ColumnRing):
                return [batch.copy()]
            if set(batch.policy_batches) == {DEFAULT_POLICY_ID}:
                return [batch.policy_batches[DEFAULT_POLICY_ID]]
            raise ValueError(
                f"A {type(self).__name__} of timesteps takes batches of one policy: use a MultiAgentReplayBuffer."
            )
        if self.storage_unit is StorageUnit.TIMESTEPS:
            return [batch]
        if self.storage_unit is StorageUnit.FRAGMENTS:
            return [batch.copy()]
        if self.storage_unit is StorageUnit.EPISODES:
            return cut_episodes(batch)
        return cut_sequences(batch, self.replay_sequence_length, self.replay_burn_in, self.replay_zero_init_states)

    def _add_entry(self, entry: Any, **kwargs: Any) -> Slots:
        """Stores one piece, and keeps the counters. Returns its slots."""
        slots, evicted = self._storage.add(entry)
        if len(evicted) or self._num_timesteps_added + entry.count > self.capacity:
            self._eviction_started = True
        if len(evicted):
            self._evicted_hits = [*self._evicted_hits, *self._hits[evicted].tolist()][-1000:]
            self._on_evicted(evicted)
        self._hits[slots] = 0
        self._num_timesteps_added += entry.count
        self._num_timesteps_added_wrap = (self._num_timesteps_added_wrap + entry.count) % self.capacity
        return slots

    def _on_evicted(self, slots: Slots) -> None:
        """Entries were dropped (for buffers that keep something beside each)."""

    def _draw(self, num_items: int) -> Slots:
        """Slots of entries to sample. In a ring of columns, the slots in use are 0 .. size - 1."""
        choice = self._rng.integers(len(self._storage), size=num_items)
        return choice if isinstance(self._storage, ColumnRing) else self._storage.live()[choice]  # type: ignore[no-any-return]

    def _take(self, slots: Slots) -> Any:
        """The entries of slots, and one more hit for each."""
        self._hits[slots] += 1
        batch = self._storage.gather(slots)
        self._num_timesteps_sampled += batch.count
        return batch


def _storage_unit(value: str | StorageUnit) -> StorageUnit:
    try:
        return StorageUnit(value)
    except ValueError:
        known = ", ".join(unit.value for unit in StorageUnit)
        raise ValueError(f"Unknown storage_unit {value!r} of a replay buffer: it is one of {known}.") from None
