"""map, flat_map and filter: functions of one row.

Rows are made and taken apart some thousands at a time, so that even a big block never is a list of Python objects as a whole.
"""

from __future__ import annotations

import gc
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np

from aktis.data._blocks import from_rows, slice_rows, take_rows, to_rows
from aktis.data._blocks.types import Block
from aktis.data._transforms._base import TaskContext, Transform
from aktis.data._transforms.asynchronous import AsyncCalls
from aktis.data._transforms.user_code import RowPosition, UserFunction, calling
from aktis.data.exceptions import BatchTypeError, SchemaError

ROWS_AT_A_TIME = 2048  # fits the caches: measured, a third faster than 16,384


class RowTransform(Transform):
    """A function that is called for every row."""

    verb = ""

    def __init__(self, function: UserFunction) -> None:
        self.function = function
        self.name = f"{self.verb}({function.name})"

    def setup(self) -> None:
        self.function.setup()

    def __call__(self, blocks: Iterator[Block], task: TaskContext) -> Iterator[Block]:
        for block in blocks:
            for start in range(0, block.num_rows, ROWS_AT_A_TIME):
                part = slice_rows(block, start, min(start + ROWS_AT_A_TIME, block.num_rows))
                rows = to_rows(part)
                results = self._results(rows, start, task)
                yield self._block(part, results, task)

    def _results(self, rows: list[Any], start: int, task: TaskContext) -> list[Any]:
        remaining = iter(rows)
        at = RowPosition(remaining, rows, start)
        with calling(task, self.name, self.function.name, at, at.text):
            if self.function.is_async:
                return [result for _, result in AsyncCalls(self.function.call).map(remaining)]
            return self._apply(remaining)

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


class MapRows(RowTransform):
    """One row out for each row in."""

    verb = "Map"

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


class FilterRows(RowTransform):
    """The rows for which the function returns something true."""

    verb = "Filter"

    def _block(self, part: Block, results: list[Any], task: TaskContext) -> Block:
        chosen = np.flatnonzero(np.fromiter(map(bool, results), dtype=bool, count=len(results)))
        return part if len(chosen) == part.num_rows else take_rows(part, chosen)
