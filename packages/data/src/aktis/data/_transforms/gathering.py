"""Small results of a function, put together before they become blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from aktis.data._blocks import kept_apart

GATHERED_BYTES = 2 << 20  # a block of that size is given out
SMALL_BYTES = 256 << 10  # of one result; larger ones are blocks by themselves


class Gatherer:
    """Copies dicts of arrays of numbers, one after the other, into arrays of which each holds many of them.

    A block takes far longer to make, to measure and to merge than a few kilobytes to copy. And results that are kept where the
    function computes split the memory that it frees: the heap grows with each batch, and page faults take longer than all else.
    """

    def __init__(self) -> None:
        self._columns: dict[str, Any] = {}
        self.rows = 0
        self._capacity = 0
        self.is_full = False

    def add(self, result: Any) -> bool:
        """Take a result over, if it is of the right kind, like those before, and has room."""
        if type(result) is not dict:
            return False
        rows = _rows(result)
        if not rows:
            return False
        if not self.rows:
            self._begin(result, rows)
        elif rows > self._capacity - self.rows or not self._is_like(result):
            return False
        stop = self.rows + rows
        for name, values in result.items():
            self._columns[name][self.rows : stop] = values
        self.rows = stop
        self.is_full = self._capacity - stop < rows
        return True

    def take(self) -> dict[str, Any]:
        """All rows that are here; none are here any more."""
        taken = {name: values[: self.rows] for name, values in self._columns.items()}
        if 2 * self.rows < self._capacity:  # the rest of the memory shall not be kept with them
            taken = kept_apart(taken)
        self._columns, self.rows, self.is_full = {}, 0, False
        return taken

    def _begin(self, result: dict[str, Any], rows: int) -> None:
        size = sum(values.nbytes for values in result.values())
        self._capacity = rows * max(1, GATHERED_BYTES // size)
        for name, values in result.items():
            shape = (self._capacity, *values.shape[1:])
            memory = pa.allocate_buffer(values.nbytes // rows * self._capacity)
            self._columns[name] = np.frombuffer(memory, values.dtype).reshape(shape)

    def _is_like(self, result: dict[str, Any]) -> bool:
        if list(result) != list(self._columns):
            return False
        return all(
            values.dtype == mine.dtype and values.shape[1:] == mine.shape[1:]
            for values, mine in zip(result.values(), self._columns.values())
        )


def _rows(result: dict[str, Any]) -> int:
    """How many rows a result has. 0: it is not of the kind that is gathered."""
    rows = size = 0
    for name, values in result.items():
        if type(values) is not np.ndarray or not values.ndim or type(name) is not str:
            return 0
        kind = values.dtype
        if kind.kind not in "biuf" or not kind.isnative or not values.size or (rows and len(values) != rows):
            return 0
        rows = len(values)
        size += values.nbytes
    return rows if size <= SMALL_BYTES else 0
