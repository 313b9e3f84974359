"""random_sample: each row with the same probability, independently."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from aktis.data._blocks import take_rows
from aktis.data._blocks.types import Block
from aktis.data._transforms._base import TaskContext, Transform


class RandomSample(Transform):
    """Keeps a row with probability ``fraction``. Which ones depends on the seed and on how the data is cut into blocks."""

    def __init__(self, fraction: float, seed: int) -> None:
        self.name = f"RandomSample({fraction})"
        self.fraction = fraction
        self.seed = seed

    def __call__(self, blocks: Iterator[Block], task: TaskContext) -> Iterator[Block]:
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, task.index]))
        for block in blocks:
            yield take_rows(block, np.flatnonzero(rng.random(block.num_rows) < self.fraction))
