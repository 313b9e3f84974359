"""The first half of an aggregation: blocks become small blocks of states, in the task that makes them."""

from __future__ import annotations

from collections.abc import Iterator

from aktis.data._blocks.types import Block
from aktis.data._exchanges.aggregate import Aggregation
from aktis.data._transforms._base import TaskContext, Transform


class PartialAggregate(Transform):
    """One block of states for each task: a row for each group that is in the task's blocks.

    ``columns_needed`` tells the optimizer which columns are looked at (None: all).
    """

    def __init__(self, aggregation: Aggregation) -> None:
        self.name = "PartialAggregate"
        self.aggregation = aggregation

    @property
    def columns_needed(self) -> tuple[str, ...] | None:
        return self.aggregation.columns_needed

    def __call__(self, blocks: Iterator[Block], task: TaskContext) -> Iterator[Block]:
        states: list[Block] = []
        rows = 0
        for block in blocks:
            part = self.aggregation.states_of(block)
            if part.num_columns:
                states.append(part)
                rows += part.num_rows
            if (
                len(states) > 1 and rows > 4 * states[0].num_rows + 1000
            ):  # keep no more than a few times what merging leaves
                states = [self.aggregation.merge(states)]
                rows = states[0].num_rows
        if len(states) > 1:
            states = [self.aggregation.merge(states)]
        yield from states
