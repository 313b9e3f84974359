"""Cutting a stream of blocks into blocks of a good size."""

from __future__ import annotations

from collections.abc import Iterator

from aktis.data._blocks.ops import concat, size_bytes, slice_rows
from aktis.data._blocks.types import Block


class OutputBuffer:
    """Collects blocks (or slices) and gives out blocks of at most about ``target_bytes``."""

    def __init__(self, target_bytes: int) -> None:
        self._target = target_bytes
        self._blocks: list[Block] = []
        self._size = 0

    def add(self, block: Block) -> Iterator[Block]:
        """Blocks that are complete now."""
        size = size_bytes(block)
        if size > 1.5 * self._target and block.num_rows > 1:
            yield from self.flush()
            pieces = min(block.num_rows, -(-size // self._target))
            for i in range(pieces):
                yield slice_rows(block, i * block.num_rows // pieces, (i + 1) * block.num_rows // pieces)
            return
        if self._blocks and self._size + size > self._target:
            yield from self.flush()
        self._blocks.append(block)
        self._size += size

    def flush(self) -> Iterator[Block]:
        """What is left: one block, or none."""
        if self._blocks:
            block = concat(self._blocks)
            self._blocks, self._size = [], 0
            yield block
