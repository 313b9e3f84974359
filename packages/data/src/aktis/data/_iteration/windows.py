"""Cutting a dataset into windows: datasets that are executed one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from aktis.data._plan.logical import Filter, InputBlocks, LogicalOperator, Map, Project, Read
from aktis.data.datasource import Reader, ReadTask

if TYPE_CHECKING:
    import pyarrow as pa

    from aktis.data._execution.handle import BlockHandle
    from aktis.data.dataset import Dataset

T = TypeVar("T")

BLOCKS_PER_WINDOW = 10


@dataclass(frozen=True, slots=True)
class Window:
    """A dataset, and the number of the pass over the data that it belongs to."""

    epoch: int
    dataset: Dataset


@dataclass(frozen=True, kw_only=True)
class WindowSize:
    """How much goes into a window: so many blocks, or as many as have so many bytes (at least one)."""

    blocks: int | None = None
    bytes: int | None = None

    def __post_init__(self) -> None:
        if self.blocks is not None and self.bytes is not None:
            raise ValueError("give blocks_per_window or bytes_per_window, not both")
        for name, value in (("blocks_per_window", self.blocks), ("bytes_per_window", self.bytes)):
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, but must be at least 1")

    def groups(self, items: Iterator[T], size: Callable[[T], int]) -> Iterator[list[T]]:
        """Successive groups of items."""
        limit = self.blocks or (None if self.bytes is not None else BLOCKS_PER_WINDOW)
        group: list[T] = []
        held = 0
        for item in items:
            bytes = 0 if self.bytes is None else size(item)
            if group and (len(group) == limit or (self.bytes is not None and held + bytes > self.bytes)):
                yield group
                group, held = [], 0
            group.append(item)
            held += bytes
        if group:
            yield group


class TaskReader(Reader):
    """Some of the tasks of a scan."""

    def __init__(self, tasks: Sequence[ReadTask], whole: Reader) -> None:
        self._tasks = list(tasks)
        self._whole = whole

    def get_read_tasks(self, parallelism: int) -> list[ReadTask]:
        return list(self._tasks)

    def estimate_inmemory_data_size(self) -> int | None:
        sizes = [task.metadata.size_bytes for task in self._tasks]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    def schema(self) -> pa.Schema | None:
        return self._whole.schema()

    def input_files(self) -> list[str]:
        return list(dict.fromkeys(file for task in self._tasks for file in task.metadata.input_files or ()))

    def describe(self) -> str:
        return f"{len(self._tasks)} tasks of {self._whole.describe()}"


def cut(dataset: Dataset, size: WindowSize) -> Callable[[], Iterator[Dataset]]:
    """A function that gives the windows of a dataset, anew at each call.

    A scan is cut by its tasks, and blocks that are there already by blocks, with the transforms after them in each window: nothing
    is executed before a window is consumed. Other plans (sort, limit ...) are executed, streaming, and cut by the resulting blocks.
    """
    from aktis.data._plan.optimizer import optimize

    def windows() -> Iterator[Dataset]:
        context = dataset._context
        root = optimize(dataset._root, context) if context.optimizer_enabled else dataset._root
        base, above = _chain(root)
        if isinstance(base, Read):
            from aktis.data._execution.runner import read_tasks

            tasks = read_tasks(base.reader, base.parallelism, context)
            for group in size.groups(iter(tasks), lambda task: task.metadata.size_bytes or 0):
                scan = replace(base, reader=TaskReader(group, base.reader), parallelism=len(group))
                yield dataset._with(_rebuilt(scan, above))
        elif isinstance(base, InputBlocks):
            for some in size.groups(iter(base.handles), lambda handle: handle.size_bytes):
                yield dataset._with(_rebuilt(replace(base, handles=tuple(some)), above))
        else:
            with dataset._stream(background=True) as stream:
                for blocks in size.groups(stream, lambda handle: handle.size_bytes):
                    yield kept(dataset, blocks)

    return windows


def count(dataset: Dataset, size: WindowSize) -> int | None:
    """How many windows there will be; None: that is not known."""
    if size.bytes is not None:
        return None
    base, _ = _chain(dataset._root)
    if isinstance(base, InputBlocks):
        return -(-len(base.handles) // (size.blocks or BLOCKS_PER_WINDOW))
    return None


def kept(like: Dataset, handles: Sequence[BlockHandle]) -> Dataset:
    """A dataset of blocks that are there."""
    return like._kept(handles)


def _chain(root: LogicalOperator) -> tuple[LogicalOperator, list[LogicalOperator]]:
    """What the rows come from, and the row-wise operators above it, the lowest first."""
    above: list[Any] = []
    while isinstance(root, (Map, Project, Filter)):
        above.append(root)
        root = root.inputs[0]
    return root, above[::-1]


def _rebuilt(base: LogicalOperator, above: Sequence[LogicalOperator]) -> LogicalOperator:
    for operator in above:
        base = replace(operator, inputs=(base,))
    return base
