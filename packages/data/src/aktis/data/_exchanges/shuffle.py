"""Random order of all rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from aktis.data._blocks import size_bytes
from aktis.data._blocks.types import Block, BlockMetadata
from aktis.data._exchanges._base import Exchange, ExchangePlan
from aktis.data._exchanges._gather import blocks_for, cuts, gather, join_pieces, narrowest, scatter
from aktis.data._exchanges._sizes import SMALL_BYTES, known_sizes, partitions_for

_SPREAD, _PERMUTE = 0, 1  # the two stages that draw random numbers
_MOST_KEPT_BLOCKS = 64  # up to so many blocks the output has as many as the input


@dataclass(frozen=True, slots=True)
class _ShuffleState:
    blocks: int | None = None  # how many blocks the only partition is cut into (whole_blocks)
    offsets: tuple[int, ...] | None = None  # first row of each block: rows are dealt out evenly, in turn


def draw_seed() -> int:
    """A seed for an operation that was given none: drawn once, so that tasks that run again do the same."""
    return int(np.random.SeedSequence().generate_state(2, np.uint64)[0])


class RandomShuffle(Exchange):
    """Every row goes to a random partition, where the rows are permuted.

    Args:
        seed: Equal seeds give equal orders, as long as the blocks are the same. None draws one, once.
        num_blocks: Blocks of the output. None: as many as there are input blocks, or by size if those are many.
        even: Blocks of the output are of equal length (give or take one row). Needs the row counts of all blocks.
        target_bytes: Size of a partition, and about that of a block.
    """

    preserves_rows = True
    columns_needed = ()

    def __init__(
        self,
        seed: int | None = None,
        num_blocks: int | None = None,
        *,
        name: str = "RandomShuffle",
        even: bool = False,
        target_bytes: int = SMALL_BYTES,
    ) -> None:
        if num_blocks is not None and num_blocks < 1:
            raise ValueError(f"num_blocks must be at least 1, got {num_blocks}.")
        self.name = name
        self._entropy = draw_seed() if seed is None else _positive(seed)
        self.num_blocks = num_blocks
        self._even = even
        self._target_bytes = target_bytes

    def early_plan(self, num_tasks: int, size_bytes: int | None) -> ExchangePlan | None:
        if self._even or num_tasks < 1 or (size_bytes is not None and size_bytes <= SMALL_BYTES):
            return None
        return ExchangePlan(self._partitions(num_tasks, size_bytes), _ShuffleState())

    def _partitions(self, num_blocks: int, size: int | None) -> int:
        if self.num_blocks is not None:
            return self.num_blocks
        by_size = 1 if size is None else partitions_for(size, self._target_bytes)
        return max(by_size, min(num_blocks, _MOST_KEPT_BLOCKS))

    def plan(self, inputs: Sequence[Sequence[BlockMetadata]], samples: Sequence[Sequence[Any]]) -> ExchangePlan:
        blocks, size = inputs[0], known_sizes(inputs)
        if size <= SMALL_BYTES:
            return ExchangePlan(1, _ShuffleState(blocks=self.num_blocks or max(1, len(blocks))), whole_blocks=True)
        offsets = None
        if self._even:
            offsets = tuple(accumulate((block.num_rows or 0 for block in blocks), initial=0))
        return ExchangePlan(self._partitions(len(blocks), size), _ShuffleState(offsets=offsets))

    def _random(self, stage: int, index: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence([self._entropy, stage, index]))

    def partition(self, block: Block, plan: ExchangePlan, *, input: int, index: int) -> list[Block]:
        random, count = self._random(_SPREAD, index), plan.num_partitions
        offsets = plan.state.offsets
        if offsets is None:
            targets = random.integers(0, count, block.num_rows, dtype=narrowest(count))
        else:
            targets = random.permutation((offsets[index] + np.arange(block.num_rows)) % count)
        return scatter(block, targets, count)

    def combine(self, parts: Sequence[Sequence[Block]], plan: ExchangePlan, *, partition: int) -> Iterator[Block]:
        block = join_pieces(parts[0])
        order = self._random(_PERMUTE, partition).permutation(block.num_rows)
        count = plan.state.blocks
        if count is None:
            # A number that was asked for is kept to; else a partition that came out too big is cut.
            count = 1 if self.num_blocks else blocks_for(size_bytes(block), block.num_rows, self._target_bytes)
        for start, stop in cuts(block.num_rows, count):
            yield gather(block, order[start:stop])


def _positive(seed: int) -> int:
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool):
        raise TypeError(f"seed must be an int or None, got {seed!r}.")
    return int(seed) % (1 << 64)  # SeedSequence takes no negative numbers
