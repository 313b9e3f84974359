"""Iteration of a Dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.data._dataset._base import DatasetBase
from aktis.data._iteration.engine import Handles
from aktis.data._iteration.methods import BatchSource

if TYPE_CHECKING:
    from aktis.data.iterator import DatasetIterator


class Iteration(DatasetBase, BatchSource):
    """Iteration of a Dataset."""

    def _open(self) -> Handles:
        return self._stream(background=True)

    def iterator(self) -> DatasetIterator:
        """An iterator over all of the data, which may be sent to other processes. Each loop over it is a pass."""
        from aktis.data.iterator import WholeIterator

        return WholeIterator(self)  # type: ignore[arg-type]
