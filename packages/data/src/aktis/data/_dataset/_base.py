"""What all parts of a Dataset share: a logical plan, and ways to run it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from aktis.data._execution.stream import open_stream
from aktis.data._plan.logical import InputBlocks, LogicalOperator
from aktis.data.context import DatasetContext

if TYPE_CHECKING:
    from aktis.data._execution.handle import BlockHandle
    from aktis.data._execution.stream import BlockStream
    from aktis.data.dataset import Dataset

Self = TypeVar("Self", bound="DatasetBase")


class DatasetBase:
    """A logical plan that can be executed."""

    def __init__(self, root: LogicalOperator, *, context: DatasetContext | None = None) -> None:
        self._root = root
        self._context = copy.deepcopy(context or DatasetContext.get_current())
        self._last_stats: Any = None  # ExecutionStats of the latest execution

    def _with(self, root: LogicalOperator) -> Dataset:
        """A new dataset with this plan, whose context is ours."""
        from aktis.data.dataset import Dataset

        dataset = Dataset(root, context=self._context)
        dataset._last_stats = self._last_stats
        return dataset

    def _stream(self, root: LogicalOperator | None = None, *, background: bool = False) -> BlockStream:
        """Start to execute: an iterator of BlockHandles in order. Close it (or use ``with``) when it is left early.

        ``background``: work goes on in a thread while the consumer is busy with what it got; else only in ``next``.
        """
        stream = open_stream(self._root if root is None else root, self._context, background=background)
        self._last_stats = stream.stats
        return stream

    def _handles(self, root: LogicalOperator | None = None) -> list[BlockHandle]:
        """Execute everything, and keep the blocks."""
        root = self._root if root is None else root
        if isinstance(root, InputBlocks):
            return list(root.handles)
        with self._stream(root) as stream:
            return list(stream)

    def _blocks(self) -> Iterator[Any]:
        """Execute, and load block after block."""
        with self._stream() as stream:
            for handle in stream:
                yield handle.load()
