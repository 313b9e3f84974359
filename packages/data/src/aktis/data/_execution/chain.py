"""What happens inside a task: the same code in a worker, in an actor, and in the driver.

Functions here are generators and plain functions over blocks. They know nothing of references, engines or processes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Union

from aktis.data._blocks import OutputBuffer, compact, concat, from_batch, metadata_of
from aktis.data._blocks.types import Block, BlockMetadata, BlockStats
from aktis.data._transforms._base import TaskContext, Transform
from aktis.data.context import DatasetContext
from aktis.util.processes import peak_memory

if TYPE_CHECKING:
    from aktis.data._exchanges._base import Exchange, ExchangePlan, Piece, Rearrangement
    from aktis.data.datasource._base import ReadTask


@dataclass(slots=True)
class BlockFailure:
    """Instead of a block: the error that its making ended with."""

    error: BaseException
    task_goes_on: bool = False


Made = tuple[Block, BlockMetadata]


@dataclass
class Program:
    """What all tasks of one operator have in common. Sent once, then kept by each worker."""

    key: str
    operator: str
    context: DatasetContext
    transforms: tuple[Transform, ...] = ()
    exchange: Exchange | None = None
    rearrangement: Rearrangement | None = None
    is_set_up: bool = field(default=False, repr=False)
    cache: dict[str, Any] = field(default_factory=dict, repr=False)

    def set_up(self) -> None:
        """Make instances of callable classes: once per process."""
        if not self.is_set_up:
            for transform in self.transforms:
                transform.setup()
            self.is_set_up = True

    def task_context(self, index: int, metadata: Sequence[BlockMetadata]) -> TaskContext:
        files = [path for meta in metadata for path in meta.input_files or ()]
        origin = next((meta.origin for meta in metadata if meta.origin), "")
        last = self.transforms[-1] if self.transforms else None
        return TaskContext(self.operator, index, self.context, origin, files, cache=self.cache, last=last)


class Watch:
    """Measures how a block was made, from the end of the previous one."""

    def __init__(self, program: Program, task: TaskContext, rows_in: int) -> None:
        self._program, self._task, self._rows_in = program, task, rows_in
        self._mark()

    def _mark(self) -> None:
        self._wall, self._cpu, self._start = time.perf_counter(), time.thread_time(), time.time()
        self._user = self._task.user_seconds

    def finish(self, block: Block, fallback_origin: str) -> Made:
        """The block, ready to be sent, with its metadata."""
        import os

        block = compact(block)
        peak = peak_memory()
        stats = BlockStats(
            operator=self._program.operator,
            wall=time.perf_counter() - self._wall,
            cpu=time.thread_time() - self._cpu,
            user=self._task.user_seconds - self._user,
            max_rss=peak,
            start=self._start,
            pid=os.getpid(),
            rows_in=self._rows_in,
        )
        self._rows_in = 0
        self._mark()
        files = list(dict.fromkeys(self._task.input_files))
        return block, metadata_of(block, stats=stats, files=files, origin=self._task.origin or fallback_origin)


def source_blocks(
    program: Program, task: TaskContext, read: ReadTask | None, blocks: Iterable[Block]
) -> Iterator[Block]:
    """The input of a task: what its read task gives, or the blocks that came with it."""
    if read is None:
        yield from blocks
        return
    task.input_files = list(read.metadata.input_files or ())
    task.origin = read.metadata.origin or ", ".join(task.input_files[:1])
    pieces = read()
    for piece in pieces:
        task.origin = getattr(pieces, "origin", task.origin)  # our own sources know it for each block
        task.input_files = getattr(pieces, "input_files", task.input_files)
        yield from_batch(piece)


def transformed(program: Program, task: TaskContext, blocks: Iterator[Block]) -> Iterator[Block]:
    """The chain, applied lazily."""
    for transform in program.transforms:
        blocks = iter(transform(blocks, task))
    return blocks


def run_chain(
    program: Program, index: int, read: ReadTask | None, metadata: Sequence[BlockMetadata], blocks: Iterable[Block]
) -> Iterator[Union[Made, BlockFailure]]:
    """The output blocks of one task, of a good size; failures as values, so that the driver may go on without them."""
    tolerant = program.context.max_errored_blocks != 0
    task = program.task_context(index, metadata)
    rows_in = sum(meta.num_rows or 0 for meta in metadata)
    watch = Watch(program, task, rows_in)
    buffer = OutputBuffer(program.context.target_max_block_size)
    try:
        program.set_up()
        source = source_blocks(program, task, read, blocks)
        if not tolerant:
            for block in transformed(program, task, source):
                for whole in buffer.add(block):
                    yield watch.finish(whole, "")
        else:
            for one in source:  # each block by itself, so that a bad one takes nothing else with it
                try:
                    made = list(transformed(program, task, iter((one,))))
                except Exception as error:
                    yield BlockFailure(error, task_goes_on=True)
                    continue
                for block in made:
                    for whole in buffer.add(block):
                        yield watch.finish(whole, "")
    except Exception as error:
        yield BlockFailure(error)
        return
    for whole in buffer.flush():
        yield watch.finish(whole, "")


def run_sample(program: Program, port: int, index: int, block: Block) -> Any:
    """A value about one block."""
    assert program.exchange is not None
    return program.exchange.sample(block, input=port, index=index)


def run_partition(
    program: Program,
    plan: ExchangePlan,
    port: int,
    index: int,
    read: ReadTask | None,
    metadata: Sequence[BlockMetadata],
    blocks: Iterable[Block],
) -> list[Made]:
    """One block per partition. Where a chain comes first, its outputs are cut up one by one, and put together again."""
    assert program.exchange is not None
    task = program.task_context(index, metadata)
    watch = Watch(program, task, sum(meta.num_rows or 0 for meta in metadata))
    program.set_up()
    collected: list[list[Block]] = [[] for _ in range(plan.num_partitions)]
    for k, block in enumerate(transformed(program, task, source_blocks(program, task, read, blocks))):
        # The index must be unique over all blocks of all tasks, and the same if the task runs again.
        unique = index if not program.transforms and read is None else (index << 20) + k
        for parts, piece in zip(collected, program.exchange.partition(block, plan, input=port, index=unique)):
            parts.append(piece)
    made = []
    for p, parts in enumerate(collected):
        made.append(watch.finish(concat(parts), ""))
        collected[p] = []
    return made


def run_combine(
    program: Program, plan: ExchangePlan, partition: int, layout: Sequence[int], blocks: list[Block]
) -> Iterator[Union[Made, BlockFailure]]:
    """The output blocks of one partition. ``layout``: how many of the blocks belong to each input."""
    assert program.exchange is not None
    task = program.task_context(partition, ())
    watch = Watch(program, task, sum(block.num_rows for block in blocks))
    parts: list[list[Block]] = []
    start = 0
    for count in layout:
        parts.append(blocks[start : start + count])
        start += count
    blocks.clear()
    try:
        # As they are: exchanges cut their output themselves, and some must not be cut (the rows of a group belong together).
        for block in program.exchange.combine(parts, plan, partition=partition):
            yield watch.finish(block, "")
    except Exception as error:
        yield BlockFailure(error)


def run_recipe(program: Program, index: int, recipe: Sequence[Piece], pieces: Sequence[Block]) -> Made:
    """One block out of slices."""
    assert program.rearrangement is not None
    task = program.task_context(index, ())
    watch = Watch(program, task, sum(piece.num_rows for piece in pieces))
    return watch.finish(program.rearrangement.combine(pieces, recipe), "")
