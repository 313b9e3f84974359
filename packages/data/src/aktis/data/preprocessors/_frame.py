"""One face for pandas frames, Arrow tables and dicts of arrays: preprocessors are written once, against this.

What is read is an Arrow array or a numpy array; what is written is put into the form that the data came in. Columns that
nobody touches are passed on as they are.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aktis.data.exceptions import SchemaError


def check_columns(owner: str, wanted: Iterable[str], there: Iterable[Any]) -> None:
    """Raise SchemaError, with close matches, for the first name that is not there."""
    names = [str(name) for name in there]
    known = set(names)
    for name in wanted:
        if name not in known:
            close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.6)
            hint = f" Did you mean {' or '.join(repr(match) for match in close)}?" if close else ""
            shown = names if len(names) <= 20 else [*names[:20], f"... {len(names) - 20} more"]
            raise SchemaError(f"{owner} needs the column {name!r}, which is not in the data.{hint} There are: {shown}.")


class Frame:
    """Columns by name. ``owner`` is named in errors."""

    def __init__(self, data: Any, owner: str) -> None:
        self.owner = owner
        self._data = data
        self._kind = "arrow" if isinstance(data, pa.Table) else "numpy" if isinstance(data, dict) else "pandas"
        self._written: dict[str, Any] = {}
        self._dropped: set[str] = set()
        self._given: set[Any] = set(data.column_names if self._kind == "arrow" else data)
        if self._kind == "arrow":
            self.num_rows: int = data.num_rows
        elif self._kind == "pandas":
            self.num_rows = len(data.index)
        else:
            self.num_rows = len(next(iter(data.values()))) if data else 0

    @property
    def names(self) -> list[str]:
        """The columns, in order, as they are now."""
        given = self._data.column_names if self._kind == "arrow" else list(self._data)
        kept = [name for name in given if name not in self._dropped]
        return kept + [name for name in self._written if name not in self._given or name in self._dropped]

    def __contains__(self, name: str) -> bool:
        return name in self._written or (name in self._given and name not in self._dropped)

    def require(self, columns: Iterable[str]) -> None:
        """Raise SchemaError for columns that are not there."""
        check_columns(self.owner, columns, self.names)

    # Reading

    def _native(self, name: str) -> Any:
        if name not in self:
            self.require([name])
        if name in self._written:
            return self._written[name]
        if self._kind == "arrow":
            column = self._data.column(name)
            return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        return self._data[name]

    def arrow(self, name: str) -> Any:
        """The column as an Arrow array in which NaN is null, too; a list of objects where Arrow has no type for them."""
        column = self._native(name)
        if not isinstance(column, (pa.Array, pa.ChunkedArray)):
            if isinstance(column, np.ndarray) and column.ndim > 1:
                column = list(column)
            try:
                column = pa.array(column, from_pandas=True)
            except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
                return [None if _is_missing(value) else value for value in column]
        if isinstance(column, pa.ChunkedArray):  # pandas columns that are Arrow inside; too big for one chunk
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
        if isinstance(column.type, pa.BaseExtensionType):
            if not isinstance(column.type, pa.FixedShapeTensorType):
                values = column.to_pylist()
                return [None if _is_missing(value) else value for value in values]
            column = column.storage
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if pa.types.is_floating(column.type):
            nan = pc.is_nan(column)
            if pc.any(nan).as_py():
                column = pc.if_else(nan, pa.scalar(None, column.type), column)
        return column

    def plain(self, name: str) -> Any:
        """A numeric column as an array of its own type; of floats with NaN where there are nulls."""
        column = self._native(name)
        dtype = getattr(column, "dtype", None)
        if isinstance(dtype, np.dtype) and dtype.kind in "biuf" and np.ndim(column) == 1:
            return np.asarray(column)
        values = self.arrow(name)
        if isinstance(values, list):
            raise self._not_numbers(name, "mixed objects")
        kind = values.type
        if pa.types.is_null(kind):
            return np.full(len(values), np.nan)
        if pa.types.is_decimal(kind):
            values = values.cast(pa.float64())
        elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise self._not_numbers(name, str(kind))
        if values.null_count and not pa.types.is_floating(values.type):
            values = values.cast(pa.float64(), safe=False)
        return values.to_numpy(zero_copy_only=False)

    def numbers(self, name: str) -> Any:
        """A numeric column as float64, with NaN where there are nulls."""
        return self.plain(name).astype(np.float64, copy=False)

    def _not_numbers(self, name: str, kind: str) -> SchemaError:
        return SchemaError(f"{self.owner} needs numbers, and the column {name!r} is of type {kind}.")

    def vectors(self, name: str) -> Any:
        """The column as an array of one dimension, or of two for columns of vectors of one length."""
        column = self._native(name)
        dtype, kind = getattr(column, "dtype", None), getattr(column, "type", None)
        if isinstance(dtype, np.dtype) and dtype.kind in "biuf" and np.ndim(column) == 1:
            return np.asarray(column)
        if isinstance(kind, pa.FixedShapeTensorType):
            array = column.to_numpy_ndarray() if len(column) else np.zeros((0, *kind.shape))
            return array.reshape(self.num_rows, math.prod(kind.shape))
        if isinstance(column, np.ndarray) and column.ndim > 1:
            return column.reshape(self.num_rows, math.prod(column.shape[1:]))
        if str(dtype) == "object" or (isinstance(kind, pa.DataType) and pa.types.is_nested(kind)):
            rows = column.to_pylist() if isinstance(column, pa.Array) else list(column)
            if any(isinstance(row, (list, tuple, np.ndarray)) for row in rows):
                try:
                    return np.stack([np.asarray(row).ravel() for row in rows])
                except ValueError:
                    raise SchemaError(f"{self.owner}: the vectors of the column {name!r} differ in length.") from None
        elif kind is None and hasattr(column, "array") and not isinstance(column.array, np.ndarray):
            first = column.iloc[0] if len(column) else None
            if hasattr(first, "shape") and np.ndim(first):  # an extension column of arrays
                return np.stack([np.asarray(row).ravel() for row in column])
        return self.plain(name)

    def lists(self, name: str) -> tuple[Any, Any] | None:
        """The elements of a column of lists, one after the other, and how many each row has. None: no such column."""
        values = self.arrow(name)
        if isinstance(values, list):
            if not any(isinstance(value, (list, tuple, set, np.ndarray)) for value in values):
                return None
            rows = [[] if value is None else list(value) for value in values]
            return [element for row in rows for element in row], np.array([len(row) for row in rows], dtype=np.int64)
        if not _is_list(values.type):
            return None
        lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        return pc.list_flatten(values), lengths

    def nulls(self, name: str) -> Any:
        """Which rows of the column are null or NaN, as an array of bools."""
        values = self.arrow(name)
        if isinstance(values, list):
            return np.array([value is None for value in values], dtype=bool)
        return pc.is_null(values).to_numpy(zero_copy_only=False)

    def is_categorical(self, name: str) -> bool:
        """Whether the column is a pandas ``category`` or an Arrow dictionary."""
        column = self._native(name)
        kind = getattr(column, "type", None)
        return type(getattr(column, "dtype", None)).__name__ == "CategoricalDtype" or (
            isinstance(kind, pa.DataType) and bool(pa.types.is_dictionary(kind))
        )

    # Writing

    def drop(self, names: Iterable[str]) -> None:
        """Remove columns."""
        for name in names:
            self._written.pop(name, None)
            self._dropped.add(name)

    def add(self, name: str, values: Any) -> None:
        """Write a column under a name that was made up: it must be free."""
        if name in self:
            raise SchemaError(
                f"{self.owner} makes a column {name!r}, and there is one of that name already. Rename it first."
            )
        self[name] = values

    def put_numbers(self, name: str, values: Any, source: str) -> None:
        """Write floats that were computed from ``source``: float32 where that was, null where that was."""
        kind = self.plain(source).dtype
        if kind.kind == "f" and kind.itemsize < 8:
            values = values.astype(kind)
        if self._kind == "arrow":
            column = self._native(source)
            if column.null_count:
                values = pa.array(values, mask=column.is_null().to_numpy(zero_copy_only=False))
        self[name] = values

    def __setitem__(self, name: str, values: Any) -> None:
        """Write a column: an array of one or two dimensions, an Arrow array, or a list of objects."""
        if self._kind == "arrow":
            self._written[name] = self._as_arrow(name, values)
        elif self._kind == "numpy":
            self._written[name] = self._as_numpy(values)
        else:
            self._written[name] = self._as_pandas(values)

    def _as_arrow(self, name: str, values: Any) -> Any:
        if isinstance(values, pa.Array):
            return values
        if isinstance(values, np.ndarray) and values.ndim > 1:
            if values.dtype == bool:
                values = values.astype(np.uint8)
            return tensor_array(np.ascontiguousarray(values))
        if isinstance(values, np.ndarray):
            return pa.array(values)
        try:
            return pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            from aktis.data._blocks import from_rows

            return from_rows([{name: value} for value in values]).column(name).combine_chunks()

    @staticmethod
    def _as_numpy(values: Any) -> Any:
        if isinstance(values, np.ndarray):
            return values
        if isinstance(values, pa.Array):
            if _is_list(values.type):
                return _objects(values.to_pylist())
            if pa.types.is_dictionary(values.type):
                values = values.dictionary_decode()
            return values.to_numpy(zero_copy_only=False)
        return _objects(values)

    @staticmethod
    def _as_pandas(values: Any) -> Any:
        if isinstance(values, np.ndarray):
            return _objects(list(values)) if values.ndim > 1 else values
        if isinstance(values, pa.Array):
            if _is_list(values.type):
                return _objects(values.to_pylist())
            return values.to_pandas().array
        return _objects(values)

    def result(self) -> Any:
        """The data in the form that they came in, with what was written and without what was dropped."""
        if self._kind == "numpy":
            kept = {name: value for name, value in self._data.items() if name not in self._dropped}
            return {**kept, **self._written}
        if self._kind == "arrow":
            fields, columns = [], []
            for name in self.names:
                if name in self._written:
                    columns.append(self._written[name])
                    fields.append(pa.field(name, columns[-1].type))
                else:
                    columns.append(self._data.column(name))
                    fields.append(self._data.schema.field(name))
            return pa.Table.from_arrays(columns, schema=pa.schema(fields))
        import pandas as pd

        frame = self._data.drop(columns=[name for name in self._data.columns if name in self._dropped])
        frame = frame.copy(deep=False)
        new = {}
        for name, values in self._written.items():
            if name in frame.columns:
                frame[name] = values
            else:
                new[name] = values
        if new:  # all at once: one by one is quadratic in the number of columns
            frame = pd.concat([frame, pd.DataFrame(new, index=frame.index)], axis=1)
        return frame


def tensor_array(values: Any) -> Any:
    """Rows of a numpy array as an Arrow column of tensors."""
    kind = pa.fixed_shape_tensor(pa.from_numpy_dtype(values.dtype), values.shape[1:])
    size = int(np.prod(values.shape[1:], dtype=np.int64))
    if size:
        storage = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), size)
    else:
        storage = pa.array([[]] * len(values), kind.storage_type)
    return pa.ExtensionArray.from_storage(kind, storage)


def factorize(values: Any) -> tuple[list[Any], Any]:
    """The distinct values, as Python objects, and for each value its position among them. Nulls have position -1."""
    if isinstance(values, list) and values and isinstance(values[0], str):
        try:
            values = pa.array(values, pa.large_string())  # hashing in Arrow is many times faster
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            pass
    if not isinstance(values, list):
        try:
            encoded = values.dictionary_encode()
            codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
            return encoded.dictionary.to_pylist(), codes
        except pa.ArrowNotImplementedError:
            values = values.to_pylist()
    positions: dict[Any, int] = {}
    codes = np.empty(len(values), dtype=np.int64)
    for i, value in enumerate(values):
        codes[i] = -1 if value is None else positions.setdefault(hashable(value), len(positions))
    return list(positions), codes


def hashable(value: Any) -> Any:
    """Lists and arrays as tuples, so that they can be categories."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return tuple(hashable(element) for element in value) if isinstance(value, (list, tuple)) else value


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def _objects(values: list[Any]) -> Any:
    array: Any = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array
