"""Batches of several sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aktis.rllib.offline.input_reader import InputReader
from aktis.rllib.offline.io_context import IOContext
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

__all__ = ["MixedInput"]


class MixedInput(InputReader):
    """Draws each batch from a source of several.

    Args:
        dist: The probability of each source: ``{"sampler": 0.4, "/data/*.json": 0.4, "d4rl.hopper-random-v0": 0.2}``. A source
            is what ``config.offline_data(input_=...)`` takes, or a reader. The probabilities sum up to 1.
        ioctx: The context of the worker.

    Raises:
        ValueError: The probabilities are none.
    """

    adapts = True

    def __init__(self, dist: Mapping[Any, float], ioctx: IOContext) -> None:
        from aktis.rllib.offline.sources import make_reader

        shares = [float(share) for share in dist.values()]
        if not shares or min(shares) < 0 or abs(sum(shares) - 1.0) > 1e-6:
            raise ValueError(f"the probabilities of the sources must be positive and sum up to 1, not {dict(dist)!r}")
        seed = ioctx.config.get("seed", None)
        self._rng = np.random.default_rng(None if seed is None else [int(seed), ioctx.worker_index])
        self._shares = shares
        self.choices = [source if isinstance(source, InputReader) else make_reader(source, ioctx) for source in dist]

    def next(self) -> SampleBatch | MultiAgentBatch:
        """The next batch of a source."""
        batch: SampleBatch | MultiAgentBatch = self.choices[
            int(self._rng.choice(len(self.choices), p=self._shares))
        ].next()
        return batch

    def close(self) -> None:
        """Close all sources."""
        for reader in self.choices:
            if hasattr(reader, "close"):
                reader.close()
