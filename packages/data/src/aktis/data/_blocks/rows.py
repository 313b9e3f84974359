"""Rows: Python objects, one each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from aktis.data._blocks.convert import rows_only
from aktis.data._blocks.ops import combined
from aktis.data._blocks.schemas import kind_of
from aktis.data._blocks.tensors import can_be_tensor, tensor_column
from aktis.data._blocks.types import ITEM, ROWS, TENSOR, Block
from aktis.data._blocks.values import dict_maker, item_column, to_list, value_column
from aktis.data.exceptions import SchemaError

# Rows are turned into columns, and columns into rows, so many at a time: what was made is still in the processor's cache when it
# is needed, which saves half of the time where there are many columns.
_SLICE = 2048


def from_rows(rows: Sequence[Any]) -> Block:
    """A block of these rows.

    Mappings become columns, and all must have the same keys. Arrays become a tensor column. Everything else is kept as Python
    objects. No rows: a block without columns.

    Raises:
        SchemaError: rows with different keys, keys that are no strings, or mappings beside other rows.
    """
    if not isinstance(rows, (list, tuple)):
        rows = list(rows)
    if not rows:
        return pa.table({})
    first = rows[0]
    if isinstance(first, Mapping):
        return _from_mappings(rows, first)
    if type(first) is np.ndarray and all(type(row) is np.ndarray and can_be_tensor(row.dtype) for row in rows):
        return pa.table({TENSOR: tensor_column(rows)})
    if any(issubclass(kind, Mapping) for kind in set(map(type, rows))):
        _check_mappings(rows)
    return pa.table({ITEM: item_column(rows)})


def _from_mappings(rows: Sequence[Any], first: Mapping[Any, Any]) -> Block:
    names = list(first)
    if len(rows) > 2 * _SLICE and names:
        try:
            slices = [_from_mappings(rows[i : i + _SLICE], first) for i in range(0, len(rows), _SLICE)]
        except SchemaError:
            _check_mappings(rows)  # so that the row's number is the one in the whole list
            raise
        if all(block.schema.equals(slices[0].schema) for block in slices):
            return combined(pa.concat_tables(slices))
    # All rows have each key of the first one, and together no more than that: so the keys of all are equal.
    try:
        columns = [list(map(itemgetter(name), rows)) for name in names]
        fits = sum(map(len, rows)) == len(rows) * len(names) and all(isinstance(name, str) for name in names)
    except (KeyError, TypeError, IndexError):
        fits = False
    if not fits or not names:
        _check_mappings(rows)
        if not names:
            return rows_only(len(rows))
    return from_columns(names, columns)


def from_columns(names: Sequence[str], columns: Sequence[list[Any]]) -> Block:
    """A block of the values of each column."""
    return pa.Table.from_arrays([value_column(values) for values in columns], names=list(names))


def _check_mappings(rows: Sequence[Any]) -> None:
    """Raise SchemaError for the first row that does not fit the first one."""
    names = list(rows[0]) if isinstance(rows[0], Mapping) else None
    for name in names or []:
        if not isinstance(name, str):
            raise SchemaError(
                f"names of columns must be strings, but row 0 has the key {name!r} ({type(name).__name__})"
            )
    expected = set(names or [])
    for i, row in enumerate(rows):
        if isinstance(row, Mapping) != (names is not None):
            what = "a mapping" if names is None else "no mapping"
            raise SchemaError(
                f"rows must be all mappings or none, but row {i} ({type(row).__name__}) is {what}, unlike row 0 "
                f"({type(rows[0]).__name__})"
            )
        found = set(row) if names is not None else expected
        if found != expected:
            missing, extra = expected - found, found - expected
            what = " and ".join(
                [f"lacks {_listed(missing)}"] * bool(missing) + [f"also has {_listed(extra)}"] * bool(extra)
            )
            raise SchemaError(
                f"all rows of a block must have the same columns, but row {i} {what}; row 0 has {_listed(names)}"
            )


def _listed(names: Any) -> str:
    shown = [repr(name) for name in (names if isinstance(names, list) else sorted(names, key=repr))]
    return ", ".join(shown[:10]) + (f" and {len(shown) - 10} more" if len(shown) > 10 else "") or "no columns"


def to_rows(block: Block) -> list[Any]:
    """The rows as Python objects: fresh dicts, or for simple blocks the items themselves, for tensor blocks arrays."""
    if kind_of(block) != "table":
        return to_list(block.column(0))
    names = block.column_names
    if not names or names == [ROWS]:
        return [{} for _ in range(block.num_rows)]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise SchemaError(f"rows need columns with different names, but there are several of {_listed(twice)}")
    make = dict_maker(tuple(names))
    if block.num_rows <= 2 * _SLICE:
        return make(*map(to_list, block.columns))
    rows: list[Any] = []
    for start in range(0, block.num_rows, _SLICE):
        rows += make(*map(to_list, block.slice(start, _SLICE).columns))
    return rows


def row_slices(block: Block, size: int = _SLICE) -> Iterator[list[Any]]:
    """All rows, as lists of at most so many: for loops that need no more at a time, which saves memory, and time, too."""
    for start in range(0, block.num_rows, size):
        yield to_rows(block.slice(start, size))
