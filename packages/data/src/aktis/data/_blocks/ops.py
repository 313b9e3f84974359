"""Slices, sizes, concatenation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from aktis.data._blocks.schemas import unify_schemas
from aktis.data._blocks.types import Block, BlockMetadata, BlockStats


def size_bytes(block: Block) -> int:
    """Bytes of the rows themselves: of a slice, only what it shows."""
    return int(block.nbytes)


def slice_rows(block: Block, start: int, stop: int) -> Block:
    """Rows ``start`` to ``stop``, without copying. See :func:`compact` before such a block is sent away."""
    return block.slice(start, max(0, stop - start))


def compact(block: Block) -> Block:
    """The same rows, owning no more memory than they need: a slice would be sent with everything that it is a slice of."""
    if block.num_columns == 0 or block.get_total_buffer_size() <= block.nbytes * 1.1 + 4096:
        return block
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, block.schema) as writer:
        writer.write_table(block)
    return pa.ipc.open_stream(sink.getvalue()).read_all()


def empty_like(schema: pa.Schema) -> Block:
    """A block with no rows."""
    return schema.empty_table()


def concat(blocks: Sequence[Block]) -> Block:
    """All rows, in order. Schemas are unified; a schemaless empty block counts for nothing."""
    blocks = list(blocks)
    if len(blocks) == 1:
        return blocks[0]
    full = [b for b in blocks if b.num_columns] or blocks[:1]
    if not full:
        return pa.table({})
    schema = unify_schemas([b.schema for b in full])
    return pa.concat_tables(full, promote_options="permissive") if any(b.schema != schema for b in full) else pa.concat_tables(full)


def take_rows(block: Block, indices: Any) -> Block:
    """The rows with these positions, in this order."""
    return block.take(pa.array(np.asarray(indices)))


def metadata_of(block: Block, *, stats: BlockStats | None = None, files: list[str] | None = None, origin: str = "") -> BlockMetadata:
    """What the driver gets to know about a block."""
    return BlockMetadata(block.num_rows, size_bytes(block), block.schema, files, stats, origin)
