"""The last transform of a plan that writes: blocks go to a sink, its result comes out."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from aktis.data._blocks.types import Block
from aktis.data._transforms._base import TaskContext, Transform
from aktis.data.datasource._sink import Sink

RESULT = "__write_result__"


class WriteTransform(Transform):
    """Gives the blocks of a task to ``sink.write``. Yields one block, of one row: the task's index and the sink's result."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.name = sink.name

    def __call__(self, blocks: Iterator[Block], task: TaskContext) -> Iterator[Block]:
        task.result = self.sink.write(blocks, task)
        yield pa.table({RESULT: pa.array([pickle.dumps((task.index, task.result))], pa.large_binary())})


def results_of(block: Block) -> list[tuple[int, Any]]:
    """Task indices and results, from a block that :class:`WriteTransform` has made in this very execution."""
    return [pickle.loads(data) for data in block.column(RESULT).to_pylist()]
