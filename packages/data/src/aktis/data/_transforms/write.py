"""The last transform of a plan that writes: blocks go to a sink, its result comes out."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from aktis.data._blocks.types import Block
from aktis.data._transforms._base import TaskContext, Transform
from aktis.data.datasource._sink import Sink, Upstream

RESULT = "__write_result__"


class WriteTransform(Transform):
    """Gives the blocks of a task to ``sink.write``. Yields one block, of one row: the task's index and the sink's result.

    Blocks that fail on their way here may be left out, if ``max_errored_blocks`` says so. Blocks that cannot be written may
    not: then the failure is what is yielded, for the driver to raise.
    """

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.name = sink.name

    def __call__(self, blocks: Iterator[Block], task: TaskContext) -> Iterator[Block]:
        upstream = Upstream(blocks)
        failure: Exception | None = None
        try:
            task.result = self.sink.write(upstream, task)
        except Exception as error:
            if error is upstream.error or task.context.max_errored_blocks == 0:
                raise
            failure = error
        report = pickle.dumps((task.index, None if failure else task.result, failure))
        yield pa.table({RESULT: pa.array([report], pa.large_binary())})


def results_of(block: Block) -> list[tuple[int, Any]]:
    """Task indices and results, from a block that :class:`WriteTransform` has made in this very execution."""
    results = []
    for report in block.column(RESULT).to_pylist():
        index, result, failure = pickle.loads(report)
        if failure is not None:
            raise failure
        results.append((index, result))
    return results
