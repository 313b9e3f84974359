"""Iteration of a Dataset."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from aktis.data._blocks import Block
from aktis.data._dataset._base import DatasetBase
from aktis.data._iteration.engine import Handles
from aktis.data._iteration.methods import BatchSource
from aktis.data._plan.logical import Limit

if TYPE_CHECKING:
    from aktis.data.dataset_pipeline import DatasetPipeline
    from aktis.data.iterator import DatasetIterator
    from aktis.data.random_access_dataset import RandomAccessDataset


class Iteration(DatasetBase, BatchSource):
    """Iteration of a Dataset."""

    def _open(self) -> Handles:
        return self._stream(background=True)

    def _sample(self) -> Block | None:
        with self._stream(Limit(limit=8, inputs=(self._root,))) as stream:
            return next((block for block in (handle.load() for handle in stream) if block.num_rows), None)

    def _known_rows(self) -> int | None:
        from aktis.data._plan import facts

        return facts.known_rows(self._root)

    def iterator(self) -> DatasetIterator:
        """An iterator over all of the data, which may be sent to other processes. Each loop over it is a pass."""
        from aktis.data.iterator import WholeIterator

        return WholeIterator(self)  # type: ignore[arg-type]

    def window(self, *, blocks_per_window: int | None = None, bytes_per_window: int | None = None) -> DatasetPipeline:
        """A pipeline of windows: parts of the data that are executed one after the other, each in the background while the
        one before is consumed. A window over files reads only the files (or parts of them) that are its own.

        Args:
            blocks_per_window: how many blocks each window has; 10, if neither is given.
            bytes_per_window: as many blocks as have so many bytes, at least one.

        Raises:
            ValueError: both are given, or not positive.
        """
        from aktis.data._iteration import windows
        from aktis.data.dataset_pipeline import DatasetPipeline, Once

        size = windows.WindowSize(blocks=blocks_per_window, bytes=bytes_per_window)
        dataset: Any = self
        return DatasetPipeline(Once(windows.cut(dataset, size)), length=windows.count(dataset, size))

    def repeat(self, times: int | None = None) -> DatasetPipeline:
        """A pipeline with all of the data as one window, again and again: ``times`` times, or for ever. Each time is an epoch,
        and executes the plan anew (:meth:`materialize` before keeps the result).

        Raises:
            ValueError: ``times`` is not positive.
        """
        from aktis.data.dataset_pipeline import DatasetPipeline, Once, Repeated, check_times

        check_times(times)
        dataset: Any = self
        return DatasetPipeline(
            Repeated(Once(lambda: iter([dataset])), times), length=math.inf if times is None else times
        )

    def to_random_access_dataset(self, key: str, num_workers: int | None = None) -> RandomAccessDataset:
        """Look up rows by the value of a column. Sorts the data, and starts actors that hold it. (Experimental.)

        Args:
            key: a column; of rows with equal values the first one is found.
            num_workers: how many actors; None: 4, or one per block if there are fewer.

        Raises:
            ValueError: there is no such column, or ``num_workers`` is not positive.
        """
        from aktis.data.random_access_dataset import RandomAccessDataset

        dataset: Any = self
        return RandomAccessDataset(dataset, key, num_workers)
