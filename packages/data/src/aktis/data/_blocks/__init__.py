"""Blocks: building them from rows and batches, and giving rows and batches back.

Inside aktis.data every block is an Arrow table. Three kinds are told apart by their columns alone:

- *table*: named columns. Tensor columns are ``arrow.fixed_shape_tensor`` or our variable-shaped extension type; values that
  Arrow has no type for are in an object column (pickled).
- *simple*: rows are Python objects, not mappings. One column ``ITEM``; ints, floats, strings ... that are all of one type are
  stored as Arrow values, everything else as objects, so that each value comes back exactly as it was.
- *tensor*: rows are arrays of one column ``TENSOR``.

A table that has rows but no columns is stored as one column ``ROWS`` of nulls (:func:`rows_only`): Arrow loses the number of
rows of a table without columns when that is sliced, concatenated or sent.
"""

from __future__ import annotations

from aktis.data._blocks.batches import BATCH_FORMATS, column_to_numpy, from_batch, kept_apart, to_batch
from aktis.data._blocks.buffer import OutputBuffer
from aktis.data._blocks.convert import conform, rows_only
from aktis.data._blocks.frames import frame_rows
from aktis.data._blocks.objects import is_object
from aktis.data._blocks.ops import compact, concat, empty_like, metadata_of, size_bytes, slice_rows, take_rows, trimmed
from aktis.data._blocks.rows import from_rows, row_slices, to_rows
from aktis.data._blocks.schemas import kind_of, unify_schemas
from aktis.data._blocks.tensors import is_tensor
from aktis.data._blocks.types import ITEM, ROWS, TENSOR, Block, BlockMetadata, BlockStats, Kind

__all__ = [
    "BATCH_FORMATS",
    "ITEM",
    "ROWS",
    "TENSOR",
    "Block",
    "BlockMetadata",
    "BlockStats",
    "Kind",
    "OutputBuffer",
    "column_to_numpy",
    "compact",
    "concat",
    "conform",
    "empty_like",
    "frame_rows",
    "from_batch",
    "from_rows",
    "is_object",
    "is_tensor",
    "kept_apart",
    "kind_of",
    "metadata_of",
    "row_slices",
    "rows_only",
    "size_bytes",
    "slice_rows",
    "take_rows",
    "to_batch",
    "to_rows",
    "trimmed",
    "unify_schemas",
]
