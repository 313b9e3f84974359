"""Batches as Arrow tables with a row for each step, and back.

Numbers are columns of numbers, arrays are lists (nested, for more than one axis), dicts and tuples are structs. The schema's
metadata keeps what tables do not know: the exact types, which structs are tuples, and how many steps of the environment a
batch of several policies has.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aktis.rllib.offline.errors import OfflineDataError
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

__all__ = ["META", "batch_to_table", "pyarrow", "table_to_batch"]

META = b"aktis.rllib"
_POLICY, _STEPS = "policy_id", "batch_env_steps"


def pyarrow() -> Any:
    """The library.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError:
        raise ImportError(
            'Parquet files are read and written with pyarrow, which is not installed: pip install "aktis-rllib[parquet]"'
        ) from None
    return pa


# -- to tables ----------------------------------------------------------------------------------------------------------


def batch_to_table(batch: SampleBatch | MultiAgentBatch) -> tuple[Any, dict[str, Any]]:
    """The table of a batch, and what must be known to read it."""
    pa = pyarrow()
    if isinstance(batch, SampleBatch):
        return _columns(batch)
    tables, meta = [], {}
    for policy_id, part in batch.policy_batches.items():
        table, meta[policy_id] = _columns(part)
        rows = table.num_rows
        table = table.append_column(_POLICY, pa.array([policy_id] * rows, pa.string()))
        tables.append(table.append_column(_STEPS, pa.array([batch.count] * rows, pa.int64())))
    return pa.concat_tables(tables, promote_options="default"), {"policies": meta}


def _columns(batch: SampleBatch) -> tuple[Any, dict[str, Any]]:
    pa = pyarrow()
    batch = batch.copy(shallow=True).decompress_if_needed(list(batch))
    arrays, meta = {}, {}
    for key in batch:
        if key == "seq_lens":
            raise OfflineDataError(
                "a batch with seq_lens has not a row for each step: write it before it is cut into sequences, or as JSON"
            )
        if key == "infos":
            continue
        try:
            arrays[key], meta[key] = _array(dict.__getitem__(batch, key))
        except (TypeError, ValueError, pa.ArrowException) as error:
            raise OfflineDataError(f"the column {key!r} cannot be written to Parquet: {error}") from error
    return pa.table(arrays), meta


def _array(column: Any) -> tuple[Any, Any]:
    pa = pyarrow()
    if isinstance(column, (dict, tuple)):
        items = column.items() if isinstance(column, dict) else ((str(i), part) for i, part in enumerate(column))
        made = {str(name): _array(part) for name, part in items}
        struct = pa.StructArray.from_arrays([array for array, _ in made.values()], list(made))
        return struct, {
            "tuple" if isinstance(column, tuple) else "dict": {name: meta for name, (_, meta) in made.items()}
        }
    values = np.asarray(column.detach().cpu() if hasattr(column, "detach") else column)
    if values.dtype.kind not in "biuf":
        raise TypeError(f"it holds {values.dtype}, not numbers")
    array: Any = pa.array(np.ascontiguousarray(values).reshape(-1))
    for size in reversed(values.shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return array, {"dtype": values.dtype.str, "shape": list(values.shape[1:])}


# -- from tables --------------------------------------------------------------------------------------------------------


def table_to_batch(table: Any, meta: dict[str, Any] | None) -> SampleBatch | MultiAgentBatch:
    """The batch of a table.

    Args:
        table: Rows are steps.
        meta: What :func:`batch_to_table` gave; None for tables of somebody else.
    """
    if meta is not None and "policies" in meta:
        policies = np.asarray(table.column(_POLICY).to_pylist())
        batches = {}
        for policy_id, known in meta["policies"].items():
            rows = np.flatnonzero(policies == policy_id)
            if len(rows):
                batches[policy_id] = _batch(table.take(rows), known)
        return MultiAgentBatch(batches, int(table.column(_STEPS)[0].as_py()))
    return _batch(table, meta)


def _batch(table: Any, meta: dict[str, Any] | None) -> SampleBatch:
    names = table.column_names if meta is None else [name for name in meta if name in table.column_names]
    made: dict[str, Any] = {}
    for name in names:
        try:
            made[name] = _column(table.column(name), None if meta is None else meta[name])
        except (TypeError, ValueError) as error:
            raise OfflineDataError(f"the column {name!r} is no column of steps: {error}") from error
    return SampleBatch(made)


def _column(chunked: Any, meta: Any) -> Any:
    pa = pyarrow()
    array = chunked.combine_chunks() if isinstance(chunked, pa.ChunkedArray) else chunked
    if isinstance(array, pa.ChunkedArray):  # a table of no chunks
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    kind = array.type
    if pa.types.is_struct(kind):
        known = {} if meta is None else (meta.get("dict") or meta.get("tuple") or {})
        flat = dict(zip([kind.field(i).name for i in range(kind.num_fields)], array.flatten(), strict=True))
        parts = {name: _column(part, known.get(name)) for name, part in flat.items()}
        return tuple(parts[str(i)] for i in range(len(parts))) if meta is not None and "tuple" in meta else parts
    if array.null_count:
        raise ValueError(f"{array.null_count} steps have no value")
    shape: list[int] = []
    while pa.types.is_fixed_size_list(array.type):
        shape.append(array.type.list_size)
        array = array.flatten()
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        values = np.asarray(array.to_pylist())
        values = values.reshape(-1, *shape, *values.shape[1:]) if shape else values
    else:
        values = array.to_numpy(zero_copy_only=False)
        values = values.reshape(-1, *shape) if shape else values
    if meta is not None:
        return np.array(values, np.dtype(meta["dtype"])).reshape(-1, *meta["shape"])
    if values.dtype.kind not in "biuf":
        raise ValueError(f"it is not made of numbers, or its rows have different lengths ({kind})")
    return values.astype(np.float32) if values.dtype.kind == "f" else np.array(values)
