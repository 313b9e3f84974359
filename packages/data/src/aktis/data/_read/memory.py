"""Datasets of what is in this process already: Python objects, arrays, frames, tables; and of references to such."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Union

import numpy as np
import pyarrow as pa

import aktis
from aktis.data._blocks import from_batch, from_rows, metadata_of, slice_rows
from aktis.data._blocks.types import Block, BlockMetadata
from aktis.data._execution.handle import BlockHandle
from aktis.data._plan.logical import InputBlocks
from aktis.data._read._common import blocks_dataset, capped, num_blocks, read_dataset
from aktis.data.dataset import Dataset, MaterializedDataset
from aktis.data.datasource._source import plain_table
from aktis.data.datasource.range_datasource import RangeDatasource, spread

if TYPE_CHECKING:
    import pandas as pd


def range(
    n: int, *, parallelism: int = -1, concurrency: int | None = None, override_num_blocks: int | None = None
) -> Dataset:
    """The integers from 0 to ``n`` - 1, as items.

    Args:
        n: how many.
        parallelism: how many blocks. Default: enough for all CPUs.
        concurrency: most read tasks at a time.
        override_num_blocks: the same as ``parallelism``.

    Raises:
        TypeError: ``n`` is no integer.
        ValueError: ``n`` is negative, or a number of blocks is not positive.
    """
    reader = RangeDatasource().create_reader(n)
    return read_dataset(
        reader,
        "ReadRange",
        parallelism=parallelism,
        override_num_blocks=override_num_blocks,
        concurrency=concurrency,
    )


def range_table(
    n: int, *, parallelism: int = -1, concurrency: int | None = None, override_num_blocks: int | None = None
) -> Dataset:
    """The integers from 0 to ``n`` - 1, in a column ``value``. See :func:`range`."""
    reader = RangeDatasource().create_reader(n, "arrow")
    return read_dataset(
        reader,
        "ReadRange",
        parallelism=parallelism,
        override_num_blocks=override_num_blocks,
        concurrency=concurrency,
    )


def range_arrow(n: int, *, parallelism: int = -1, override_num_blocks: int | None = None) -> Dataset:
    """The older name of :func:`range_table`."""
    return range_table(n, parallelism=parallelism, override_num_blocks=override_num_blocks)


def range_tensor(
    n: int,
    *,
    shape: tuple[int, ...] = (1,),
    parallelism: int = -1,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
) -> Dataset:
    """``n`` arrays of this shape: number i is filled with i. See :func:`range`."""
    if not shape or any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in shape):
        raise ValueError(f"shape is a tuple of positive integers, got {shape!r}")
    reader = RangeDatasource().create_reader(n, "tensor", tuple(shape))
    return read_dataset(
        reader,
        "ReadRange",
        parallelism=parallelism,
        override_num_blocks=override_num_blocks,
        concurrency=concurrency,
    )


def from_items(items: Sequence[Any], *, parallelism: int = -1, override_num_blocks: int | None = None) -> Dataset:
    """A dataset of Python objects.

    Dictionaries become rows with columns, arrays become tensors, everything else comes back as it went in.

    Args:
        items: a list, or another sequence or iterable.
        parallelism: how many blocks; at most one for each item. Default: a few for each CPU.
        override_num_blocks: the same as ``parallelism``.
    """
    if not isinstance(items, (list, tuple)):
        items = list(items)
    block = from_rows(items)
    wanted = num_blocks(parallelism, override_num_blocks)
    count = spread(len(items), block.nbytes, wanted)
    bounds = [len(items) * i // count for i in builtins.range(count + 1)]
    return blocks_dataset((slice_rows(block, start, stop) for start, stop in zip(bounds, bounds[1:])), "FromItems")


def from_pandas(dfs: pd.DataFrame | Sequence[pd.DataFrame], *, override_num_blocks: int | None = None) -> Dataset:
    """A dataset of one or several pandas frames; each is at least one block. Indexes are not kept.

    Raises:
        TypeError: something that is no frame.
    """
    import pandas as pd

    frames = _as_list(dfs, pd.DataFrame, "from_pandas", "a pandas.DataFrame")
    return _from_batches(frames, "FromPandas", override_num_blocks)


def from_numpy(ndarrays: np.ndarray[Any, Any] | Sequence[np.ndarray[Any, Any]]) -> Dataset:
    """A dataset of arrays: the rows are the items along the first axis. Each array is at least one block."""
    arrays = _as_list(ndarrays, np.ndarray, "from_numpy", "a numpy.ndarray")
    for array in arrays:
        if array.ndim == 0:
            raise ValueError(f"from_numpy needs arrays with at least one axis, got the scalar {array!r}")
    return _from_batches(arrays, "FromNumpy", None)


def from_arrow(
    tables: Union[pa.Table, bytes, Sequence[Union[pa.Table, bytes]]], *, override_num_blocks: int | None = None
) -> Dataset:
    """A dataset of Arrow tables (or bytes of an Arrow IPC stream); each is at least one block. Nothing is copied."""
    chosen = _as_list(tables, (pa.Table, pa.RecordBatch, bytes), "from_arrow", "a pyarrow.Table")
    return _from_batches(chosen, "FromArrow", override_num_blocks)


def from_pandas_refs(dfs: Union[aktis.ObjectRef[pd.DataFrame], Sequence[aktis.ObjectRef[pd.DataFrame]]]) -> Dataset:
    """A dataset of references to pandas frames, one block each. The frames do not pass through the driver."""
    return _from_refs(dfs, "FromPandasRefs")


def from_numpy_refs(
    ndarrays: Union[aktis.ObjectRef[np.ndarray[Any, Any]], Sequence[aktis.ObjectRef[np.ndarray[Any, Any]]]],
) -> Dataset:
    """A dataset of references to arrays, one block each. The arrays do not pass through the driver."""
    return _from_refs(ndarrays, "FromNumpyRefs")


def from_arrow_refs(
    tables: Union[aktis.ObjectRef[Union[pa.Table, bytes]], Sequence[aktis.ObjectRef[Union[pa.Table, bytes]]]],
) -> Dataset:
    """A dataset of references to Arrow tables (or IPC bytes), one block each. Tables stay where they are."""
    return _from_refs(tables, "FromArrowRefs")


def _as_list(given: Any, kind: Any, function: str, what: str) -> list[Any]:
    items = [given] if isinstance(given, kind) else given
    if isinstance(items, (str, dict)) or not hasattr(items, "__iter__"):
        raise TypeError(f"{function} takes {what} or a list of such, got {type(given).__name__}")
    items = list(items)
    for item in items:
        if not isinstance(item, kind):
            raise TypeError(f"{function} takes {what} or a list of such, one of them is {type(item).__name__}")
    return items


def _from_batches(batches: Sequence[Any], label: str, override_num_blocks: int | None) -> Dataset:
    blocks = [as_block(batch) for batch in batches]
    if override_num_blocks is None:
        return blocks_dataset((part for block in blocks for part in capped(block)), label)
    from aktis.data._blocks import concat

    wanted = num_blocks(-1, override_num_blocks)
    whole = concat(blocks)
    count = max(1, min(wanted, whole.num_rows))
    bounds = [whole.num_rows * i // count for i in builtins.range(count + 1)]
    return blocks_dataset((slice_rows(whole, start, stop) for start, stop in zip(bounds, bounds[1:])), label)


def as_block(batch: Any) -> Block:
    """A block from a frame, an array, a table, a record batch, or the bytes of an Arrow stream."""
    if isinstance(batch, (bytes, bytearray, memoryview)):
        return plain_table(pa.ipc.open_stream(pa.py_buffer(batch)).read_all())  # who knows where they come from
    if isinstance(batch, pa.RecordBatch):
        return pa.Table.from_batches([batch])
    return from_batch(batch)


def _from_refs(refs: Any, label: str) -> Dataset:
    chosen = [refs] if isinstance(refs, aktis.ObjectRef) else list(refs)
    for ref in chosen:
        if not isinstance(ref, aktis.ObjectRef):
            raise TypeError(f"expected references (aktis.put(...), f.remote(...)), one of them is {type(ref).__name__}")
    convert = aktis.remote(num_returns=2)(_convert)
    pairs = [convert.remote(ref) for ref in chosen]
    metadata: list[BlockMetadata] = aktis.get([pair[1] for pair in pairs])
    tables: list[bool] = [known.origin == _UNCHANGED for known in metadata]
    handles = tuple(
        BlockHandle(ref if same else pair[0], _plain(known))
        for ref, pair, known, same in zip(chosen, pairs, metadata, tables)
    )
    return MaterializedDataset(InputBlocks(handles=handles, label=label))


_UNCHANGED = "unchanged"


def _convert(value: Any) -> tuple[Block | None, BlockMetadata]:
    """In a task: the block of a value, and its description. A table is its own block, so only that is said."""
    if isinstance(value, pa.Table):
        return None, metadata_of(value, origin=_UNCHANGED)
    block = as_block(value)
    return block, metadata_of(block)


def _plain(metadata: BlockMetadata) -> BlockMetadata:
    from dataclasses import replace

    return replace(metadata, origin="") if metadata.origin == _UNCHANGED else metadata
