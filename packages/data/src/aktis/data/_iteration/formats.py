"""Batches in a format: a chunk is converted once, and then cut in that format, which costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from aktis.data._blocks import Block, to_batch

FORMATS = ("default", "native", "pandas", "pyarrow", "numpy", "polars")


class Format(Protocol):
    """How batches look."""

    def convert(self, block: Block) -> Any:
        """All rows of a chunk. Called in the prefetch thread."""

    def place(self, converted: Any) -> Any:
        """What is to be done to a converted chunk in the thread of the consumer: transfer to a device."""

    def cut(self, converted: Any, start: int, stop: int) -> Any:
        """One batch of them, which the consumer may change without touching another batch."""


class BatchFormat:
    """One of :data:`FORMATS`."""

    def __init__(self, name: str | None) -> None:
        if name is not None and name not in FORMATS:
            raise ValueError(f"batch_format is {name!r}, but must be one of: {', '.join(map(repr, FORMATS))}")
        self.name = name or "default"
        self._cut_frame: Callable[[Any, int, int], Any] | None = None

    def convert(self, block: Block) -> Any:
        return to_batch(block, self.name)

    def place(self, converted: Any) -> Any:
        return converted

    def cut(self, converted: Any, start: int, stop: int) -> Any:
        if isinstance(converted, dict):
            return {name: values[start:stop] for name, values in converted.items()}
        if isinstance(converted, (np.ndarray, list)):
            return converted[start:stop]
        if isinstance(converted, pa.Table):
            return converted.slice(start, stop - start)
        if self.name == "polars":
            return converted.slice(start, stop - start)
        if self._cut_frame is None:
            self._cut_frame = _frame_cutter()
        return self._cut_frame(converted, start, stop)


def _frame_cutter() -> Callable[[Any, int, int], Any]:
    import pandas as pd

    copy_on_write = (
        int(pd.__version__.split(".")[0]) >= 3
    )  # else a change would show in the chunk, and pandas would warn
    indexes: dict[int, Any] = {}  # nearly all batches have the same number of rows

    def cut(frame: Any, start: int, stop: int) -> Any:
        piece = frame.iloc[start:stop]
        if not copy_on_write:
            piece = piece.copy()
        rows = stop - start
        index = indexes.get(rows)
        if index is None:
            index = indexes[rows] = pd.RangeIndex(rows)
        piece.index = index
        return piece

    return cut
