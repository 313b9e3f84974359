"""Counting rows where they are, so that only numbers travel."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from aktis.data._blocks.types import Block
from aktis.data._transforms._base import TaskContext, Transform


class CountRows(Transform):
    """One row per task: how many rows went in."""

    name = "Count"
    columns_needed: tuple[str, ...] = ()  # only their number matters

    def __call__(self, blocks: Iterator[Block], task: TaskContext) -> Iterator[Block]:
        yield pa.table({"rows": [sum(block.num_rows for block in blocks)]})
