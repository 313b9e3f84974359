"""Cutting the windows of a pipeline into epochs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from aktis.data._iteration.engine import Handles
from aktis.data._iteration.windows import Window
from aktis.data.iterator import DatasetIterator

if TYPE_CHECKING:
    from aktis.data._blocks import Block
    from aktis.data.dataset_pipeline import DatasetPipeline

log = logging.getLogger(__name__)


def epochs(windows: Iterator[Window], most: int) -> Iterator[Callable[[], Iterator[Window]]]:
    """For each epoch a function that gives its windows. What was not read of an epoch is skipped when the next is due."""
    cursor = _Cursor(windows)
    done = 0
    while done != most and cursor.peek() is not None:
        epoch = cursor.peek_epoch()
        yield lambda epoch=epoch: cursor.of_epoch(epoch)  # type: ignore[misc]
        done += 1
        skipped = sum(1 for _ in cursor.of_epoch(epoch))
        if skipped:
            log.warning("epoch %d was not read to its end: %d windows of it are skipped", epoch, skipped)


class _Cursor:
    def __init__(self, windows: Iterator[Window]) -> None:
        self._windows = windows
        self._next: Window | None = None

    def peek(self) -> Window | None:
        if self._next is None:
            self._next = next(self._windows, None)
        return self._next

    def peek_epoch(self) -> int:
        window = self.peek()
        return -1 if window is None else window.epoch

    def of_epoch(self, epoch: int) -> Iterator[Window]:
        while (window := self.peek()) is not None and window.epoch == epoch:
            self._next = None
            yield window


class EpochIterator(DatasetIterator):
    """Each loop is one epoch of a pipeline; when there are no more, loops are empty."""

    def __init__(self, pipeline: DatasetPipeline) -> None:
        self._pipeline = pipeline
        self._epochs: Iterator[DatasetPipeline] | None = None

    def _open(self) -> Handles:
        if self._epochs is None:
            self._epochs = self._pipeline.iter_epochs()
        epoch = next(self._epochs, None)
        return _Nothing() if epoch is None else epoch._open()

    def _sample(self) -> Block | None:
        return self._pipeline._sample()

    def stats(self) -> str:
        return self._pipeline.stats()

    def schema(self) -> Any:
        return self._pipeline.schema(fetch_if_missing=True)


class _Nothing:
    def __iter__(self) -> _Nothing:
        return self

    def __next__(self) -> Any:
        raise StopIteration

    def close(self) -> None:
        pass
