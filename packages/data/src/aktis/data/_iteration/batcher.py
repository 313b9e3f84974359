"""Where batches begin and end in a stream of blocks. Pure: nothing is converted, copied or executed here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aktis.data._blocks import Block, concat, size_bytes, slice_rows

CHUNK_BYTES = 8 << 20  # converted at once: large against the cost of a call, small against memory and the caches


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that are converted to the batch format in one go, and then cut into batches of ``batch_rows`` (the last one
    may be shorter). A conversion per batch would cost more than all the rest when batches are small."""

    block: Block
    batch_rows: int

    @property
    def num_batches(self) -> int:
        return int(-(-self.block.num_rows // self.batch_rows))


def chunks(
    blocks: Iterable[Block], batch_size: int | None, *, drop_last: bool = False, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[Chunk]:
    """Cut blocks into batches of exactly ``batch_size`` rows; only the last batch of all may have fewer.

    Batches within a block are slices. Rows are put together (``concat``) only where a batch spans blocks.

    Args:
        blocks: in order; empty ones are skipped.
        batch_size: rows per batch; None gives each block as one batch.
        drop_last: leave out the last batch of the stream if it is short.
        chunk_bytes: about how much is put in one chunk; a chunk has at least one batch.
    """
    if batch_size is None:
        for block in blocks:
            if block.num_rows:
                yield Chunk(block, block.num_rows)
        return
    carry: list[Block] = []  # rows of an unfinished batch
    carried = 0
    for block in blocks:
        rows, start = block.num_rows, 0
        if carried:
            start = min(rows, batch_size - carried)
            carry.append(slice_rows(block, 0, start))
            carried += start
            if carried < batch_size:
                continue
            yield Chunk(concat(carry), batch_size)
            carry, carried = [], 0
        whole = (rows - start) // batch_size * batch_size
        if whole:
            row_bytes = max(1, size_bytes(block) // rows)
            step = max(1, chunk_bytes // (row_bytes * batch_size)) * batch_size
            for at in range(start, start + whole, step):
                yield Chunk(slice_rows(block, at, min(at + step, start + whole)), batch_size)
        if start + whole < rows:
            carry, carried = [slice_rows(block, start + whole, rows)], rows - start - whole
    if carried and not drop_last:
        yield Chunk(concat(carry), batch_size)
