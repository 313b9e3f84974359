"""Shuffling within a buffer, while data streams through: cheaper than a full shuffle, and only locally random."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from aktis.data._blocks import Block, concat, slice_rows, take_rows


def local_shuffle(
    blocks: Iterable[Block], buffer_size: int, batch_size: int, *, seed: int | None = None, steady: bool = False
) -> Iterator[Block]:
    """Rows in random order, drawn from a buffer in which at least ``buffer_size`` rows remain after each batch.

    The buffer is filled to ``max(2 * buffer_size, buffer_size + batch_size)`` rows (whole blocks, so it may be more), permuted in
    one go, and emptied down to ``buffer_size``: each row is moved about twice. When the input ends, the rest comes out.
    What is yielded has a multiple of ``batch_size`` rows, but for the last.

    Args:
        buffer_size: least number of rows to draw from.
        batch_size: of the batches that the rows will be cut into.
        seed: of a generator of our own (the process's is never touched); None draws one.
        steady: the order that comes out depends on the order of rows alone, not on the blocks that they come in.
    """
    generator = np.random.default_rng(seed)
    capacity = max(2 * buffer_size, buffer_size + batch_size)
    buffer: list[Block] = []
    held = 0
    for block in _in_pieces(blocks, buffer_size) if steady else blocks:
        if not block.num_rows:
            continue
        buffer.append(block)
        held += block.num_rows
        if held < capacity:
            continue
        shuffled = take_rows(concat(buffer), generator.permutation(held))
        ready = (held - buffer_size) // batch_size * batch_size
        yield slice_rows(shuffled, 0, ready)
        buffer, held = [slice_rows(shuffled, ready, held)], held - ready
    if held:
        yield take_rows(concat(buffer), generator.permutation(held))


def _in_pieces(blocks: Iterable[Block], size: int) -> Iterator[Block]:
    """Rows in pieces of exactly ``size`` rows; only the last one may have fewer."""
    carry: list[Block] = []
    carried = 0
    for block in blocks:
        start = 0
        while block.num_rows - start >= size - carried:
            stop = start + size - carried
            carry.append(slice_rows(block, start, stop))
            yield carry[0] if len(carry) == 1 else concat(carry)
            carry, carried, start = [], 0, stop
        if start < block.num_rows:
            carry.append(slice_rows(block, start, block.num_rows))
            carried += block.num_rows - start
    if carried:
        yield concat(carry)
