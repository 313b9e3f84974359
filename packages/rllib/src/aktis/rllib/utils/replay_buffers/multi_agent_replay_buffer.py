"""Replay for several policies: a buffer for each, or all agents of a timestep together."""

from __future__ import annotations

import enum
import time
from typing import Any

from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from aktis.rllib.utils.replay_buffers.replay_buffer import ReplayBuffer, StorageUnit

_LOCKSTEP_POLICY = "__lockstep__"


class ReplayMode(enum.Enum):
    """How experiences of several policies are sampled."""

    LOCKSTEP = "lockstep"  # all agents of a timestep together
    INDEPENDENT = "independent"  # each policy's rows on their own


class MultiAgentReplayBuffer(ReplayBuffer):
    """Holds one ReplayBuffer for each policy, made when its first batch comes.

    Arguments:
        capacity: greatest number of timesteps of each policy.
        storage_unit: "timesteps", "sequences", "episodes" or "fragments".
        num_shards: how many buffers like this share the capacity.
        replay_mode: "independent", or "lockstep" for all agents of a timestep together.
        replay_sequence_override: with more than one step in a sequence, "timesteps" means sequences.
        replay_sequence_length: steps of a sequence (1: single timesteps).
        replay_burn_in: steps before it that a sequence has in addition.
        replay_zero_init_states: sequences begin with a state of zeros instead of the recorded one.
        underlying_buffer_config: `type` (a class or its name) and arguments of the policies' buffers, instead of the default.
        kwargs: passed on to them; `seed` makes sampling reproducible.
    """

    _underlying: type[ReplayBuffer] = ReplayBuffer

    def __init__(
        self,
        capacity: int = 10000,
        storage_unit: str | StorageUnit = "timesteps",
        num_shards: int = 1,
        replay_mode: str | ReplayMode = "independent",
        replay_sequence_override: bool = True,
        replay_sequence_length: int = 1,
        replay_burn_in: int = 0,
        replay_zero_init_states: bool = True,
        underlying_buffer_config: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if num_shards < 1:
            raise ValueError(f"num_shards must be 1 or more, not {num_shards!r}.")
        super().__init__(max(1, int(capacity) // num_shards), storage_unit)
        if (
            replay_sequence_override
            and replay_sequence_length
            and replay_sequence_length > 1
            and self.storage_unit is StorageUnit.TIMESTEPS
        ):
            self.storage_unit = StorageUnit.SEQUENCES
        try:
            self.replay_mode = ReplayMode(replay_mode)
        except ValueError:
            raise ValueError(f"Unknown replay_mode {replay_mode!r}: it is 'independent' or 'lockstep'.") from None
        self.replay_sequence_length = replay_sequence_length or 1
        self.replay_buffers: dict[str, ReplayBuffer] = {}
        self._num_added = 0
        self._seed = kwargs.pop("seed", None)
        self._times = {"add_batch_time_ms": 0.0, "replay_time_ms": 0.0, "update_priorities_time_ms": 0.0}
        from aktis.rllib.utils.replay_buffers.utils import buffer_class

        config = dict(underlying_buffer_config or {})
        self._buffer_class = buffer_class(config.pop("type", self._underlying))
        self._buffer_kwargs = {
            "capacity": self.capacity,
            "storage_unit": self.storage_unit,
            "replay_sequence_length": replay_sequence_length if self.storage_unit is StorageUnit.SEQUENCES else None,
            "replay_burn_in": replay_burn_in,
            "replay_zero_init_states": replay_zero_init_states,
            **kwargs,
            **config,
        }

    def __len__(self) -> int:
        """Entries of all policies together."""
        return sum(len(buffer) for buffer in self.replay_buffers.values())

    def add(self, batch: SampleBatch | MultiAgentBatch, **kwargs: Any) -> None:
        """Adds a batch: the rows of each policy to its buffer.

        Arguments:
            batch: of one policy, or of several.
        """
        begun = time.perf_counter()
        batch = batch.as_multi_agent()
        if self.replay_mode is ReplayMode.LOCKSTEP:
            # Rows of several agents belong together: each timestep (or sequence of them) is one item.
            for piece in batch.timeslices(self.replay_sequence_length or 1):
                self._add_to_underlying_buffer(_LOCKSTEP_POLICY, piece, **kwargs)
        else:
            for policy_id, policy_batch in batch.policy_batches.items():
                if policy_batch.count:
                    self._add_to_underlying_buffer(policy_id, policy_batch, **kwargs)
        self._num_added += batch.count
        self._note("add_batch_time_ms", begun)

    def sample(self, num_items: int, policy_id: str | None = None, **kwargs: Any) -> MultiAgentBatch:
        """`num_items` entries of each policy.

        Arguments:
            num_items: of each policy.
            policy_id: only those of this one (None: of all).

        Raises:
            ValueError: nothing was added yet, or the policy is unknown.
        """
        begun = time.perf_counter()
        if policy_id is not None and self.replay_mode is ReplayMode.LOCKSTEP:
            raise ValueError(
                "Buffers in lockstep sample all policies together: leave out policy_id, or set replay_mode to 'independent'."
            )
        if not self.replay_buffers:
            raise ValueError("Trying to sample from an empty buffer: add experiences first.")
        if self.replay_mode is ReplayMode.LOCKSTEP:
            return self._sample_from(_LOCKSTEP_POLICY, num_items, **kwargs)  # type: ignore[no-any-return]
        if policy_id is not None and policy_id not in self.replay_buffers:
            raise ValueError(
                f"There are no experiences of policy {policy_id!r} in the replay buffer, only of {sorted(self.replay_buffers)}."
            )
        policies = [policy_id] if policy_id is not None else list(self.replay_buffers)
        samples = {pid: self._sample_from(pid, num_items, **kwargs) for pid in policies}
        self._note("replay_time_ms", begun)
        return MultiAgentBatch(samples, max(batch.count for batch in samples.values()))

    def replay(self, num_items: int = 1, policy_id: str | None = None, **kwargs: Any) -> MultiAgentBatch | None:
        """The old name of `sample`; None from an empty buffer."""
        return self.sample(num_items, policy_id, **kwargs) if self.replay_buffers else None

    def stats(self, debug: bool = False) -> dict[str, Any]:
        """Mean times, and the stats of each policy's buffer as `policy_<id>`."""
        own = {key: round(value, 3) for key, value in self._times.items()}
        return {**own, **{f"policy_{pid}": buffer.stats(debug) for pid, buffer in self.replay_buffers.items()}}

    def get_state(self) -> dict[str, Any]:
        """The state of each policy's buffer."""
        return {
            "num_added": self._num_added,
            "replay_buffers": {pid: buffer.get_state() for pid, buffer in self.replay_buffers.items()},
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores what `get_state` gave."""
        self._num_added = state["num_added"]
        self.replay_buffers = {}
        for policy_id, buffer_state in state["replay_buffers"].items():
            self._buffer_of(policy_id).set_state(buffer_state)

    # ------------------------------------------------------------------------------------------------------------------------------

    def _make_storage(self) -> Any:
        from aktis.rllib.utils.replay_buffers._storage import ColumnRing

        return ColumnRing(self.capacity)  # stays empty: the policies' buffers hold everything

    def _buffer_of(self, policy_id: str) -> ReplayBuffer:
        if policy_id not in self.replay_buffers:
            kwargs = dict(self._buffer_kwargs)
            if self._seed is not None:
                kwargs.setdefault("seed", self._seed + len(self.replay_buffers))
            if self.replay_mode is ReplayMode.LOCKSTEP:
                kwargs["storage_unit"] = StorageUnit.FRAGMENTS
            self.replay_buffers[policy_id] = self._buffer_class(**kwargs)
        return self.replay_buffers[policy_id]

    def _add_to_underlying_buffer(self, policy_id: str, batch: SampleBatch | MultiAgentBatch, **kwargs: Any) -> None:
        self._buffer_of(policy_id).add(batch, **kwargs)

    def _sample_from(self, policy_id: str, num_items: int, **kwargs: Any) -> Any:
        return self.replay_buffers[policy_id].sample(num_items, **kwargs)

    def _note(self, name: str, begun: float) -> None:
        """A running mean, for stats."""
        self._times[name] += 0.1 * ((time.perf_counter() - begun) * 1000.0 - self._times[name])
