"""Columns computed by expressions, block by block."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from aktis.data._blocks.schemas import kind_of
from aktis.data._blocks.types import Block
from aktis.data._transforms._base import TaskContext, Transform
from aktis.data.exceptions import SchemaError
from aktis.data.expressions import ColumnExpr, Expr
from aktis.data.expressions._evaluation import Evaluation, no_such_column, shared_nodes

if TYPE_CHECKING:
    from aktis.data._plan.logical import Project


class ProjectTransform(Transform):
    """Select, rename, drop and compute columns.

    Args:
        columns: (name, expression) of each output column. All expressions see the input's columns.
        keep: the input's other columns stay, in place. A computed column replaces the one of its name in place; a column
            that is only renamed (and whose old name is in ``drop``) stays in its place; new columns come last.
        drop: with ``keep``: input columns that go.
        missing_ok: columns to drop or rename that are not there are no error.
    """

    def __init__(
        self,
        columns: tuple[tuple[str, Expr], ...],
        keep: bool = False,
        drop: tuple[str, ...] = (),
        missing_ok: bool = False,
        name: str = "Project",
    ) -> None:
        self.name = name
        self._columns = tuple((new, expr.unalias()) for new, expr in columns)
        self._keep = keep
        self._drop = frozenset(drop)
        self._missing_ok = missing_ok
        self._shared = shared_nodes(expr for _, expr in self._columns)
        self._seed = secrets.randbits(63)  # drawn where the plan is built: tasks that run again draw the same numbers
        names = [new for new, _ in self._columns]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise SchemaError(f"The column names {twice} would be there more than once: each needs a name of its own")

    @classmethod
    def of(cls, node: Project) -> ProjectTransform:
        """What carries out a logical operator. Made anew for each execution."""
        return cls(node.columns, node.keep, node.drop, node.missing_ok)

    def setup(self) -> None:
        """Make the instances of callable classes."""
        for _, expr in self._columns:
            prepare(expr)

    def __call__(self, blocks: Iterator[Block], task: TaskContext) -> Iterator[Block]:
        first_row = 0
        for block in blocks:
            if block.num_columns == 0 and block.num_rows == 0:  # no rows, and no schema either
                yield block
                continue
            yield self.apply(block, task, first_row)
            first_row += block.num_rows

    def apply(self, block: Block, task: TaskContext | None = None, first_row: int = 0) -> Block:
        """The projection of one block."""
        return self._projected(Evaluation(block, task, first_row, self._seed, self._shared))

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """Of the output for blocks of this schema. Raises what :meth:`apply` would, and TypeError for unknown types."""
        return self._projected(Evaluation(schema.empty_table(), shared=self._shared, only_types=True)).schema

    def _projected(self, evaluation: Evaluation) -> Block:
        block = evaluation.block
        known = set(block.schema.names)
        computed: dict[str, pa.ChunkedArray] = {}
        for name, expr in self._columns:
            if self._missing_ok and isinstance(expr, ColumnExpr) and expr.name not in known:
                continue
            computed[name] = evaluation.column(expr)
        if not self._keep:
            return _table(computed, block)
        self._check_kept(block)
        return _table(self._arranged(block, computed), block)

    def _check_kept(self, block: Block) -> None:
        kind = kind_of(block)
        if kind != "table" and block.num_columns:
            rows = "plain Python objects" if kind == "simple" else "bare arrays"
            raise SchemaError(
                f"{self.name}: the rows are {rows}, so columns can neither be added nor dropped. "
                "Use map() with a function that returns a dict first"
            )
        missing = self._drop.difference(block.schema.names)
        if missing and not self._missing_ok:
            raise SchemaError(f"{self.name}: {no_such_column(min(missing), block.schema)}")

    def _arranged(self, block: Block, computed: dict[str, pa.ChunkedArray]) -> dict[str, pa.ChunkedArray]:
        """Kept and computed columns in output order."""
        renamed: dict[str, str] = {}
        for new, expr in self._columns:
            if isinstance(expr, ColumnExpr) and expr.name in self._drop and new not in block.schema.names:
                renamed.setdefault(expr.name, new)
        result: dict[str, pa.ChunkedArray] = {}
        for name, column in zip(block.schema.names, block.columns):
            if name in renamed:
                result[renamed[name]] = column
            elif name in computed:
                result[name] = computed[name]
            elif name not in self._drop:
                result[name] = column
        for name, column in computed.items():
            result.setdefault(name, column)
        return result


def prepare(expr: Expr) -> None:
    """Let functions of an expression get ready in this process."""
    for child in expr.children():
        prepare(child)
    setup = getattr(expr, "setup", None)
    if setup is not None:
        setup()


def _table(columns: dict[str, pa.ChunkedArray], block: Block) -> Block:
    if not columns:
        return block.select([])  # keeps the number of rows
    fields = []
    for name, column in columns.items():
        index = block.schema.get_field_index(name)
        same = index >= 0 and block.schema.field(index).type == column.type
        fields.append(block.schema.field(index).with_nullable(True) if same else pa.field(name, column.type))
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))
