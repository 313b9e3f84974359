"""Batches: what functions given to map_batches get and return."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from aktis.data._blocks.rows import from_rows, to_rows
from aktis.data._blocks.schemas import kind_of
from aktis.data._blocks.types import TENSOR, Block
from aktis.data.exceptions import BatchTypeError


def from_batch(batch: Any) -> Block:
    """A block from a list of rows, an Arrow table, a pandas frame, an array, or a dict of arrays."""
    if isinstance(batch, pa.Table):
        return batch
    if isinstance(batch, list):
        return from_rows(batch)
    if isinstance(batch, dict):
        return pa.table({k: pa.array(v) for k, v in batch.items()})
    if isinstance(batch, np.ndarray):
        return pa.table({TENSOR: pa.array(batch.tolist())})
    if type(batch).__module__.startswith("pandas"):
        return pa.Table.from_pandas(batch, preserve_index=False)
    raise BatchTypeError(f"got {type(batch).__name__}")


def to_batch(block: Block, batch_format: str | None, *, copy: bool = True) -> Any:
    """The block as "default", "native", "pandas", "pyarrow" or "numpy"."""
    kind = kind_of(block)
    if batch_format in ("default", "native", None):
        if kind == "simple":
            return to_rows(block)
        if kind == "tensor":
            return np.array(block.column(0).to_pylist())
        batch_format = "pandas"
    if batch_format == "pyarrow":
        return block
    if batch_format == "pandas":
        return block.to_pandas()
    return {name: block.column(name).to_numpy() for name in block.column_names}
