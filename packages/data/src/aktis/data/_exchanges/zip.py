"""Columns of several data sets side by side."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from aktis.data._blocks import Block, BlockMetadata, concat, empty_like, from_rows, kind_of, to_rows
from aktis.data._blocks.types import ROWS
from aktis.data._exchanges._base import Piece, Rearrangement
from aktis.data._exchanges._sizes import total_bytes, total_rows
from aktis.data._exchanges.repartition import pieces_between


class Zip(Rearrangement):
    """Row i of the output has the columns of row i of every input.

    The blocks of the input with the most bytes stay as they are, the others are cut to fit. Names that are there already
    get ``_1``, ``_2`` ... appended. Rows of simple data are zipped to tuples.
    """

    name = "Zip"
    always_combine = True

    def __init__(self, num_inputs: int = 2) -> None:
        self.num_inputs = num_inputs

    def recipes(self, inputs: Sequence[Sequence[BlockMetadata]]) -> list[list[Piece]]:
        counts = [total_rows(blocks) for blocks in inputs]
        if len(set(counts)) > 1:
            raise ValueError(
                f"zip() needs datasets of equal length, got {' and '.join(f'{n:,}' for n in counts)} rows."
            )
        big = max(range(len(inputs)), key=lambda i: total_bytes(inputs[i]))
        ranges: list[tuple[int, int]] = []
        start = 0
        for block in inputs[big]:
            stop = start + (block.num_rows or 0)
            if stop > start or (counts[big] == 0 and not ranges):
                ranges.append((start, stop))
            start = stop
        aligned = [pieces_between(blocks, ranges, input=i) for i, blocks in enumerate(inputs)]
        return [[piece for recipe in row for piece in recipe] for row in zip(*aligned)]

    def combine(self, pieces: Sequence[Block], recipe: Sequence[Piece]) -> Block:
        sides = [concat([b for b, p in zip(pieces, recipe) if p.input == i]) for i in range(self.num_inputs)]
        return zip_blocks(sides)


def zip_blocks(blocks: Sequence[Block]) -> Block:
    """Blocks of equal length, side by side."""
    # Rows without any columns have a placeholder in place of them.
    blocks = [block for block in blocks if block.column_names not in ([], [ROWS])] or list(blocks[:1])
    if any(kind_of(block) == "simple" for block in blocks):
        rows = list(zip(*(to_rows(block) for block in blocks)))
        return from_rows(rows) if rows else empty_like(from_rows([(0, 0)]).schema)
    names: list[str] = []
    columns: list[pa.ChunkedArray] = []
    for block in blocks:
        for name, column in zip(block.column_names, block.columns):
            names.append(free_name(name, names))
            columns.append(column)
    return pa.table(columns, names=names)


def free_name(name: str, taken: Sequence[str]) -> str:
    """The name, or the first of ``name_1``, ``name_2`` ... that is not taken."""
    if name not in taken:
        return name
    number = 1
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"
