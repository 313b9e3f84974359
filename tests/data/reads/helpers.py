"""Readers run by hand: what an executor does with them, without one."""

from __future__ import annotations

from typing import Any

import cloudpickle
import pyarrow as pa

from aktis.data._blocks import concat, from_batch
from aktis.data._plan.logical import InputBlocks, Read


def task_blocks(reader: Any, parallelism: int = -1) -> list[list[pa.Table]]:
    """The blocks of each task. Tasks are pickled, as they are on their way to workers."""
    tasks = cloudpickle.loads(cloudpickle.dumps(reader.get_read_tasks(parallelism)))
    return [[from_batch(block) for block in task()] for task in tasks]


def read_all(reader: Any, parallelism: int = -1) -> pa.Table:
    """All rows."""
    blocks = [block for blocks in task_blocks(reader, parallelism) for block in blocks]
    return concat(blocks)


def reader_of(dataset: Any) -> Any:
    """The reader of a dataset that is nothing but a read."""
    assert isinstance(dataset._root, Read)
    return dataset._root.reader


def table_of(dataset: Any) -> pa.Table:
    """All rows of a dataset that is a read, or blocks."""
    root = dataset._root
    if isinstance(root, InputBlocks):
        return concat([handle.load() for handle in root.handles])
    return read_all(root.reader, root.parallelism)
