"""Batches: what functions given to map_batches get and return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import types as pat

from aktis.data._blocks.convert import rows_only
from aktis.data._blocks.frames import owned_by, remember, remembered
from aktis.data._blocks.objects import encode_objects, is_object
from aktis.data._blocks.rows import from_rows, to_rows
from aktis.data._blocks.schemas import kind_of
from aktis.data._blocks.tensors import Array, can_be_tensor, fixed_tensors, is_tensor, object_array, tensors_to_numpy
from aktis.data._blocks.types import ROWS, TENSOR, Block
from aktis.data._blocks.values import to_list, value_column
from aktis.data.exceptions import BatchTypeError

BATCH_FORMATS = ("default", "native", "pandas", "pyarrow", "numpy", "polars")
KEPT_APART = 1 << 20  # bytes: of larger arrays, a copy takes as long as what it saves
_NAT = np.iinfo(np.int64).min  # NaT as an integer
_ALLOWED = (
    "a list of rows, a pandas or polars DataFrame, a pyarrow Table or RecordBatch, a numpy array, or a dict of arrays"
)


def from_batch(batch: Any) -> Block:
    """A block from what a function may return as a batch.

    Args:
        batch: a list of rows, a ``pa.Table`` (kept as it is) or ``pa.RecordBatch``, a pandas or polars DataFrame (the index of
            a pandas one is dropped; its NaN, NaT and NA become nulls), a numpy array (its first axis counts the rows), or a
            dict of arrays or lists. Values that Arrow has no type for are kept as Python objects, arrays as tensors.

    Raises:
        BatchTypeError: anything else, or a dict with values that are no arrays, or have different lengths.
    """
    if isinstance(batch, pa.Table):
        return batch
    if isinstance(batch, list):
        return from_rows(batch)
    if isinstance(batch, pa.RecordBatch):
        return pa.Table.from_batches([batch]) if batch.num_columns else rows_only(batch.num_rows)
    if isinstance(batch, np.ndarray):
        return _from_array(batch)
    if isinstance(batch, Mapping):
        return _from_dict(batch)
    library = type(batch).__module__.partition(".")[0]
    if library == "polars":
        return _from_polars(batch)
    import pandas as pd

    if isinstance(batch, pd.DataFrame):
        return _from_pandas(batch)
    raise BatchTypeError(f"a batch must be {_ALLOWED}, but got {_described(batch)}")


def _described(value: Any) -> str:
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"{name}: {_shortened(repr(value))}"


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def _from_array(batch: Array) -> Block:
    if batch.ndim == 0:
        raise BatchTypeError(
            f"a batch that is an array needs an axis for its rows, but got the zero-dimensional {batch!r}"
        )
    return pa.table({TENSOR: array_column(batch)})


def array_column(values: Any, *, tensor: bool = True) -> pa.Array | pa.ChunkedArray:
    """A column of an array's rows. ``tensor``: also if the array has one dimension, where rows are numbers."""
    if np.ma.isMaskedArray(values):
        return value_column(np.where(np.ma.getmaskarray(values), None, np.asarray(values, dtype=object)).tolist())
    if values.dtype == object:
        return value_column([*values])
    if can_be_tensor(values.dtype) and (tensor or values.ndim > 1):
        return fixed_tensors(values)
    if values.ndim > 1:
        return pa.array(values.tolist()) if values.dtype.kind in "US" else encode_objects([*values])
    if values.dtype.kind == "c" or not values.dtype.isnative or values.dtype.kind == "V":
        native = values.dtype.newbyteorder("=")
        return (
            value_column(values.tolist())
            if values.dtype.kind in "cV"
            else array_column(values.astype(native), tensor=tensor)
        )
    try:
        return pa.array(values)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return value_column([*values])


def _from_dict(batch: Mapping[Any, Any]) -> Block:
    columns: dict[str, Any] = {}
    for name, values in batch.items():
        if not isinstance(name, str):
            raise BatchTypeError(f"names of columns must be strings, but got {name!r} ({type(name).__name__})")
        columns[name] = _dict_column(name, values)
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name!r}: {length}" for name, length in lengths.items())
        raise BatchTypeError(f"all columns of a batch must have as many rows, but got {found}")
    return pa.table(columns)


def _dict_column(name: str, values: Any) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, np.ndarray):
        if values.ndim:
            return array_column(values, tensor=False)
    elif isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    elif isinstance(values, Sequence) and not isinstance(values, (str, bytes, bytearray, memoryview)):
        return value_column(values if isinstance(values, (list, tuple)) else list(values))
    else:
        library = type(values).__module__.partition(".")[0]
        if library in ("pandas", "aktis") and hasattr(values, "dtype") and hasattr(values, "isna"):
            return pandas_column(values.copy(deep=False) if hasattr(values, "index") else values)
        if library == "polars" and hasattr(values, "to_arrow"):
            return values.to_arrow()
        if library == "torch" and hasattr(values, "detach"):
            return _dict_column(name, values.detach().cpu().numpy())  # also from an accelerator, or with a gradient
        if not isinstance(values, (str, bytes, np.generic)) and hasattr(values, "__array__") and np.ndim(values):
            return array_column(np.asarray(values), tensor=False)
    raise BatchTypeError(
        f"values of a batch that is a dict must be arrays or lists, one element per row, but {name!r} is {_described(values)}"
    )


def _from_polars(frame: Any) -> Block:
    if hasattr(frame, "collect"):  # lazy
        frame = frame.collect()
    if not hasattr(frame, "columns"):
        raise BatchTypeError(f"a batch must be {_ALLOWED}, but got {_described(frame)}")
    return frame.to_arrow() if frame.columns else pa.table({})


def _from_pandas(frame: Any) -> Block:
    for name in frame.columns:
        if not isinstance(name, str):
            raise BatchTypeError(
                f"names of columns must be strings, but the frame has {name!r} ({type(name).__name__}): "
                "rename it, such as with df.columns = df.columns.astype(str)"
            )
    if not len(frame.columns):
        return rows_only(len(frame)) if len(frame) else pa.table({})
    columns = [pandas_column(series) for _, series in frame.items()]
    block = pa.Table.from_arrays(columns, names=list(frame.columns))
    remember(block, frame)
    return block


def pandas_column(series: Any) -> pa.Array | pa.ChunkedArray:
    """A column of a pandas Series; missing values become nulls. If nobody else has this very object, pandas copies on write,
    so that nothing that is done to other objects with its data changes the column."""
    dtype = series.dtype
    if isinstance(dtype, np.dtype):
        if dtype.kind in "biufMm":
            return _number_column(owned_by(series))
        if dtype.kind != "O":
            return array_column(series.to_numpy(), tensor=False)
        values = series.tolist()
        return value_column([None if type(v) is float and v != v else v for v in values])
    tensors = getattr(series.array if hasattr(series, "array") else series, "to_arrow_tensors", None)
    if tensors is not None:
        return tensors()
    if type(dtype).__name__ == "DatetimeTZDtype":  # pandas warns when Arrow does it
        moments = _number_column(series.array.tz_convert(None).to_numpy())
        return moments.cast(pa.timestamp(dtype.unit, pa.lib.tzinfo_to_string(dtype.tz)))
    try:
        column = pa.Array.from_pandas(series)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return value_column(series.tolist())
    return column


def _number_column(values: Array) -> pa.Array:
    """Numbers or times. To look for missing ones first is several times as fast as to let Arrow do it, and mostly
    there are none: then the column shares the memory of the values."""
    dtype = values.dtype
    if not dtype.isnative:
        return _number_column(values.astype(dtype.newbyteorder("=")))
    if dtype.kind == "f":
        missing = bool(np.isnan(values).any())
    elif dtype.kind in "mM":
        missing = _has_nat(values)
    elif dtype.kind == "b":
        bits = np.packbits(values, bitorder="little")  # a tenth of the time that Arrow takes
        return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)])
    else:
        missing = False
    if not missing and values.flags.c_contiguous:
        kind = pa.from_numpy_dtype(dtype)
        if kind.bit_width == 8 * dtype.itemsize:  # days are 32 bits wide in Arrow
            return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])
    return pa.array(values, from_pandas=missing)


def _has_nat(values: Array) -> bool:
    return bool(len(values)) and bool(values.view(np.int64).min() == _NAT)  # a fifth of the time of isnat


def to_batch(block: Block, batch_format: str | None, *, copy: bool = True) -> Any:
    """The block in the form that a function asks for.

    Args:
        batch_format: "default" or "native" (a list for rows that are Python objects, an array for rows that are arrays, else
            pandas), "pandas" (arrays in a tensor column, missing values as pandas has them), "pyarrow", "numpy" (a dict of
            arrays, or one array for rows that are arrays; ints with nulls are floats with NaN) or "polars".
        copy: whether the batch must be writable. If not, it may share memory with the block, and be read-only.

    Raises:
        ValueError: an unknown format.
    """
    if batch_format in ("default", "native", None):
        kind = kind_of(block)
        if kind == "simple":
            return to_rows(block)
        return to_pandas(block, copy=copy) if kind == "table" else column_to_numpy(block.column(0), copy=copy)
    if batch_format == "pandas":
        return to_pandas(block, copy=copy)
    if batch_format == "pyarrow":
        return block
    if batch_format == "numpy":
        if kind_of(block) == "tensor":
            return column_to_numpy(block.column(0), copy=copy)
        names = [] if block.column_names == [ROWS] else block.column_names
        return {name: column_to_numpy(block.column(i), copy=copy) for i, name in enumerate(names)}
    if batch_format == "polars":
        return _to_polars(block)
    raise ValueError(
        f"batch_format must be one of {', '.join(map(repr, BATCH_FORMATS))} or None, but got {batch_format!r}"
    )


def column_to_numpy(column: pa.ChunkedArray, *, copy: bool = False) -> Array:
    """An array of a column's values. Tensors: one array, or an object array of arrays where shapes differ."""
    kind = column.type
    if is_tensor(kind):
        array = tensors_to_numpy(column)
        if copy and array.dtype == object:
            for i, value in enumerate(array):
                array[i] = None if value is None else value.copy()
    elif is_object(kind):
        array = object_array(to_list(column))
    elif _repeats_itself(column):
        array = _from_distinct(column)
    elif column.num_chunks == 1:
        array = column.chunk(0).to_numpy(zero_copy_only=False)
    else:
        array = column.to_numpy()
    return writable(array) if copy else array


def _repeats_itself(column: pa.ChunkedArray) -> bool:
    """Whether a long column of strings seems to have few distinct ones."""
    kind = column.type
    if len(column) < 4096 or not (pat.is_string(kind) or pat.is_large_string(kind)):
        return False
    return len(column.slice(0, 1024).unique()) < 128


def _from_distinct(column: pa.ChunkedArray) -> Array:
    """An object array in which equal strings are one Python object: making those takes most of the time otherwise."""
    if column.num_chunks > 1:
        column = pa.chunked_array([column.combine_chunks()])
    encoded = column.chunk(0).dictionary_encode(null_encoding="encode")
    values: Array = encoded.dictionary.to_numpy(zero_copy_only=False)
    return values.take(encoded.indices.to_numpy())


def writable(array: Array) -> Array:
    """The array, copied if it is read-only.

    Large copies are in memory of Arrow's pool: it keeps freed memory for the next batch, where numpy would give it back to the
    system, and spend most of the time of the next copy on page faults.
    """
    if array.flags.writeable:
        return array
    if array.nbytes < 1 << 16 or array.dtype == object or not array.flags.c_contiguous:
        copied: Array = array.copy()
        return copied
    result: Array = np.frombuffer(pa.allocate_buffer(array.nbytes), array.dtype).reshape(array.shape)
    np.copyto(result, array)
    return result


def kept_apart(batch: Any) -> Any:
    """What a function returned, with small arrays of numbers copied to memory of Arrow's pool.

    Results are kept until a block is full. Where they lie among what the function computes with and frees, malloc finds no
    hole of the right size for the next batch: the heap grows with each, and page faults take longer than these copies. And a
    function may return the same array each time, with other values.
    """
    if isinstance(batch, dict):
        return {name: _apart(values) for name, values in batch.items()}
    return _apart(batch)


def _apart(values: Any) -> Any:
    if type(values) is not np.ndarray or values.dtype.kind not in "biuf" or not values.ndim:
        return values
    if not 0 < values.nbytes <= KEPT_APART or not values.dtype.isnative:
        return values
    result: Array = np.frombuffer(pa.allocate_buffer(values.nbytes), values.dtype).reshape(values.shape)
    np.copyto(result, values)
    return result


def to_pandas(block: Block, *, copy: bool = True) -> Any:
    """The block as a pandas frame."""
    import pandas as pd

    frame = remembered(block)
    if frame is not None:
        return frame
    names = block.column_names
    if names == [ROWS] or not names:
        return pd.DataFrame(index=pd.RangeIndex(block.num_rows))
    if copy and not any(isinstance(kind, pa.BaseExtensionType) for kind in block.schema.types):
        return block.replace_schema_metadata(None).to_pandas()  # one copy of all columns of a type: writable, and fast
    columns = {i: _to_series(column, copy=copy) for i, column in enumerate(block.columns)}
    frame = pd.DataFrame(columns, copy=False, index=pd.RangeIndex(block.num_rows))
    frame.columns = pd.Index(names)
    return frame


def _to_series(column: pa.ChunkedArray, *, copy: bool) -> Any:
    kind = column.type
    if is_tensor(kind):
        from aktis.data.extensions import TensorArray

        return TensorArray(column_to_numpy(column, copy=copy))
    if is_object(kind):
        return column_to_numpy(column)
    if (pat.is_integer(kind) or pat.is_floating(kind)) and not column.null_count:
        return column_to_numpy(column, copy=copy)
    if isinstance(kind, pa.BaseExtensionType) and not hasattr(kind, "to_pandas_dtype"):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
    series = column.to_pandas()
    array = getattr(series.array, "_ndarray", None)
    if copy and isinstance(array, np.ndarray) and not array.flags.writeable:
        return series.copy()
    return series


def _to_polars(block: Block) -> Any:
    try:
        import polars as pl
    except ImportError:
        raise ImportError("batch_format='polars' needs polars: pip install 'aktis-data[polars]'") from None
    columns: dict[str, Any] = {}
    for name, column in zip(block.column_names, block.columns):
        if is_object(column.type):
            columns[name] = pl.Series(name, to_list(column), dtype=pl.Object)
        elif is_tensor(column.type):
            array = tensors_to_numpy(column)
            columns[name] = pl.Series(
                name, [None if a is None else a.tolist() for a in array] if array.dtype == object else array
            )
        else:
            columns[name] = pl.from_arrow(column)
    return pl.DataFrame(columns)


__all__ = [
    "BATCH_FORMATS",
    "TENSOR",
    "array_column",
    "column_to_numpy",
    "from_batch",
    "kept_apart",
    "pandas_column",
    "to_batch",
    "to_pandas",
]
