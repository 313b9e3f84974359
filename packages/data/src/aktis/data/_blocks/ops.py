"""Slices, sizes, concatenation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as pat

from aktis.data._blocks.convert import conform, nulls
from aktis.data._blocks.schemas import unify_schemas
from aktis.data._blocks.types import Block, BlockMetadata, BlockStats

_MOST_BYTES = (1 << 31) - 1  # in an array with offsets of 32 bits
_FEW_ROWS = (
    32_768  # chunks smaller than this on average are worth merging before a block is sent away, for those who get it
)


def size_bytes(block: Block) -> int:
    """Bytes of the rows themselves: of a slice, only what it shows. Objects count with the size of their pickles."""
    return int(block.nbytes)


def slice_rows(block: Block, start: int, stop: int) -> Block:
    """Rows ``start`` to ``stop``, without copying. See :func:`compact` before such a block is sent away."""
    if start <= 0 and stop >= block.num_rows:
        return block
    stop = min(stop, block.num_rows)  # Arrow does not see to that for blocks without columns
    return block.slice(start, max(0, stop - start))


def compact(block: Block) -> Block:
    """The same rows, owning no more memory than they need: a slice would be sent with everything that it is a slice of.

    A block that consists of many tiny chunks comes back in few. Nothing is copied if there is nothing to gain.
    """
    if block.num_columns == 0:
        return block
    chunks = max(column.num_chunks for column in block.columns)
    if chunks > 1 and block.num_rows < chunks * _FEW_ROWS:
        block = combined(block)  # copies what is visible, but for columns of one chunk
    if block.get_total_buffer_size() <= block.nbytes * 1.1 + 4096:
        return block
    plain = _to_storage(block)
    size = pa.MockOutputStream()
    _write(plain, size)
    buffer = pa.allocate_buffer(size.size())
    _write(plain, pa.FixedSizeBufferWriter(buffer))
    return _from_storage(pa.ipc.open_stream(buffer).read_all(), block.schema)


def trimmed(block: Block) -> Block:
    """As :func:`compact`, for a block that is sent away at once: nothing is copied where that is about to be done anyway.

    Columns of numbers refer to just the part of the memory that they show, and keep all of it alive.
    """
    if any(column.num_chunks != 1 for column in block.columns):
        return compact(block)
    columns = [_trimmed(column.chunk(0)) for column in block.columns]
    if any(column is None for column in columns):
        return compact(block)
    return pa.Table.from_arrays(columns, schema=block.schema)


def _trimmed(array: pa.Array) -> pa.Array | None:
    """A column whose buffers hold what it shows, and no more. None: it is not of plain numbers without missing ones."""
    kind = array.type
    if not (pat.is_integer(kind) or pat.is_floating(kind) or pat.is_temporal(kind)) or array.null_count:
        return None
    width = kind.bit_width // 8
    values = array.buffers()[1]
    if values is None:
        return None
    return pa.Array.from_buffers(kind, len(array), [None, values.slice(array.offset * width, len(array) * width)])


def _write(block: Block, sink: Any) -> None:
    with pa.ipc.new_stream(sink, block.schema) as writer:
        writer.write_table(block)


def _to_storage(block: Block) -> Block:
    """Extension columns as what they are made of: types that are not registered would get lost on the way."""
    columns = [
        pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
        if isinstance(column.type, pa.BaseExtensionType)
        else column
        for column in block.columns
    ]
    return pa.Table.from_arrays(columns, names=block.column_names)


def _from_storage(block: Block, schema: pa.Schema) -> Block:
    columns = [
        pa.chunked_array([pa.ExtensionArray.from_storage(field.type, chunk) for chunk in column.chunks], field.type)
        if isinstance(field.type, pa.BaseExtensionType)
        else column
        for column, field in zip(block.columns, schema)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def combined(block: Block) -> Block:
    """The rows in one chunk per column (more where 32 bit offsets do not suffice)."""
    return _from_storage(_to_storage(block).combine_chunks(), block.schema)


def empty_like(schema: pa.Schema) -> Block:
    """A block with no rows."""
    return pa.Table.from_arrays([nulls(0, field.type) for field in schema], schema=schema)


def concat(blocks: Sequence[Block]) -> Block:
    """All rows, in order. Schemas are unified; an empty block without columns counts for nothing.

    Raises SchemaError where no schema fits all blocks. Chunks are kept, values are copied only where they must be cast.
    """
    blocks = list(blocks)
    if len(blocks) == 1:
        return blocks[0]
    full = [block for block in blocks if block.num_columns] or blocks[:1]
    if not full:
        return pa.table({})
    if len(full) == 1:
        return full[0]
    schema = unify_schemas([block.schema for block in full])
    return pa.concat_tables([conform(block, schema) for block in full])


def take_rows(block: Block, indices: Any) -> Block:
    """The rows with these positions (array of ints), in this order. A copy, with columns in one chunk where they fit."""
    if block.num_columns == 0:
        return block.slice(0, 0)
    positions = indices if isinstance(indices, pa.Array) else pa.array(np.asarray(indices, dtype=np.int64))
    plain = _to_storage(block)
    if any(_outgrows(column, positions) for column in plain.columns):  # some versions of Arrow do not notice
        return _take_wide(block, positions)
    try:
        return _from_storage(plain.take(positions), block.schema)
    except pa.ArrowInvalid as error:
        if "overflow" not in str(error):
            raise
    return _take_wide(block, positions)


def _outgrows(column: pa.ChunkedArray, positions: pa.Array) -> bool:
    """Whether text or bytes taken from a column need offsets of more than 32 bits."""
    if not (pat.is_string(column.type) or pat.is_binary(column.type)) or not len(column):
        return False
    if column.nbytes * len(positions) <= _MOST_BYTES:  # nearly always that much is known at once
        return False
    lengths = pc.binary_length(column)
    longest = pc.max(lengths).as_py() or 0
    if longest * len(positions) <= _MOST_BYTES:
        return False
    return bool((pc.sum(lengths.cast(pa.int64()).take(positions)).as_py() or 0) > _MOST_BYTES)


def _take_wide(block: Block, positions: pa.Array) -> Block:
    """The same where there is more than 2 GiB of text in one column, which offsets of 32 bits do not reach."""
    plain = _to_storage(block)
    wide = pa.schema([field.with_type(_wide(field.type)) for field in plain.schema])
    taken = plain.cast(wide).take(positions)
    types = [
        old.type if isinstance(old.type, pa.BaseExtensionType) else new.type for old, new in zip(block.schema, wide)
    ]
    return _from_storage(taken, pa.schema([field.with_type(t) for field, t in zip(block.schema, types)]))


def _wide(data_type: pa.DataType) -> pa.DataType:
    if pat.is_string(data_type):
        return pa.large_string()
    if pat.is_binary(data_type):
        return pa.large_binary()
    if pat.is_list(data_type):
        return pa.large_list(pa.field("item", _wide(data_type.value_type)))
    return data_type


def metadata_of(
    block: Block, *, stats: BlockStats | None = None, files: list[str] | None = None, origin: str = ""
) -> BlockMetadata:
    """What the driver gets to know about a block."""
    return BlockMetadata(block.num_rows, size_bytes(block), block.schema, files, stats, origin)
