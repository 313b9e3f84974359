"""Putting a batch together step by step."""

from __future__ import annotations

from typing import Any

import numpy as np

from aktis.rllib.policy.sample_batch import SampleBatch

__all__ = ["SampleBatchBuilder"]


class SampleBatchBuilder:
    """Collects steps, and makes a batch of them.

    >>> builder = SampleBatchBuilder()
    >>> builder.add_values(obs=[0.0], actions=1, rewards=1.0)
    >>> builder.build_and_reset().count
    1
    """

    def __init__(self) -> None:
        self.buffers: dict[str, list[Any]] = {}
        self.count = 0
        self.unroll_id = 0

    def add_values(self, **values: Any) -> None:
        """Add a step.

        Args:
            values: By column; each step has the same columns.

        Raises:
            ValueError: other columns than those of the steps before.
        """
        if self.buffers and values.keys() != self.buffers.keys():
            raise ValueError(f"steps of a batch have the same columns: {sorted(self.buffers)}, not {sorted(values)}")
        for key, value in values.items():
            self.buffers.setdefault(key, []).append(value)
        self.count += 1

    def add_batch(self, batch: SampleBatch) -> None:
        """Add the steps of a batch."""
        for row in batch.rows():
            self.add_values(**row)

    def build_and_reset(self) -> SampleBatch:
        """The batch of what was added since the last time; its ``unroll_id`` is the number of such batches before."""
        batch = SampleBatch(self.buffers)
        if self.count and "unroll_id" not in batch:
            batch["unroll_id"] = np.full(self.count, self.unroll_id)
        self.buffers, self.count = {}, 0
        self.unroll_id += 1
        return batch
