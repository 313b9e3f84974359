"""Batches in a format: a chunk is converted once, and then cut in that format, which costs next to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from aktis.data._blocks import Block, kind_of, to_batch

_WORTH_CONSOLIDATING = 200  # batches per chunk: it copies twice, and saves about ten microseconds per batch
FORMATS = ("default", "native", "pandas", "pyarrow", "numpy", "polars")


class Format(Protocol):
    """How batches look."""

    def convert(self, block: Block, batches: int) -> Any:
        """All rows of a chunk, which is to be cut into so many batches. Called in the prefetch thread."""

    def place(self, converted: Any) -> Any:
        """What is to be done to a converted chunk in the thread of the consumer: transfer to a device."""

    def cut(self, converted: Any, rows: int, batch_rows: int) -> Iterator[Any]:
        """The batches of a chunk of ``rows`` rows. The consumer may change one without touching another."""


class BatchFormat:
    """One of :data:`FORMATS`."""

    def __init__(self, name: str | None) -> None:
        if name is not None and name not in FORMATS:
            raise ValueError(f"batch_format is {name!r}, but must be one of: {', '.join(map(repr, FORMATS))}")
        self.name = name or "default"

    def convert(self, block: Block, batches: int) -> Any:
        frames = self.name == "pandas" or (self.name in ("default", "native") and kind_of(block) == "table")
        if frames and batches > _WORTH_CONSOLIDATING:
            # The copy also puts columns of one type into one array: a slice then costs half.
            return to_batch(block, "pandas", copy=False).copy()
        return to_batch(block, self.name)

    def place(self, converted: Any) -> Any:
        return converted

    def cut(self, converted: Any, rows: int, batch_rows: int) -> Iterator[Any]:
        if isinstance(converted, dict):
            return cut_dict(converted, rows, batch_rows)
        if isinstance(converted, (np.ndarray, list)):
            return (converted[start : start + batch_rows] for start in range(0, rows, batch_rows))
        if hasattr(converted, "iloc"):
            return _cut_frame(converted, rows, batch_rows)
        return (converted.slice(start, batch_rows) for start in range(0, rows, batch_rows))  # pyarrow, polars


def cut_dict(columns: dict[str, Any], rows: int, batch_rows: int) -> Iterator[dict[str, Any]]:
    """Batches of a dict of columns, each of which can be sliced."""
    items = columns.items()
    for start in range(0, rows, batch_rows):
        part = slice(start, start + batch_rows)
        yield {name: values[part] for name, values in items}


def _cut_frame(frame: Any, rows: int, batch_rows: int) -> Iterator[Any]:
    import pandas as pd

    copy_on_write = (
        int(pd.__version__.split(".")[0]) >= 3
    )  # else a change would show in the chunk, and pandas would warn
    whole = pd.RangeIndex(batch_rows)
    take = frame.iloc
    for start in range(0, rows, batch_rows):
        piece = take[start : start + batch_rows]
        if not copy_on_write:
            piece = piece.copy()
        piece.index = whole if start + batch_rows <= rows else pd.RangeIndex(rows - start)
        yield piece
