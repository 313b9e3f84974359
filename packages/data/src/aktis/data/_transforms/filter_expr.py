"""Rows for which an expression is true."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from aktis.data._blocks.types import Block
from aktis.data._transforms._base import TaskContext, Transform
from aktis.data._transforms.project import prepare
from aktis.data.exceptions import SchemaError
from aktis.data.expressions import Expr
from aktis.data.expressions._evaluation import Evaluation, shared_nodes


class FilterTransform(Transform):
    """Keeps the rows for which ``predicate`` is true: neither false nor null."""

    def __init__(self, predicate: Expr, name: str = "Filter") -> None:
        self.name = name
        self._predicate = predicate.unalias()
        self._shared = shared_nodes([self._predicate])

    def setup(self) -> None:
        """Make the instances of callable classes."""
        prepare(self._predicate)

    def __call__(self, blocks: Iterator[Block], task: TaskContext) -> Iterator[Block]:
        first_row = 0
        for block in blocks:
            if block.num_columns == 0 and block.num_rows == 0:  # no rows, and no schema either
                yield block
                continue
            yield self.apply(block, task, first_row)
            first_row += block.num_rows

    def apply(self, block: Block, task: TaskContext | None = None, first_row: int = 0) -> Block:
        """The rows of one block that stay. Nothing is copied where all or none do."""
        mask = Evaluation(block, task, first_row, shared=self._shared).column(self._predicate)
        if pa.types.is_null(mask.type):
            return block.slice(0, 0)
        if not pa.types.is_boolean(mask.type):
            raise SchemaError(
                f"{self.name}: a filter needs a condition, but {self._predicate!r} is of type {mask.type}. Compare it with "
                "something, as in col('a') > 0"
            )
        true = pc.sum(mask).as_py() or 0
        if true == block.num_rows:
            return block
        return block.filter(mask) if true else block.slice(0, 0)
