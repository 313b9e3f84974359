"""Iterators over data sets: what training workers are given."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NoReturn

from aktis.data._blocks import Block
from aktis.data._iteration.engine import Handles
from aktis.data._iteration.methods import BatchSource
from aktis.data._iteration.stats import IterationTotals

if TYPE_CHECKING:
    from aktis.data.dataset import Dataset

__all__ = ["DataIterator", "DatasetIterator", "IterationTotals"]


class DatasetIterator(BatchSource):
    """Something that can be iterated over many times, and sent to other processes: each loop is a pass over the data.

    Made by :meth:`aktis.data.Dataset.iterator` and :meth:`aktis.data.Dataset.streaming_split`.
    """

    @abstractmethod
    def stats(self) -> str:
        """Where the time of the latest pass went."""

    def iteration_totals(self) -> IterationTotals:
        """How much was read in all passes of this process, and how long that was waited for. Costs nothing."""
        return self._totals()

    @abstractmethod
    def schema(self) -> Any:
        """The schema of the data."""

    def iter_epochs(self, max_epoch: int = -1) -> NoReturn:
        """Not for iterators: each loop over one is an epoch."""
        raise DeprecationWarning(
            "a DatasetIterator has no iter_epochs(): loop over it once per epoch, such as "
            "`for epoch in range(n): for batch in iterator.iter_batches(): ...`"
        )


DataIterator = DatasetIterator  # the name in later versions of Ray


class WholeIterator(DatasetIterator):
    """Over all of one dataset."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def _open(self) -> Handles:
        return self._dataset._open()

    def _sample(self) -> Block | None:
        return self._dataset._sample()

    def _known_rows(self) -> int | None:
        return self._dataset._known_rows()

    def stats(self) -> str:
        self._dataset._iteration_stats = self._iteration_stats or self._dataset._iteration_stats
        return str(self._dataset.stats())

    def schema(self) -> Any:
        return self._dataset.schema()

    def __repr__(self) -> str:
        return f"DatasetIterator({self._dataset!r})"
