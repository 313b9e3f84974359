"""Batches in another order than they were written in."""

from __future__ import annotations

import numpy as np

from aktis.rllib.offline.input_reader import InputReader
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

__all__ = ["ShuffledInput"]


class ShuffledInput(InputReader):
    """Gives batches of another reader in random order.

    Args:
        child: The reader.
        n: From so many batches, the latest ones, is chosen; 0 keeps the order.
        seed: Of the order; None: another one each time.
    """

    def __init__(self, child: InputReader, n: int = 0, seed: int | None = None) -> None:
        if n < 0:
            raise ValueError(f"ShuffledInput(n={n}): the number of batches to choose from must not be negative")
        self.child = child
        self.n = n
        self._rng = np.random.default_rng(seed)
        self._buffer: list[SampleBatch | MultiAgentBatch] = []

    def next(self) -> SampleBatch | MultiAgentBatch:
        """One of the latest ``n`` batches, replaced by a new one; so every batch comes exactly once."""
        if self.n <= 1:
            return self.child.next()
        while len(self._buffer) < self.n:
            self._buffer.append(self.child.next())
        place = int(self._rng.integers(self.n))
        chosen, self._buffer[place] = self._buffer[place], self.child.next()
        return chosen

    def close(self) -> None:
        """Close the other reader."""
        self.child.close()
