"""map, flat_map and filter: functions of one row.

Rows are made and taken apart some thousands at a time, so that even a big block never is a list of Python objects as a whole.
"""

from __future__ import annotations

import gc
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from typing import Any

import numpy as np

from aktis.data._blocks import from_rows, slice_rows, take_rows, to_rows
from aktis.data._blocks.row_loops import NOTHING, RowSource
from aktis.data._blocks.rows import from_columns
from aktis.data._blocks.types import Block
from aktis.data._transforms._base import TaskContext, Transform
from aktis.data._transforms.asynchronous import AsyncCalls
from aktis.data._transforms.user_code import RowPosition, UserFunction, calling
from aktis.data.exceptions import BatchTypeError, SchemaError

ROWS_AT_A_TIME = 2048  # rows that are there all at once: fits the caches; measured, a third faster than 16,384
LOOPED_AT_A_TIME = 4096  # rows of which only the values are kept


class RowTransform(Transform):
    """A function that is called for every row."""

    verb = ""
    rows_at_a_time = ROWS_AT_A_TIME

    def __init__(self, function: UserFunction) -> None:
        self.function = function
        self.name = f"{self.verb}({function.name})"

    def setup(self) -> None:
        self.function.setup()

    def __call__(self, blocks: Iterator[Block], task: TaskContext) -> Iterator[Block]:
        for block in blocks:
            for start in range(0, block.num_rows, self.rows_at_a_time):
                part = slice_rows(block, start, min(start + self.rows_at_a_time, block.num_rows))
                yield self._part(part, start, task)

    def _part(self, part: Block, start: int, task: TaskContext) -> Block:
        """The output for some rows, the first of which is number ``start`` of its block."""
        rows = to_rows(part)
        remaining = iter(rows)
        with self._calling(RowPosition(remaining, len(rows), rows.__getitem__, start), task):
            if self.function.is_async:
                results = [result for _, result in AsyncCalls(self.function.call).map(remaining)]
            else:
                results = self._apply(remaining)
        return self._block(part, results, task)

    def _calling(self, at: RowPosition, task: TaskContext) -> AbstractContextManager[None]:
        return calling(task, self.name, self.function.name, at, at.text)

    def _apply(self, rows: Iterator[Any]) -> list[Any]:
        with _without_collector():
            return list(map(self.function.call, rows))

    @abstractmethod
    def _block(self, part: Block, results: list[Any], task: TaskContext) -> Block:
        """The output for a part of a block, from what the function returned for each of its rows."""

    def _from_rows(self, rows: list[Any], task: TaskContext) -> Block:
        try:
            return from_rows(rows)
        except (SchemaError, BatchTypeError) as error:
            error.args = (f"{self.name}: the rows that {self.function.name} returned do not fit together: {error}",)
            raise


@contextmanager
def _without_collector() -> Iterator[None]:
    """For some milliseconds: thousands of new dicts would start the garbage collector again and again, for nothing."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class LoopedRowTransform(RowTransform):
    """One result for each row, which is made only when its turn has come."""

    rows_at_a_time = LOOPED_AT_A_TIME

    def _part(self, part: Block, start: int, task: TaskContext) -> Block:
        source = None if self.function.is_async else RowSource.of(part)
        if source is None:
            return super()._part(part, start, task)
        with self._calling(RowPosition(source.remaining, len(source), source.row, start), task), _without_collector():
            results = self._called(source)
        return results if isinstance(results, Block) else self._block(part, results, task)

    def _called(self, source: RowSource) -> list[Any] | Block:
        """What the function returned for each row, or the output that is made of it."""
        return source.call_each(self.function.call)


class MapRows(LoopedRowTransform):
    """One row out for each row in."""

    verb = "Map"

    def _called(self, source: RowSource) -> list[Any] | Block:
        call = self.function.call
        first = source.call_next(call)
        if not isinstance(first, Mapping) or not first or not all(type(key) is str for key in first):
            return [first, *source.call_each(call)]
        keys = tuple(first)
        values = [first[key] for key in keys]
        del first
        columns, misfit = source.collect(call, keys)  # most probably all are dicts with the same keys
        for column, value in zip(columns, values):
            column.insert(0, value)
        if misfit is NOTHING:
            return from_columns(keys, columns)
        return [*(dict(zip(keys, row)) for row in zip(*columns)), misfit, *source.call_each(call)]

    def _block(self, part: Block, results: list[Any], task: TaskContext) -> Block:
        return self._from_rows(results, task)


class FlatMapRows(RowTransform):
    """Any number of rows out for each row in."""

    verb = "FlatMap"

    def _apply(self, rows: Iterator[Any]) -> list[Any]:
        call = self.function.call
        # Inside the guarded call, because a generator function runs only now.
        return list(chain.from_iterable(self._checked(call(row)) for row in rows))

    def _checked(self, result: Any) -> Any:
        if isinstance(result, (str, bytes, Mapping)) or not hasattr(result, "__iter__"):
            raise TypeError(
                f"flat_map takes a function that returns a list (or yields rows), but it returned {result!r:.80}"
            )
        return result

    def _block(self, part: Block, results: list[Any], task: TaskContext) -> Block:
        if self.function.is_async:
            results = list(chain.from_iterable(map(self._checked, results)))
        return self._from_rows(results, task)


class FilterRows(LoopedRowTransform):
    """The rows for which the function returns something true."""

    verb = "Filter"

    def _block(self, part: Block, results: list[Any], task: TaskContext) -> Block:
        chosen = np.flatnonzero(np.fromiter(map(bool, results), dtype=bool, count=len(results)))
        return part if len(chosen) == part.num_rows else take_rows(part, chosen)
