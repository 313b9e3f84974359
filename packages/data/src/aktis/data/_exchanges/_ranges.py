"""Range partitioning: which rows go where, so that partitions are in the order of the keys and of about equal size.

Rows are compared with boundaries, which are rows themselves (not one list of values for each key: that gives badly skewed
partitions for several keys). For each key a row's value becomes a small number that tells where it lies among the boundaries'
values: below the first, equal to it, between the first and the second, and so on. Numbers of several keys are joined to one,
so that comparing rows means comparing integers, in numpy.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aktis.data._exchanges._gather import narrowest
from aktis.data._exchanges._keys import (
    Key,
    KeyColumn,
    cast_key,
    common_types,
    is_nan,
    nan_mask,
    numbers,
    one_chunk,
    python_order,
    sort_positions,
)

Codes: TypeAlias = npt.NDArray[np.int64]

_FEWEST, _MOST, _ROWS_PER_SAMPLE = 20, 500, 2_000


@dataclass(frozen=True, slots=True)
class KeySample:
    """Some rows' keys, and how many rows each of them stands for."""

    columns: list[KeyColumn]
    rows: int


@dataclass(frozen=True, slots=True)
class Ranges:
    """A plan: partition ``i`` holds the rows from threshold ``i - 1`` up to, but without, threshold ``i``.

    A threshold is a number of :meth:`code`: an odd one stands for "from this boundary on", an even one for "after it".
    """

    descending: tuple[bool, ...]
    types: list[pa.DataType | None]
    boundaries: list[KeyColumn]  # distinct, in order
    thresholds: Codes
    widths: Codes  # into how many partitions each range is cut: more than one only where all its keys are equal
    num_blocks: int = 1

    @property
    def num_partitions(self) -> int:
        return int(self.widths.sum())

    def is_constant(self, partition: int) -> bool:
        """Whether all rows of the partition have equal keys."""
        segment = int(np.searchsorted(np.cumsum(self.widths), partition, side="right"))
        thresholds = self.thresholds
        return 0 < segment < len(thresholds) and bool(
            thresholds[segment - 1] % 2 == 1 and thresholds[segment] == thresholds[segment - 1] + 1
        )

    def assign(self, columns: Sequence[KeyColumn], *, index: int = 0) -> Codes:
        """The partition of each row of block ``index``."""
        if len(self.thresholds) == 0:
            return np.zeros(len(columns[0]), dtype=np.int64)
        code = self.code(columns)
        if len(code) == 0:
            return code
        segments = np.searchsorted(self.thresholds, np.arange(code.max() + 1), side="right")
        starts = np.cumsum(self.widths) - self.widths
        # Equal keys that fill several partitions are dealt out by block: blocks are in order, so the sort stays stable.
        targets = starts + min(index, self.num_blocks - 1) * self.widths // self.num_blocks
        return np.asarray(targets[segments].astype(narrowest(self.num_partitions))[code])

    def code(self, columns: Sequence[KeyColumn]) -> Codes:
        """Where each row lies among the boundaries: ``2 * i + 1`` if it equals number i, else the even number between."""
        columns = [cast_key(column, kind) for column, kind in zip(columns, self.types)]
        code: Codes | None = None
        edges: Codes | None = None
        size = 1  # all numbers are below this
        for column, boundary, down in zip(columns, self.boundaries, self.descending):
            values = distinct_values(boundary)
            rows, marks = place(column, values, down), place(boundary, values, down)
            radix = 2 * len(values) + 3
            size *= radix
            if code is None or edges is None:
                code, edges = rows, marks
            else:
                code, edges = code * radix + rows, edges * radix + marks
            # Only where a row lies among the boundaries matters, which keeps the numbers small however many keys there are.
            distinct = np.unique(edges)
            code, edges = _relative(code, distinct, size), _relative(edges, distinct, size)
            size = 2 * len(distinct) + 1
        assert code is not None
        return code


_MOST_IN_TABLE = 1 << 16


def _relative(code: Codes, distinct: Codes, size: int) -> Codes:
    if size <= min(_MOST_IN_TABLE, len(code)):
        return _relative(np.arange(size), distinct, size + _MOST_IN_TABLE)[code]  # looked up, not searched
    position = np.searchsorted(distinct, code, side="left")
    equal = distinct[np.minimum(position, len(distinct) - 1)] == code
    return 2 * position + equal


def distinct_values(column: KeyColumn) -> KeyColumn:
    """Rising distinct values, without nulls and NaN."""
    if isinstance(column, list):
        rising = [column[i] for i in python_order(column, False, range(len(column)), "sort")]
        plain = [value for value in rising if value is not None and not is_nan(value)]
        return [value for i, value in enumerate(plain) if i == 0 or plain[i - 1] != value]
    plain = column.drop_null()
    if pa.types.is_floating(plain.type):
        plain = plain.filter(pc.invert(pc.is_nan(plain)))
    if len(plain) == 0:
        return plain
    plain = pa.chunked_array([plain.unique()])
    return plain.take(pc.sort_indices(plain))


def place(column: KeyColumn, values: KeyColumn, descending: bool) -> Codes:
    """Where each value of the column lies among rising distinct ``values``: 2i + 1 for equal to number i, else even.

    Descending turns the numbers round. NaN and null come last in any case.
    """
    count = len(values)
    if isinstance(column, list):
        return _place_python(column, list(values), descending)
    array = one_chunk(column)
    position, equal = _place_arrow(array, one_chunk(values)) if count and len(array) else (None, None)
    code: Codes = np.zeros(len(array), dtype=np.int64) if position is None else 2 * position + equal
    if descending:
        code = 2 * count - code
    nan = nan_mask(array)
    if nan is not None:
        code[nan] = 2 * count + 1
    if array.null_count:
        code[np.asarray(array.is_null().to_numpy(zero_copy_only=False), dtype=bool)] = 2 * count + 2
    return code


def _place_arrow(array: pa.Array, values: pa.Array) -> tuple[Codes, npt.NDArray[np.bool_]]:
    mine, theirs = numbers(array), numbers(values)
    if mine is not None and theirs is not None:
        position: Codes = np.searchsorted(theirs, mine, side="left").astype(np.int64, copy=False)
        return position, theirs[np.minimum(position, len(theirs) - 1)] == mine
    # Strings and the like: a binary search of all rows at once, with one comparison kernel for each step.
    low: Codes = np.zeros(len(array), dtype=np.int64)
    high: Codes = np.full(len(array), len(values), dtype=np.int64)
    for _ in range(len(values).bit_length()):
        middle = np.minimum((low + high) // 2, len(values) - 1)
        below = np.asarray(
            pc.fill_null(pc.less(values.take(pa.array(middle)), array), False).to_numpy(zero_copy_only=False),
            dtype=bool,
        )
        below &= low < high
        low = np.where(below, middle + 1, low)
        high = np.where(below, high, np.minimum(high, middle))
    found = values.take(pa.array(np.minimum(low, len(values) - 1)))
    equal = pc.fill_null(pc.equal(found, array), False).to_numpy(zero_copy_only=False)
    return low, np.asarray(equal, dtype=bool)


def _place_python(column: list[Any], values: list[Any], descending: bool) -> Codes:
    count = len(values)
    code: Codes = np.empty(len(column), dtype=np.int64)
    for row, value in enumerate(column):
        if value is None:
            code[row] = 2 * count + 2
        elif is_nan(value):
            code[row] = 2 * count + 1
        else:
            position = bisect.bisect_left(values, value)
            number = 2 * position + int(position < count and values[position] == value)
            code[row] = 2 * count - number if descending else number
    return code


def sample_keys(columns: Sequence[KeyColumn], rows: int, index: int) -> KeySample:
    """Keys of some rows, spread evenly over the block (so that sorted data are sampled well, too)."""
    if rows == 0:
        return KeySample([c if isinstance(c, list) else c.slice(0, 0) for c in columns], 0)
    count = min(rows, max(_FEWEST, min(_MOST, rows // _ROWS_PER_SAMPLE)))
    random = np.random.default_rng(np.random.SeedSequence([rows, index]))
    positions = np.minimum(((np.arange(count) + random.random(count)) * rows / count).astype(np.int64), rows - 1)
    picked = [
        [c[i] for i in positions.tolist()] if isinstance(c, list) else c.take(pa.array(positions)) for c in columns
    ]
    return KeySample(picked, rows)


def ranges_from_samples(
    samples: Sequence[KeySample], keys: Sequence[Key], num_partitions: int, *, split_equal: bool, operation: str
) -> Ranges:
    """Ranges with about equally many rows each.

    A key that has so many rows that it fills a partition gets one of its own. With ``split_equal`` it may even get
    several; else equal keys are always in the same partition.
    """
    descending = tuple(key.descending for key in keys)
    used = [sample for sample in samples if sample.rows] or list(samples[:1])
    if not used:
        return Ranges(
            descending, [pa.null()] * len(keys), [pa.chunked_array([], pa.null())] * len(keys), _ints(), _ints([1])
        )
    types = common_types([sample.columns for sample in used], operation)
    columns = [_concat([cast_key(s.columns[i], kind) for s in used], kind) for i, kind in enumerate(types)]
    weights = np.concatenate([np.full(len(s.columns[0]), s.rows / max(1, len(s.columns[0]))) for s in used])
    total = weights.sum()
    order = sort_positions(columns, descending, operation=operation)
    if num_partitions <= 1 or total == 0:
        return Ranges(descending, types, [_take(column, order[:0]) for column in columns], _ints(), _ints([1]))
    reached = np.cumsum(weights[order])
    wanted = np.arange(1, num_partitions) * total / num_partitions
    chosen = order[np.minimum(np.searchsorted(reached, wanted, side="right"), len(order) - 1)]
    ranges = Ranges(
        descending, types, [_take(column, chosen) for column in columns], _ints([0]), _ints([1, 1]), len(samples)
    )
    marks = ranges.code(ranges.boundaries)  # 1, 1, 3, 5, 5, 5 ...: how often each boundary was chosen
    positions = ranges.code([_take(column, order) for column in columns])
    most_parts = len(samples) if split_equal else 1
    thresholds, widths = _thresholds(marks, int(positions[0]), int(positions[-1]), most_parts)
    return Ranges(descending, types, ranges.boundaries, thresholds, widths, len(samples))


def _thresholds(marks: Codes, least: int, greatest: int, most_parts: int) -> tuple[Codes, Codes]:
    """Where ranges begin, and into how many parts each is cut.

    ``least`` and ``greatest`` of the sample keep the first and the last range from being empty. A range that is cut must
    hold one key only, and for that a sample is no proof: it begins and ends with thresholds of its own.
    """
    chosen, times = np.unique(marks, return_counts=True)
    thresholds: list[int] = []
    widths: list[int] = [1]
    for mark, count in zip(chosen.tolist(), times.tolist()):
        parts = max(1, min(count - 1, most_parts))
        if mark > least or parts > 1:
            thresholds.append(mark)
            widths.append(parts)
        # Chosen more than once: this key alone has more rows than a partition should.
        if count > 1 and (mark < greatest or parts > 1):
            thresholds.append(mark + 1)
            widths.append(1)
    return _ints(thresholds), _ints(widths)


def ranges_from_boundaries(boundaries: Sequence[Any], keys: Sequence[Key], types: list[pa.DataType | None]) -> Ranges:
    """Ranges that a user has given, in values of the first key (or tuples of several keys)."""
    rows = [value if isinstance(value, (tuple, list)) else (value,) for value in boundaries]
    width = max(len(row) for row in rows)
    if any(len(row) != width for row in rows) or width > len(keys):
        raise ValueError(
            f"boundaries must be values of the first key, or tuples of up to {len(keys)} keys, got {list(boundaries)}."
        )
    keys, types = keys[:width], types[:width]
    descending = tuple(key.descending for key in keys)
    columns: list[KeyColumn] = []
    for i, kind in enumerate(types):
        values = [row[i] for row in rows]
        try:
            columns.append(values if kind is None else pa.chunked_array([pa.array(values)]))
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ValueError(f"boundaries {values} are no values of {keys[i].label}, which is {kind}.") from error
    wanted = common_types([types_as_columns(types), columns], "sort(boundaries=...)")
    columns = [cast_key(column, kind) for column, kind in zip(columns, wanted)]
    order = sort_positions(columns, descending)
    columns = [_take(column, order) for column in columns]
    ranges = Ranges(descending, wanted, columns, _ints([0]), _ints([1, 1]))
    # A row that equals a boundary belongs to the side of greater values, whichever side that is.
    marks = ranges.code(columns) + int(descending[0])
    return Ranges(descending, wanted, columns, marks, np.ones(len(marks) + 1, dtype=np.int64))


def types_as_columns(types: Sequence[pa.DataType | None]) -> list[KeyColumn]:
    """Empty columns of these types."""
    return [[] if kind is None else pa.chunked_array([], kind) for kind in types]


def _ints(values: Sequence[int] = ()) -> Codes:
    return np.array(values, dtype=np.int64)


def _concat(columns: Sequence[KeyColumn], kind: pa.DataType | None) -> KeyColumn:
    if kind is None:
        return [value for column in columns for value in column]
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], type=kind)  # type: ignore[union-attr]


def _take(column: KeyColumn, positions: Codes) -> KeyColumn:
    return [column[i] for i in positions.tolist()] if isinstance(column, list) else column.take(pa.array(positions))
