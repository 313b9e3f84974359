"""Keys: the values that rows are sorted, grouped or joined by.

A key is a column of a block, or what a function makes of the rows of simple data. Its values are an Arrow array of a type that has
an order, or, where there is none (objects, a mixture of types), a list of Python values. In both forms the order is: values,
then NaN, then null, whichever way the values are sorted.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aktis.data._blocks import ITEM, Block, kind_of, to_rows, unify_schemas
from aktis.data.exceptions import SchemaError, UserFunctionError, user_function_error

KeyColumn: TypeAlias = "pa.ChunkedArray | list[Any]"
"""Values of a key for each row of a block."""


@dataclass(frozen=True, slots=True)
class Key:
    """``by``: name of a column, function of an item, or None for the items of simple data themselves."""

    by: str | Callable[[Any], Any] | None
    descending: bool = False

    @property
    def label(self) -> str:
        if self.by is None:
            return "the item"
        return (
            f"column {self.by!r}" if isinstance(self.by, str) else getattr(self.by, "__name__", type(self.by).__name__)
        )


def make_keys(key: Any, descending: bool | Sequence[bool] = False, *, operation: str) -> tuple[Key, ...]:
    """Keys from what users give: a name, a function, None, or a list of names."""
    names = list(key) if isinstance(key, (list, tuple)) else [key]
    if not names:
        raise ValueError(f"{operation} got an empty list of keys. Give at least one column.")
    for name in names:
        if not (name is None or isinstance(name, str) or callable(name)):
            raise ValueError(
                f"{operation} takes the name of a column (or a list of them), a function, or None, got {name!r}."
            )
    directions = [descending] * len(names) if isinstance(descending, (bool, np.bool_)) else list(descending)
    if len(directions) != len(names):
        raise ValueError(
            f"{operation} got {len(names)} keys but {len(directions)} values for descending. Give one bool, or one for each key."
        )
    repeated = sorted({name for name in names if isinstance(name, str) and names.count(name) > 1})
    if repeated:
        raise ValueError(f"{operation} got {', '.join(map(repr, repeated))} more than once.")
    return tuple(Key(name, bool(direction)) for name, direction in zip(names, directions))


def key_columns(block: Block, keys: Sequence[Key], operation: str) -> list[KeyColumn]:
    """The values of all keys for each row."""
    return [key_values(block, key, operation) for key in keys]


def key_values(block: Block, key: Key, operation: str) -> KeyColumn:
    """The values of one key. Raises ValueError for a key that this kind of data cannot have."""
    simple = kind_of(block) == "simple"
    if isinstance(key.by, str):
        if key.by not in block.column_names:
            if block.num_columns == 0 and block.num_rows == 0:
                return pa.chunked_array([], type=pa.null())
            raise missing_column(key.by, block, operation)
        return ordered(block.column(key.by)) if is_ordered(block.column(key.by).type) else values_of(block, key.by)
    if not simple:
        if block.num_columns == 0 and block.num_rows == 0:
            return pa.chunked_array([], type=pa.null())
        raise ValueError(
            f"{operation} of data with columns takes the name of a column, got {key.label}. "
            f"Columns: {', '.join(map(repr, block.column_names))}."
        )
    if key.by is None:
        return ordered(block.column(ITEM)) if is_ordered(block.column(ITEM).type) else values_of(block, ITEM)
    return as_key_column(call_on_items(block, key.by, operation))


def missing_column(name: str, block: Block, operation: str) -> ValueError:
    if kind_of(block) == "simple":
        return ValueError(
            f"{operation} got the column {name!r}, but the rows are plain Python objects: give a function, or None."
        )
    return SchemaError(
        f"{operation}: there is no column {name!r}. Columns: {', '.join(map(repr, block.column_names))}."
    )


def call_on_items(block: Block, function: Callable[[Any], Any], operation: str) -> list[Any]:
    """What a user's function says about each item of a simple block."""
    item = None
    try:
        result = []
        for item in to_rows(block):
            result.append(function(item))
        return result
    except UserFunctionError:
        raise
    except Exception as error:
        name = getattr(function, "__name__", type(function).__name__)
        message = f"{operation}: the function {name} raised {type(error).__name__}: {error} (item: {item!r:.200})"
        raise user_function_error(message, error, operator=operation, function=name) from error


def as_key_column(values: list[Any]) -> KeyColumn:
    """Arrow values where all are of one plain type (or None), else the list as it is."""
    kinds = {type(value) for value in values}
    kinds.discard(type(None))
    if len(kinds) <= 1 and kinds <= {bool, int, float, str, bytes}:
        try:
            return pa.chunked_array([pa.array(values, from_pandas=False)])
        except (pa.ArrowInvalid, OverflowError):  # integers beyond 64 bits
            return values
    if kinds and all(issubclass(kind, np.generic) for kind in kinds):
        return as_key_column([value.item() if value is not None else None for value in values])
    return values


def values_of(block: Block, name: str) -> list[Any]:
    """A column as Python values, for types that only Python knows how to compare."""
    column = block.column(name)
    if pa.types.is_nested(column.type):
        return list(column.to_pylist())
    rows = to_rows(block.select([name]))
    return rows if kind_of(block.select([name])) != "table" else [row[name] for row in rows]


def is_ordered(kind: pa.DataType) -> bool:
    """Whether Arrow sorts and compares values of this type."""
    kind = plain_type(kind)
    return (
        pa.types.is_primitive(kind)
        or pa.types.is_null(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    ) and not pa.types.is_interval(kind)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values themselves, without the way that they are encoded."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if is_view(kind, "string"):
        return pa.large_string()
    if is_view(kind, "binary"):
        return pa.large_binary()
    if pa.types.is_float16(kind):
        return pa.float32()
    return kind


def is_view(kind: pa.DataType, what: str) -> bool:
    """Whether it is a ``string_view`` or ``binary_view``, which older versions of Arrow do not know."""
    test = getattr(pa.types, f"is_{what}_view", None)
    return test is not None and bool(test(kind))


def ordered(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column in a type that the kernels can sort and compare."""
    kind = column.type
    if pa.types.is_run_end_encoded(kind):
        return ordered(pa.chunked_array([pc.run_end_decode(chunk) for chunk in column.chunks], type=kind.value_type))
    plain = plain_type(kind)
    return column if plain.equals(kind) else column.cast(plain)


def common_types(columns: Sequence[Sequence[KeyColumn]], operation: str) -> list[pa.DataType | None]:
    """For each key the type of its values over all blocks. None: they are Python values."""
    result: list[pa.DataType | None] = []
    for values in zip(*columns):
        kinds = [value.type for value in values if not isinstance(value, list)]
        if len(kinds) < len(values):
            result.append(None)
            continue
        try:
            result.append(unify_schemas([pa.schema([pa.field("key", kind)]) for kind in kinds]).field(0).type)
        except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
            names = ", ".join(sorted({str(kind) for kind in kinds}))
            raise SchemaError(f"{operation}: the key has types that cannot be compared: {names}.") from error
    return result


def cast_key(column: KeyColumn, kind: pa.DataType | None) -> KeyColumn:
    """The values in the type that all blocks agree on."""
    if kind is None:
        return column if isinstance(column, list) else list(column.to_pylist())
    if isinstance(column, list):  # an empty block, say: anything else has made the common type None
        return pa.chunked_array([pa.array(column, kind)])
    return column if column.type.equals(kind) else column.cast(kind)


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array, copied only if it is in several."""
    if column.num_chunks == 1:
        return column.chunk(0)
    combined = column.combine_chunks()
    if isinstance(combined, pa.ChunkedArray):
        return pa.array([], type=column.type) if combined.num_chunks == 0 else combined.chunk(0)
    return combined


def nan_mask(array: Any) -> npt.NDArray[np.bool_] | None:
    """Which values are NaN. None: no value is."""
    if not pa.types.is_floating(array.type):
        return None
    nan = pc.is_nan(array)
    if not pc.any(nan).as_py():
        return None
    return np.asarray(pc.fill_null(nan, False).to_numpy(zero_copy_only=False), dtype=bool)


def numbers(array: pa.Array) -> npt.NDArray[Any] | None:
    """The values as numbers in the same order, nulls as anything. None: for this type there is no such thing."""
    kind = array.type
    if pa.types.is_boolean(kind):
        array = array.cast(pa.uint8())
    elif pa.types.is_date32(kind) or pa.types.is_time32(kind):
        array = array.view(pa.int32())
    elif pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        array = array.view(pa.int64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return None
    if array.null_count:
        array = pc.fill_null(array, pa.scalar(0, array.type))
    return array.to_numpy(zero_copy_only=False)


def is_nan(value: Any) -> bool:
    return isinstance(value, float) and value != value


def python_order(values: Sequence[Any], descending: bool, positions: Sequence[int], operation: str) -> list[int]:
    """``positions`` in the order of their values: stable, NaN and then None at the end."""
    plain = [i for i in positions if values[i] is not None and not is_nan(values[i])]
    try:
        plain.sort(key=values.__getitem__, reverse=descending)
    except TypeError as error:
        kinds = ", ".join(sorted({type(values[i]).__name__ for i in plain}))
        raise ValueError(f"{operation}: these keys have no common order: {kinds} ({error}).") from error
    return plain + [i for i in positions if is_nan(values[i])] + [i for i in positions if values[i] is None]


def sort_positions(
    columns: Sequence[KeyColumn], descending: Sequence[bool], *, use_polars: bool = False, operation: str = "sort"
) -> npt.NDArray[np.int64]:
    """Row positions in sorted order. Stable, in descending order too."""
    if any(isinstance(column, list) for column in columns):
        return _sort_python(columns, descending, operation)
    arrays: list[Any] = [c.cast(pa.int8()) if pa.types.is_null(c.type) else c for c in columns]  # type: ignore[union-attr]
    if use_polars and len(arrays[0]) >= 50_000:
        packed = _packed(arrays, descending) if len(arrays) > 1 else None
        result = _sort_polars(arrays[0], descending[0]) if packed is None else _sort_polars(packed, False)
        if result is not None and (len(arrays) == 1 or packed is not None):
            return result
    table = pa.Table.from_arrays(arrays, names=[str(i) for i in range(len(arrays))])
    keys = [(str(i), "descending" if down else "ascending") for i, down in enumerate(descending)]
    return np.asarray(pc.sort_indices(table, sort_keys=keys).to_numpy().view(np.int64))  # nulls at the end: its default


def _packed(arrays: Sequence[Any], descending: Sequence[bool]) -> pa.ChunkedArray | None:
    """Several keys of integers or times as one of 64 bits with the same order. None: they do not fit, or are of other types."""
    total: Any = 0
    size = 1
    for column, down in zip(arrays, descending):
        array = one_chunk(column)
        if pa.types.is_floating(array.type) or array.null_count == len(array):
            return None
        plain = numbers(array)
        if plain is None or plain.dtype == np.uint64:
            return None
        valid = plain if not array.null_count else plain[array.is_valid().to_numpy(zero_copy_only=False)]
        least, greatest = int(valid.min()), int(valid.max())
        width = greatest - least + 2  # the last number is that of null
        size *= width
        if size >= 1 << 63:
            return None
        wide = plain.astype(np.int64)
        code = greatest - wide if down else wide - least
        if array.null_count:
            code[array.is_null().to_numpy(zero_copy_only=False)] = width - 1
        total = total * width + code
    return pa.chunked_array([pa.array(total)])


def _sort_python(columns: Sequence[KeyColumn], descending: Sequence[bool], operation: str) -> npt.NDArray[np.int64]:
    values = [column if isinstance(column, list) else column.to_pylist() for column in columns]
    positions: list[int] = list(range(len(values[0])))
    for column, down in reversed(list(zip(values, descending))):  # stable sorts, least significant key first
        positions = python_order(column, down, positions, operation)
    return np.array(positions, dtype=np.int64)


@functools.cache
def _polars() -> Any:
    try:
        import polars
    except ImportError:
        return None
    return polars


def _sort_polars(column: pa.ChunkedArray, descending: bool) -> npt.NDArray[np.int64] | None:
    """Three times as fast as Arrow for one key of numbers. None: this column is not for Polars."""
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_temporal(kind)):
        return None
    if pa.types.is_floating(kind) and descending and nan_mask(column) is not None:
        return None  # Polars would put NaN first
    polars = _polars()
    if polars is None:
        return None
    frame = polars.DataFrame({"key": polars.from_arrow(column)})
    order = polars.arg_sort_by("key", descending=descending, nulls_last=True, maintain_order=True)
    return np.asarray(frame.select(order).to_series().to_numpy(), dtype=np.int64)
