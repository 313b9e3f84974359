"""Iteration of a Dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.data._blocks import Block
from aktis.data._dataset._base import DatasetBase
from aktis.data._iteration.engine import Handles
from aktis.data._iteration.methods import BatchSource
from aktis.data._plan.logical import Limit

if TYPE_CHECKING:
    from aktis.data.iterator import DatasetIterator


class Iteration(DatasetBase, BatchSource):
    """Iteration of a Dataset."""

    def _open(self) -> Handles:
        return self._stream(background=True)

    def _sample(self) -> Block | None:
        with self._stream(Limit(limit=8, inputs=(self._root,))) as stream:
            return next((block for block in (handle.load() for handle in stream) if block.num_rows), None)

    def iterator(self) -> DatasetIterator:
        """An iterator over all of the data, which may be sent to other processes. Each loop over it is a pass."""
        from aktis.data.iterator import WholeIterator

        return WholeIterator(self)  # type: ignore[arg-type]
