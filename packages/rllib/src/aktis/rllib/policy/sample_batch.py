"""Batches of experience: `SampleBatch` (columns of one policy) and `MultiAgentBatch` (one SampleBatch for each policy)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from aktis.rllib.policy import _columns
from aktis.rllib.policy._sample_batch import DEFAULT_POLICY_ID, SampleBatch
from aktis.rllib.policy._timeslices import ma_timeslices

__all__ = [
    "DEFAULT_POLICY_ID",
    "MultiAgentBatch",
    "SampleBatch",
    "SampleBatchType",
    "concat_samples",
    "concat_samples_into_ma_batch",
    "convert_ma_batch_to_sample_batch",
]


class MultiAgentBatch:
    """One SampleBatch for each policy, and how many steps of the environment they are.

    Args:
        policy_batches: Batches by policy id.
        env_steps: Steps of the environment (in one of which several agents may act, or none).
    """

    def __init__(self, policy_batches: dict[str, SampleBatch], env_steps: int) -> None:
        for policy_id, batch in policy_batches.items():
            if not isinstance(batch, SampleBatch):
                raise TypeError(f"policy_batches[{policy_id!r}] is a {type(batch).__name__}, not a SampleBatch")
        self.policy_batches = policy_batches
        self.count = env_steps

    def env_steps(self) -> int:
        """Steps of the environment."""
        return self.count

    def agent_steps(self) -> int:
        """Steps of all agents together."""
        return sum(batch.count for batch in self.policy_batches.values())

    def __len__(self) -> int:
        return self.count

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, key: str) -> SampleBatch:
        return self.policy_batches[key]

    def __contains__(self, key: object) -> bool:
        return key in self.policy_batches

    def keys(self) -> Iterable[str]:
        """The policy ids."""
        return self.policy_batches.keys()

    def items(self) -> Iterable[tuple[str, SampleBatch]]:
        """Policy ids and batches."""
        return self.policy_batches.items()

    def timeslices(self, k: int) -> list[MultiAgentBatch]:
        """Parts of `k` steps of the environment each (the last may be shorter), by episode and time.

        Raises:
            ValueError: `k` is not positive, or `eps_id` or `t`, which say what belongs together, is missing.
        """
        if k < 1:
            raise ValueError(f"timeslices(k={k}): k must be positive")
        if self.count <= k:
            return [self] if self.count else []
        return [
            MultiAgentBatch(
                {
                    policy: SampleBatch._of(
                        ((name, _columns.take(column, rows)) for name, column in self.policy_batches[policy].items())
                    )
                    for policy, rows in part.items()
                },
                steps,
            )
            for part, steps in ma_timeslices(self.policy_batches, k)
        ]

    @staticmethod
    def wrap_as_needed(policy_batches: dict[str, SampleBatch], env_steps: int) -> SampleBatchType:
        """A SampleBatch if there is the default policy only, a MultiAgentBatch otherwise."""
        if len(policy_batches) == 1 and DEFAULT_POLICY_ID in policy_batches:
            return policy_batches[DEFAULT_POLICY_ID]
        return MultiAgentBatch(policy_batches, env_steps)

    @staticmethod
    def concat_samples(samples: Sequence[SampleBatchType]) -> MultiAgentBatch:
        """See `concat_samples_into_ma_batch`."""
        return concat_samples_into_ma_batch(samples)

    def copy(self) -> MultiAgentBatch:
        """With arrays of its own."""
        return MultiAgentBatch({key: batch.copy() for key, batch in self.policy_batches.items()}, self.count)

    def size_bytes(self) -> int:
        """Memory of all columns."""
        return sum(batch.size_bytes() for batch in self.policy_batches.values())

    def compress(self, bulk: bool = False, columns: Iterable[str] = frozenset(("obs", "new_obs"))) -> MultiAgentBatch:
        """Compress columns of every policy, in place."""
        for batch in self.policy_batches.values():
            batch.compress(bulk=bulk, columns=columns)
        return self

    def decompress_if_needed(self, columns: Iterable[str] = frozenset(("obs", "new_obs"))) -> MultiAgentBatch:
        """Undo `compress`, in place."""
        for batch in self.policy_batches.values():
            batch.decompress_if_needed(columns)
        return self

    def to_device(self, device: Any, framework: str = "torch") -> MultiAgentBatch:
        """Make all columns tensors, in place."""
        for batch in self.policy_batches.values():
            batch.to_device(device, framework)
        return self

    def as_multi_agent(self) -> MultiAgentBatch:
        """This batch itself."""
        return self

    def __repr__(self) -> str:
        return f"MultiAgentBatch({self.policy_batches}, env_steps={self.count})"


SampleBatchType = SampleBatch | MultiAgentBatch


def concat_samples(samples: Sequence[SampleBatchType]) -> SampleBatchType:
    """One batch of many: rows one after the other (a MultiAgentBatch if one of them is).

    Batches without rows are left out. Attributes are those of the first.

    Raises:
        ValueError: Batches have different columns, or some are padded and others not.
    """
    if any(isinstance(sample, MultiAgentBatch) for sample in samples):
        return concat_samples_into_ma_batch(samples)
    batches: list[SampleBatch] = [sample for sample in samples if sample.count > 0]  # type: ignore[misc]
    if not batches:
        return SampleBatch()
    first = batches[0]
    if len(batches) == 1:
        return SampleBatch._of(first.items(), first)
    _check_alike(batches)
    axis = 1 if first.time_major else 0
    out = SampleBatch._of((), first)
    for key in first:
        parts = [dict.__getitem__(batch, key) for batch in batches]
        try:
            dict.__setitem__(
                out, key, _columns.concat(parts, 0 if key == "seq_lens" or key.startswith("state_in_") else axis)
            )
        except ValueError as error:
            raise ValueError(f"column {key!r} cannot be concatenated: {error}") from None
    known = [batch.max_seq_len for batch in batches if batch.max_seq_len is not None]
    out.max_seq_len = max(known) if known else None
    return out


def _check_alike(batches: list[SampleBatch]) -> None:
    first = batches[0]
    for batch in batches[1:]:
        if batch.keys() != first.keys():
            only = sorted(batch.keys() ^ first.keys())
            raise ValueError(
                f"batches with different columns cannot be concatenated: {only} are not in all of them ({first} and {batch})"
            )
        if batch.zero_padded != first.zero_padded or (first.zero_padded and batch.max_seq_len != first.max_seq_len):
            raise ValueError(
                "batches must be padded to the same length before they are concatenated: "
                f"zero_padded={first.zero_padded}, max_seq_len={first.max_seq_len} and "
                f"zero_padded={batch.zero_padded}, max_seq_len={batch.max_seq_len}"
            )
        if batch.time_major != first.time_major:
            raise ValueError("time-major and batch-major batches cannot be concatenated")


def concat_samples_into_ma_batch(samples: Sequence[SampleBatchType]) -> MultiAgentBatch:
    """One MultiAgentBatch of many; a SampleBatch counts as one of the default policy.

    Raises:
        ValueError: Batches of a policy have different columns.
    """
    by_policy: dict[str, list[SampleBatch]] = {}
    steps = 0
    for sample in samples:
        batch = sample.as_multi_agent()
        steps += batch.count
        for policy_id, part in batch.policy_batches.items():
            by_policy.setdefault(policy_id, []).append(part)
    return MultiAgentBatch({policy_id: concat_samples(parts) for policy_id, parts in by_policy.items()}, steps)  # type: ignore[misc]


def convert_ma_batch_to_sample_batch(batch: SampleBatchType) -> SampleBatch:
    """The SampleBatch of a MultiAgentBatch of one policy; a SampleBatch as it is.

    Raises:
        ValueError: There are several policies, whose rows cannot be mixed.
    """
    if isinstance(batch, SampleBatch):
        return batch
    if len(batch.policy_batches) != 1:
        raise ValueError(
            f"a batch of several policies ({sorted(batch.policy_batches)}) cannot be made one of a single policy; "
            "take one of batch.policy_batches"
        )
    return next(iter(batch.policy_batches.values()))
