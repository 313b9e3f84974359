"""Blocks of a good size, in the middle of a chain."""

from __future__ import annotations

from collections.abc import Iterator

from aktis.data._blocks import OutputBuffer
from aktis.data._blocks.types import Block
from aktis.data._transforms._base import TaskContext, Transform


class Rebuffer(Transform):
    """Gives the blocks that would have come out of a task if it ended here, not the small ones that transforms give.

    For what makes something lasting of each block: a file, say.
    """

    name = "Rebuffer"

    def __call__(self, blocks: Iterator[Block], task: TaskContext) -> Iterator[Block]:
        buffer = OutputBuffer(task.context.target_max_block_size)
        for block in blocks:
            yield from buffer.add(block)
        yield from buffer.flush()
