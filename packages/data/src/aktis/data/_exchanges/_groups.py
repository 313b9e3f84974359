"""Groups of rows with equal keys, and kernels that reduce each group to one value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aktis.data._exchanges._keys import KeyColumn, is_nan, nan_mask, one_chunk
from aktis.data.exceptions import SchemaError

Codes: TypeAlias = npt.NDArray[np.int64]

Kernel: TypeAlias = "tuple[pa.Array, str, Any]"
"""Values, the name of a kernel ("sum"), and its options."""


class Groups:
    """To which group each row belongs: groups are numbered from 0, in the order in which they first appear."""

    def __init__(self, codes: Codes | None, count: int, rows: int) -> None:
        self._codes = codes  # None: all rows are in one group
        self.count = count
        self.rows = rows
        self._sizes: Codes | None = None

    @property
    def codes(self) -> Codes:
        if self._codes is None:
            self._codes = np.zeros(self.rows, dtype=np.int64)
        return self._codes

    def reduce(self, kernels: Sequence[Kernel]) -> list[pa.Array]:
        """For each kernel an array with one value for each group."""
        if self.count == 0 or self.rows == 0:
            return [_no_groups(values, name, options) for values, name, options in kernels]
        if self.count > 1:
            quick = [self._quickly(*kernel) for kernel in kernels]
            rest = iter(self._reduce([kernel for kernel, done in zip(kernels, quick) if done is None]))
            return [next(rest) if done is None else done for done in quick]
        return self._reduce(kernels)

    def _quickly(self, values: pa.Array, name: str, options: Any) -> pa.Array | None:
        """Rows per group, and sums of floats without nulls: numpy has them while Arrow still looks for the groups."""
        mode = str(options)
        if name == "count" and ("ALL" in mode or ("NON_NULL" in mode and not values.null_count)):
            if self._sizes is None:
                self._sizes = np.bincount(self.codes, minlength=self.count)
            return pa.array(self._sizes)
        if name == "sum" and pa.types.is_float64(values.type) and not values.null_count:
            return pa.array(np.bincount(self.codes, weights=values.to_numpy(), minlength=self.count))
        return None

    def _reduce(self, kernels: Sequence[Kernel]) -> list[pa.Array]:
        if not kernels:
            return []
        columns: dict[str, Any] = {}
        for i, (values, _, _) in enumerate(kernels):
            columns[f"v{i}"] = values
        keys: list[str] = []
        if self.count > 1 or any(name.startswith("hash_") for _, name, _ in kernels):
            columns["group"] = pa.array(self.codes)
            keys = ["group"]
        table = pa.table(columns)
        wanted = [(f"v{i}", name, options) for i, (_, name, options) in enumerate(kernels)]
        try:
            # With one thread groups come out in the order in which they first appear, which is that of their numbers.
            result = table.group_by(keys, use_threads=False).aggregate(wanted)
        except pa.ArrowNotImplementedError as error:
            types = ", ".join(sorted({str(values.type) for values, _, _ in kernels}))
            raise SchemaError(f"cannot compute {kernels[0][1]} of values of type {types}") from error
        return [one_chunk(result.column(f"v{i}_{name}")) for i, (_, name, _) in enumerate(kernels)]

    def lists(self, values: pa.Array, codes: Codes | None = None) -> pa.Array:
        """For each group the list of its values, in order. ``codes``: groups of the values, if they are not one for each row."""
        codes = self.codes if codes is None else codes
        lengths = np.bincount(codes, minlength=self.count)
        if self.count > 1:
            values = values.take(pa.array(np.argsort(codes, kind="stable")))
        offsets: Codes = np.zeros(self.count + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return pa.LargeListArray.from_arrays(pa.array(offsets), values)

    def flatten(self, lists: pa.Array) -> tuple[pa.Array, Codes]:
        """The items of lists (one for each row), and the group of each item."""
        parents = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
        return pc.list_flatten(lists), self.codes[parents]


def _no_groups(values: pa.Array, name: str, options: Any) -> pa.Array:
    """No values, of the type that the kernel would give."""
    table = pa.table({"v": values.slice(0, 0)})
    try:
        return one_chunk(table.group_by([], use_threads=False).aggregate([("v", name, options)]).column(0).slice(0, 0))
    except pa.ArrowNotImplementedError as error:
        raise SchemaError(f"cannot compute {name} of values of type {values.type}") from error


def find_groups(columns: Sequence[KeyColumn], rows: int) -> tuple[Groups, list[KeyColumn]]:
    """Rows with equal keys, and the keys of each group.

    None and NaN are one and the same key, which comes out as None. No columns: all rows are one group.
    """
    if not columns:
        return Groups(None, min(1, rows), rows), []
    codes, count = _encode(columns[0])
    for column in columns[1:]:
        more, radix = _encode(column)
        codes, count = _combined(codes, count, more, radix)
    codes, first = _in_order(codes, count)
    return Groups(codes, len(first), rows), [_pick_keys(column, first) for column in columns]


_DENSE = 1 << 20  # numbers below this are looked up in a table: it fits the caches
_RESERVE = 4  # a table may have so many entries for each row


def _combined(codes: Codes, count: int, more: Codes, radix: int) -> tuple[Codes, int]:
    """One number for each pair of numbers. ``count`` and ``radix`` are at most about the number of rows, so the product fits."""
    pairs, possible = codes * radix + more, count * radix
    if possible <= max(_DENSE, _RESERVE * len(pairs)):
        return pairs, possible
    encoded = pa.array(pairs).dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), len(encoded.dictionary)


def _in_order(codes: Codes, possible: int) -> tuple[Codes, Codes]:
    """Numbers without gaps, in the order in which they first appear; and where each appears first."""
    rows = len(codes)
    first: Codes = np.full(possible, rows, dtype=np.int64)
    first[codes[::-1]] = np.arange(rows - 1, -1, -1)
    present = np.flatnonzero(first < rows)
    present = present[np.argsort(first[present])]
    numbers: Codes = np.empty(possible, dtype=np.int64)
    numbers[present] = np.arange(len(present))
    return numbers[codes], first[present]


def _encode(column: KeyColumn) -> tuple[Codes, int]:
    """A number for each distinct value; and a number that all of them are below."""
    if isinstance(column, list):
        return _encode_python(column)
    array = one_chunk(column)
    if pa.types.is_null(array.type):
        return np.zeros(len(array), dtype=np.int64), min(1, len(array))
    if pa.types.is_floating(array.type):
        array = pc.add(clean(array), pa.scalar(0.0, array.type))  # makes -0.0 and 0.0 one value
    elif pa.types.is_integer(array.type) and not array.null_count and len(array):
        values = array.to_numpy()
        least, most = int(values.min()), int(values.max())
        if most - least < _DENSE and most < 1 << 62 and least > -(1 << 62):
            return values.astype(np.int64) - least, most - least + 1
    encoded = array.dictionary_encode(null_encoding="encode")
    return encoded.indices.to_numpy().astype(np.int64), len(encoded.dictionary)


def _encode_python(values: list[Any]) -> tuple[Codes, int]:
    numbers: dict[Any, int] = {}
    try:
        codes = [numbers.setdefault(None if is_nan(value) else value, len(numbers)) for value in values]
    except TypeError as error:
        raise ValueError(f"keys of groups must be hashable: {error}.") from error
    return np.array(codes, dtype=np.int64), len(numbers)


def _pick_keys(column: KeyColumn, positions: Codes) -> KeyColumn:
    if isinstance(column, list):
        return [None if is_nan(column[i]) else column[i] for i in positions.tolist()]
    return pa.chunked_array([clean(one_chunk(column.take(pa.array(positions))))])


def clean(values: pa.Array) -> pa.Array:
    """The values, with NaN as null."""
    nan = nan_mask(values)
    return values if nan is None else pc.if_else(pa.array(nan), pa.scalar(None, values.type), values)


def group_slices(groups: Groups) -> tuple[Codes, list[tuple[int, int]]]:
    """Row positions ordered by group (rows of a group stay in order), and the range of each group in there."""
    order = np.argsort(groups.codes, kind="stable")
    ends = np.cumsum(np.bincount(groups.codes, minlength=groups.count)).tolist()
    return order, list(zip([0, *ends[:-1]], ends)) if ends else []
