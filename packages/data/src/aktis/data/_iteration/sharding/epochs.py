"""What is executed for an epoch. The order of its rows follows from (seed, epoch), and from nothing else that may change
between a run and the one that resumes it: neither the number of CPUs nor who is faster."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aktis.data._execution.handle import BlockHandle
from aktis.data._execution.runner import read_tasks
from aktis.data._iteration import windows
from aktis.data._plan import facts
from aktis.data._plan.logical import InputBlocks, LogicalOperator, Read

if TYPE_CHECKING:
    from aktis.data._execution.stream import BlockStream
    from aktis.data.dataset import Dataset

TASKS = 32  # read tasks per scan, where files are large enough: for any number of CPUs the same
MIXED_BLOCKS = 10  # of plans whose input order cannot be drawn: so many blocks are put in random order at a time


@dataclass(frozen=True, kw_only=True)
class EpochPlan:
    """A dataset, and what is to be done to it anew in each epoch.

    ``shuffle``: all rows (of a window) in random order. ``mix``: only blocks. ``window_bytes``: execute the data in windows of
    about so many bytes; None: as one stream. ``transform``: applied to the dataset (or each window).
    """

    dataset: Dataset
    shuffle: bool = False
    mix: bool = False
    window_bytes: int | None = None
    transform: Callable[[Dataset], Dataset] | None = None

    @property
    def is_fixed(self) -> bool:
        """Whether rows are the same in each epoch, so that they can be computed once."""
        return not self.shuffle and self.transform is None

    def layout(self) -> int | None:
        """A number that changes with what a random order is drawn from; None: there is no such."""
        if not (self.mix or self.shuffle):
            return None
        dataset = steady(self.dataset)
        base, _ = windows._chain(dataset._root)
        parts: Any = None
        if isinstance(base, InputBlocks):
            parts = layout_of(base.handles)
        elif isinstance(base, Read):
            tasks = read_tasks(base.reader, base.parallelism, dataset._context)
            parts = [len(task.metadata.input_files or ()) for task in tasks]
        if parts is None and self.window_bytes is None:
            return None
        return zlib.crc32(repr((parts, self.window_bytes)).encode())

    def handles(
        self, seed: int, epoch: int, opened: Callable[[BlockStream], None] | None = None
    ) -> Iterator[BlockHandle]:
        """Execute: the blocks of an epoch, in its order. Closing the generator ends the execution.

        ``opened`` is called with each execution that begins: closing that from another thread wakes who waits in here.
        """
        draw = np.random.default_rng([seed, epoch])
        for dataset, mixed in self._windows(draw):
            if self.shuffle:
                seed = int(draw.integers(1 << 31))
                dataset = dataset.random_shuffle(seed=seed, num_blocks=_partitions(dataset))
            if self.transform is not None:
                dataset = self.transform(dataset)
            with dataset._stream(background=True) as stream:
                if opened is not None:
                    opened(stream)
                if mixed or self.shuffle or not self.mix:
                    yield from stream
                else:
                    yield from _mixed_in_groups(stream, draw)

    def _windows(self, draw: np.random.Generator) -> Iterator[tuple[Dataset, bool]]:
        """Datasets, and whether their order is drawn already."""
        dataset = steady(self.dataset)
        if self.window_bytes is None or not (self.mix or self.shuffle):  # else windows would only be stops on the way
            parts: Iterator[Dataset] = iter([dataset])
        else:
            parts = windows.cut(dataset, windows.WindowSize(bytes=self.window_bytes))()
        for part in parts:
            yield mixed(part, draw) if self.mix and not self.shuffle else (part, False)


def _partitions(dataset: Dataset) -> int:
    """Of a shuffle: they decide on the order that comes out."""
    size = facts.estimated_bytes(dataset._root)
    return TASKS if size is None else max(1, min(TASKS, size >> 20), -(-size // dataset._context.target_max_block_size))


def steady(dataset: Dataset) -> Dataset:
    """The same dataset, read by tasks whose number does not depend on the machine."""
    root = dataset._root
    base, above = windows._chain(root)
    if not isinstance(base, Read) or base.parallelism != -1:
        return dataset
    size = base.reader.estimate_inmemory_data_size()
    if size is None:
        return dataset
    context = dataset._context
    tasks = max(1, min(TASKS, size // context.target_min_block_size), -(-size // context.read_task_size))
    return dataset._with(windows._rebuilt(replace(base, parallelism=tasks), above))


def mixed(dataset: Dataset, draw: np.random.Generator) -> tuple[Dataset, bool]:
    """The dataset with its read tasks, or input blocks, in random order: nothing is executed for that. (False: it has neither.)"""
    base, above = windows._chain(dataset._root)
    drawn: LogicalOperator
    if isinstance(base, InputBlocks):
        order = draw.permutation(len(base.handles))
        drawn = replace(base, handles=tuple(base.handles[at] for at in order))
    elif isinstance(base, Read):
        tasks = read_tasks(base.reader, base.parallelism, dataset._context)
        shuffled = [tasks[at] for at in draw.permutation(len(tasks))]
        reader = windows.TaskReader(shuffled, base.reader)
        drawn = replace(base, reader=reader, parallelism=max(1, len(tasks)))
    else:
        return dataset, False
    return dataset._with(windows._rebuilt(drawn, above)), True


def _mixed_in_groups(stream: Iterator[BlockHandle], draw: np.random.Generator) -> Iterator[BlockHandle]:
    group: list[BlockHandle] = []
    for handle in stream:
        group.append(handle)
        if len(group) == MIXED_BLOCKS:
            yield from (group[at] for at in draw.permutation(len(group)))
            group = []
    yield from (group[at] for at in draw.permutation(len(group)))


def layout_of(handles: Sequence[BlockHandle]) -> int:
    """A checksum of how rows are cut into blocks."""
    return zlib.crc32(repr([handle.num_rows for handle in handles]).encode())


def stored(handle: BlockHandle) -> BlockHandle:
    """The same block as a reference, which may be sent to others, and with no more about it than they need."""
    ref, rows = handle.stored()
    metadata: Any = replace(handle.metadata.with_stats(None), input_files=None)
    return BlockHandle(ref, metadata, rows)


def keep(dataset: Dataset, most_bytes: float) -> tuple[BlockHandle, ...] | None:
    """Execute a dataset and keep its blocks in the object store. None: there is more of it than ``most_bytes``."""
    handles: list[BlockHandle] = []
    held = 0
    with steady(dataset)._stream(background=True) as stream:
        for handle in stream:
            if not handle.num_rows:
                continue
            held += handle.size_bytes
            if held > most_bytes:
                return None
            handles.append(stored(handle))
    return tuple(handles)
