"""The one internal form of data, and what is known about a piece of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pyarrow as pa

Block = pa.Table
"""A piece of a data set. Rows of Python objects are a table with the single column ITEM, see :mod:`aktis.data._blocks`."""

ITEM = "__item__"  # the only column of blocks whose rows are plain Python objects ("simple" data)
TENSOR = "__value__"  # the only column of blocks whose rows are arrays
ROWS = "__rows__"  # the only column (of nulls) of blocks that have rows, but no columns: Arrow would forget how many

Kind = Literal["simple", "tensor", "table"]


@dataclass(frozen=True, slots=True)
class BlockMetadata:
    """What the driver knows about a block without loading it."""

    num_rows: int | None
    size_bytes: int | None  # in memory
    schema: pa.Schema | None = None
    input_files: list[str] | None = None
    exec_stats: Any = None  # BlockStats of the task that made it
    origin: str = ""  # for messages: "data/a.parquet, rows 0 to 99,999"

    def with_stats(self, stats: Any) -> BlockMetadata:
        """The same with statistics of how the block was made."""
        return replace(self, exec_stats=stats)


@dataclass(slots=True)
class BlockStats:
    """How one block was made."""

    operator: str = ""
    wall: float = 0.0  # seconds
    cpu: float = 0.0  # seconds
    user: float = 0.0  # seconds in the user's function
    max_rss: int = 0  # bytes, of the worker, when the block was done
    start: float = 0.0  # seconds since the epoch
    pid: int = 0
    node: str = ""
    rows_in: int = 0
    extra: dict[str, float] = field(default_factory=dict)
