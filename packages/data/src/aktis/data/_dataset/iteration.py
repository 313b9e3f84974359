"""Iteration of a Dataset."""

from __future__ import annotations

from aktis.data._dataset._base import DatasetBase
from aktis.data._iteration.engine import Handles
from aktis.data._iteration.methods import Iterable


class Iteration(DatasetBase, Iterable):
    """Iteration of a Dataset."""

    def _open(self) -> Handles:
        return self._stream(background=True)
