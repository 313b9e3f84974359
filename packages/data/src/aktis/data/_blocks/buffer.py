"""Cutting a stream of blocks into blocks of a good size."""

from __future__ import annotations

from collections.abc import Iterator

from aktis.data._blocks.ops import concat, size_bytes, slice_rows
from aktis.data._blocks.types import Block


class OutputBuffer:
    """Collects blocks (or slices) and gives out blocks of at most about ``target_bytes``.

    Small ones are merged, large ones are cut between rows. Blocks without rows are left out; but if there was nothing else,
    ``flush`` gives one of them, so that the schema is not lost.
    """

    def __init__(self, target_bytes: int) -> None:
        self._target = max(1, target_bytes)
        self._blocks: list[Block] = []
        self._size = 0
        self._empty: Block | None = None  # kept until there is a block with rows
        self._gave = False

    def add(self, block: Block) -> Iterator[Block]:
        """Blocks that are complete now."""
        if not block.num_rows:
            if not self._gave and (self._empty is None or not self._empty.num_columns):
                self._empty = block
            return
        self._gave = True
        size = size_bytes(block)
        if size > 1.5 * self._target and block.num_rows > 1:
            yield from self._take()
            yield from self._cut(block, size)
            return
        if self._blocks and self._size + size > self._target:
            yield from self._take()
        self._blocks.append(block)
        self._size += size
        if self._size >= self._target:
            yield from self._take()

    def flush(self) -> Iterator[Block]:
        """What is left: one block, or none."""
        if self._blocks:
            yield from self._take()
        elif not self._gave and self._empty is not None:
            self._gave = True
            yield self._empty

    def _take(self) -> Iterator[Block]:
        if self._blocks:
            block = concat(self._blocks)
            self._blocks, self._size = [], 0
            yield block

    def _cut(self, block: Block, size: int) -> Iterator[Block]:
        """Into equal numbers of rows, and again where rows are so unequal that a piece is still too large."""
        rows = block.num_rows
        pieces = min(rows, -(-size // self._target))
        for i in range(pieces):
            piece = slice_rows(block, i * rows // pieces, (i + 1) * rows // pieces)
            piece_size = size_bytes(piece)
            if piece_size > 1.5 * self._target and 1 < piece.num_rows < rows:
                yield from self._cut(piece, piece_size)
            else:
                yield piece
