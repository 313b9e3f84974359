"""Other block boundaries for the same rows in the same order, and the same blocks in another order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aktis.data._blocks.types import BlockMetadata
from aktis.data._exchanges._base import Piece, Rearrangement
from aktis.data._exchanges._gather import cuts
from aktis.data._exchanges._sizes import total_rows
from aktis.data._exchanges.shuffle import draw_seed


def pieces_between(
    blocks: Sequence[BlockMetadata], ranges: Sequence[tuple[int, int]], *, input: int = 0
) -> list[list[Piece]]:
    """For each range of rows (rising, counted over all blocks) the pieces that hold it."""
    recipes: list[list[Piece]] = []
    block, first = 0, 0  # ``first``: number of the first row of ``block``
    for start, stop in ranges:
        recipe: list[Piece] = []
        while block < len(blocks):
            rows = blocks[block].num_rows or 0
            low, high = max(start, first), min(stop, first + rows)
            if low < high:
                recipe.append(Piece(input, block, low - first, high - first))
            if first + rows > stop or block + 1 == len(blocks):
                break
            block, first = block + 1, first + rows
        # An output block without rows is an empty piece of a block: it has the schema.
        recipes.append(recipe or ([Piece(input, min(block, len(blocks) - 1), 0, 0)] if blocks else []))
    return recipes


class Repartition(Rearrangement):
    """Blocks of equal length (give or take one row), or of a given length. Rows stay in order.

    Exactly one of the two must be given:

    Args:
        num_blocks: How many blocks.
        target_num_rows_per_block: How many rows each block has; the last one has what is left.
    """

    name = "Repartition"
    preserves_rows = True

    def __init__(self, num_blocks: int | None = None, *, target_num_rows_per_block: int | None = None) -> None:
        if (num_blocks is None) == (target_num_rows_per_block is None):
            raise ValueError("repartition() needs either num_blocks or target_num_rows_per_block, and not both.")
        for name, value in (("num_blocks", num_blocks), ("target_num_rows_per_block", target_num_rows_per_block)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        self.num_blocks = num_blocks
        self._rows = target_num_rows_per_block

    def recipes(self, inputs: Sequence[Sequence[BlockMetadata]]) -> list[list[Piece]]:
        blocks = inputs[0]
        if not blocks:
            return []
        rows = total_rows(blocks)
        if self.num_blocks is not None:
            return pieces_between(blocks, cuts(rows, self.num_blocks))
        assert self._rows is not None
        starts = range(0, rows, self._rows)
        return pieces_between(blocks, [(start, min(rows, start + self._rows)) for start in starts] or [(0, 0)])


class RandomizeBlockOrder(Rearrangement):
    """The same blocks in a random order: cheap, as no row moves."""

    name = "RandomizeBlockOrder"
    preserves_rows = True

    def __init__(self, seed: int | None = None) -> None:
        self._entropy = draw_seed() if seed is None else int(seed) % (1 << 64)

    def recipes(self, inputs: Sequence[Sequence[BlockMetadata]]) -> list[list[Piece]]:
        blocks = inputs[0]
        order = np.random.default_rng(np.random.SeedSequence([self._entropy])).permutation(len(blocks))
        return [[Piece(0, i, 0, blocks[i].num_rows or 0)] for i in order.tolist()]


class SplitAt(Rearrangement):
    """Block boundaries at these rows, beside those that there are already.

    :meth:`ranges` tells which of the output blocks belong to which part.

    Args:
        indices: Rising row numbers. Those beyond the end give empty parts.
    """

    name = "Split"

    def __init__(self, indices: Sequence[int]) -> None:
        self._indices = [int(i) for i in indices]
        if self._indices != sorted(self._indices) or (self._indices and self._indices[0] < 0):
            raise ValueError(f"Row numbers to split at must be rising and not negative, got {list(indices)}.")

    def _parts(self, blocks: Sequence[BlockMetadata]) -> list[list[Piece]]:
        rows = total_rows(blocks)
        edges = [0, *(min(i, rows) for i in self._indices), rows]
        return pieces_between(blocks, list(zip(edges[:-1], edges[1:])))

    def recipes(self, inputs: Sequence[Sequence[BlockMetadata]]) -> list[list[Piece]]:
        return [[piece] for part in self._parts(inputs[0]) for piece in part]

    def ranges(self, blocks: Sequence[BlockMetadata]) -> list[range]:
        """For each part the numbers of its blocks among the output."""
        result, start = [], 0
        for part in self._parts(blocks):
            result.append(range(start, start + len(part)))
            start += len(part)
        return result
