"""map_batches: functions of many rows at once."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Literal, Union

from aktis.data._blocks import concat, frame_rows, kept_apart, size_bytes, slice_rows, to_batch
from aktis.data._blocks.types import Block
from aktis.data._transforms._base import TaskContext, Transform
from aktis.data._transforms.asynchronous import AsyncCalls, Several
from aktis.data._transforms.gathering import Gatherer
from aktis.data._transforms.user_code import UserFunction, batch_block, calling

RUN_BYTES = (
    4 << 20
)  # of batches that are converted at once: the effort for each conversion no longer shows, memory hardly does
BatchSize = Union[int, None, Literal["default"]]


class MapBatches(Transform):
    """Batches out of blocks, through a function, and back to blocks.

    ``batch_size``: a number (batches span the blocks of a task), None (whole blocks), or "default" (a block, cut where it is big).
    """

    def __init__(
        self,
        function: UserFunction,
        *,
        batch_size: BatchSize = "default",
        batch_format: str | None = "default",
        zero_copy: bool = False,
        verb: str = "MapBatches",
    ) -> None:
        self.function = function
        self.batch_size = batch_size
        self.batch_format = batch_format
        self.zero_copy = zero_copy
        self.name = f"{verb}({function.name})"

    def setup(self) -> None:
        self.function.setup()

    def __call__(self, blocks: Iterator[Block], task: TaskContext) -> Iterator[Block]:
        batches = self._batches(blocks, task)
        if self.function.is_async:
            yield from self._asynchronously(batches, task)
            return
        call = self.function.call
        gatherer = Gatherer()
        for batch in batches:
            with calling(task, self.name, self.function.name, batch):
                result = call(batch)
            if task.last is self and gatherer.add(result):
                result = None
                if gatherer.is_full:
                    yield batch_block(gatherer.take(), task, self.name, self.function.name)
                continue
            if gatherer.rows:
                yield batch_block(gatherer.take(), task, self.name, self.function.name)
            result = kept_apart(result)
            if inspect.isgenerator(result) or (hasattr(result, "__next__") and hasattr(result, "__iter__")):
                yield from self._generated(result, batch, task)
            else:
                yield batch_block(result, task, self.name, self.function.name)
        if gatherer.rows:
            yield batch_block(gatherer.take(), task, self.name, self.function.name)

    def _generated(self, results: Iterator[Any], batch: Any, task: TaskContext) -> Iterator[Block]:
        while True:
            with calling(task, self.name, self.function.name, batch):
                try:
                    result = kept_apart(next(results))
                except StopIteration:
                    return
            yield batch_block(result, task, self.name, self.function.name)

    def _asynchronously(self, batches: Iterator[Any], task: TaskContext) -> Iterator[Block]:
        calls = AsyncCalls(self.function.call).map(batches)
        while True:
            with calling(task, self.name, self.function.name):
                made = next(calls, None)
            if made is None:
                return
            for result in made[1] if isinstance(made[1], Several) else (made[1],):
                yield batch_block(kept_apart(result), task, self.name, self.function.name)

    def _batches(self, blocks: Iterator[Block], task: TaskContext) -> Iterator[Any]:
        whole = isinstance(self.batch_size, int)
        whole = whole and not self.function.joins_batches  # those of a run are converted at once anyway: no more memory
        for run in self._runs(blocks, task):
            rows = int(self.batch_size) if whole else run.num_rows  # type: ignore[arg-type]
            yield from batches_of(run, rows, self.batch_format, copy=not self.zero_copy)

    def _runs(self, blocks: Iterator[Block], task: TaskContext) -> Iterator[Block]:
        """Pieces of blocks: each is a batch, or where the number of rows is given, several batches."""
        size = self.batch_size
        if size == "default":
            context = task.context
            for block in blocks:
                by_size = -(-size_bytes(block) // context.default_batch_bytes)
                pieces = max(1, by_size, -(-block.num_rows // context.default_batch_rows))
                for i in range(min(pieces, block.num_rows)):
                    yield slice_rows(block, i * block.num_rows // pieces, (i + 1) * block.num_rows // pieces)
        elif size is None:
            yield from (block for block in blocks if block.num_rows)
        else:
            yield from runs(blocks, int(size))


def batches_of(run: Block, rows: int, batch_format: str | None, *, copy: bool) -> Iterator[Any]:
    """Batches of ``rows`` rows, the last one smaller.

    Converting all of them at once and cutting the result takes a fraction of the time of converting each. They have no memory
    in common, so that what is written to one is not seen in another.
    """
    count = run.num_rows
    if count <= rows or batch_format in ("pyarrow", "polars"):
        for start in range(0, count, rows):
            yield to_batch(slice_rows(run, start, min(count, start + rows)), batch_format, copy=copy)
        return
    everything = to_batch(run, batch_format, copy=copy)
    for start in range(0, count, rows):
        stop = min(count, start + rows)
        if isinstance(everything, dict):
            yield {name: values[start:stop] for name, values in everything.items()}
        elif hasattr(everything, "iloc"):
            yield frame_rows(everything, start, stop)
        else:  # an array, or a list
            yield everything[start:stop]


def runs(blocks: Iterator[Block], size: int) -> Iterator[Block]:
    """Pieces of a multiple of ``size`` rows, the last one with what is left. Rows are copied only where two blocks meet."""
    rest: list[Block] = []
    have = 0
    for block in blocks:
        start = 0
        if have:
            start = min(size - have, block.num_rows)
            rest.append(slice_rows(block, 0, start))
            have += start
            if have < size:
                continue
            yield concat(rest)
            rest, have = [], 0
        step = (
            size * max(1, RUN_BYTES * block.num_rows // (size * max(1, size_bytes(block)))) if block.num_rows else size
        )
        while block.num_rows - start >= size:
            stop = start + min(step, (block.num_rows - start) // size * size)
            yield slice_rows(block, start, stop)
            start = stop
        if start < block.num_rows:
            rest, have = [slice_rows(block, start, block.num_rows)], block.num_rows - start
    if have:
        yield concat(rest)
