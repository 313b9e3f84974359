"""Rows of blocks, picked by position: the inner loop of everything that moves rows between blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aktis.data._blocks import compact, concat, empty_like, size_bytes, slice_rows
from aktis.data._blocks.types import Block
from aktis.data._exchanges._keys import is_view

Positions: TypeAlias = npt.NDArray[np.int64]


def gather(block: Block, positions: Any) -> Block:
    """The rows at these positions, in this order. The result owns its memory, and no more of it than it needs.

    A position below 0 gives a row of nulls.
    """
    positions = np.asarray(positions, dtype=np.int64)
    if block.num_columns == 0:
        return slice_rows(block, 0, min(len(positions), block.num_rows))
    indices = pa.array(positions)
    if len(positions) and positions.min() < 0:
        indices = pc.if_else(pc.less(indices, 0), pa.scalar(None, pa.int64()), indices)
    columns = [_take(column, indices) for column in block.columns]
    return pa.Table.from_arrays(columns, schema=block.schema)


def _take(column: pa.ChunkedArray, indices: pa.Array) -> pa.ChunkedArray:
    kind = column.type
    if is_view(kind, "string"):  # views have no kernel of their own
        return _take(column.cast(pa.large_string()), indices).cast(kind)
    if is_view(kind, "binary"):
        return _take(column.cast(pa.large_binary()), indices).cast(kind)
    if column.num_chunks == 0:
        return pa.chunked_array([pa.nulls(len(indices), kind)], type=kind)
    return pc.take(column, indices, boundscheck=False)


def scatter(
    block: Block, targets: npt.NDArray[Any], num_targets: int, seed: np.random.Generator | None = None
) -> list[Block]:
    """One block for each target, of the rows that go there, in their order (or shuffled, with ``seed``).

    ``targets`` says for each row where it goes. Each result is gathered on its own: slices of one gathered block would
    have to be copied once more before they are sent.
    """
    if num_targets == 1 and seed is None:
        return [block]
    order = np.argsort(targets.astype(narrowest(num_targets), copy=False), kind="stable")  # a radix sort up to 16 bits
    ends = np.cumsum(np.bincount(targets, minlength=num_targets))
    pieces: list[Block] = []
    start = 0
    for end in ends.tolist():
        rows = order[start:end]
        if seed is not None:
            seed.shuffle(rows)
        pieces.append(gather(block, rows) if end > start else empty_like(block.schema))
        start = end
    return pieces


def narrowest(count: int) -> type[np.unsignedinteger[Any]]:
    """The smallest type for numbers below ``count``."""
    for kind in (np.uint8, np.uint16, np.uint32):
        if count <= np.iinfo(kind).max + 1:
            return kind
    return np.uint64


def gather_in_blocks(block: Block, positions: Positions, target_bytes: int) -> Iterator[Block]:
    """Like :func:`gather`, in blocks of about ``target_bytes`` each."""
    count = blocks_for(size_bytes(block), block.num_rows, target_bytes)
    if count <= 1:
        yield gather(block, positions)
        return
    for start, stop in cuts(len(positions), count):
        yield gather(block, positions[start:stop])


def in_blocks(block: Block, target_bytes: int) -> Iterator[Block]:
    """The block, cut into blocks of about ``target_bytes`` each."""
    count = blocks_for(size_bytes(block), block.num_rows, target_bytes)
    yield from in_equal_blocks(block, count)


def in_equal_blocks(block: Block, count: int) -> Iterator[Block]:
    """The block, cut into ``count`` blocks (some of which are empty where there are fewer rows)."""
    if count <= 1:
        yield block
        return
    for start, stop in cuts(block.num_rows, count):
        yield compact(slice_rows(block, start, stop))


def blocks_for(size: int, rows: int, target_bytes: int) -> int:
    """How many blocks of about ``target_bytes`` so many bytes make. Up to half as much again is no reason to cut."""
    if size <= 1.5 * target_bytes:
        return 1
    return max(1, min(rows, -(-size // target_bytes)))


def cuts(total: int, parts: int) -> list[tuple[int, int]]:
    """``parts`` ranges of equal length (give or take one) that cover ``total`` rows."""
    return [(i * total // parts, (i + 1) * total // parts) for i in range(parts)]


def join_pieces(pieces: Sequence[Block] | list[Block]) -> Block:
    """All rows. A list is emptied, so that its pieces can go as soon as nobody else holds them."""
    block = concat(pieces)
    if isinstance(pieces, list):
        pieces.clear()
    return block
