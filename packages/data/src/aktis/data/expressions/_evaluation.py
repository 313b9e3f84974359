"""Evaluating expressions over one block."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from aktis.data._blocks.schemas import kind_of
from aktis.data.exceptions import DataError, SchemaError, user_function_error
from aktis.data.expressions._functions import Value

if TYPE_CHECKING:
    from aktis.data._transforms._base import TaskContext
    from aktis.data.expressions._expr import Expr


def shared_nodes(expressions: Iterable[Expr]) -> frozenset[int]:
    """Identities of nodes that occur more than once, so that each is worked out once per block."""
    seen: Counter[int] = Counter()

    def visit(expr: Expr) -> None:
        seen[id(expr)] += 1
        if seen[id(expr)] == 1:
            for child in expr.children():
                visit(child)

    for expr in expressions:
        visit(expr)
    return frozenset(node for node, times in seen.items() if times > 1)


@dataclass(slots=True)
class Evaluation:
    """The block that expressions are evaluated over, and where it stands in its task."""

    block: pa.Table
    task: TaskContext | None = None
    first_row: int = 0  # rows of the task's blocks before this one
    seed: int = 0  # of this execution, for what draws random numbers and has no seed of its own
    shared: frozenset[int] = frozenset()
    only_types: bool = (
        False  # nobody looks at values: functions without a declared type need not, and shall not, be called
    )
    memo: dict[int, Value] = field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        return int(self.block.num_rows)

    @property
    def task_index(self) -> int:
        return self.task.index if self.task is not None else 0

    def value(self, expr: Expr) -> Value:
        """Of one expression: as many values as there are rows, or a scalar that stands for all of them."""
        key = id(expr)
        if key in self.memo:
            return self.memo[key]
        value = expr._compute(self)
        if key in self.shared:
            self.memo[key] = value
        return value

    def column(self, expr: Expr) -> pa.ChunkedArray:
        """As :meth:`value`, with scalars spread over all rows. Errors name the expression, the types and the origin."""
        try:
            value = self.value(expr)
        except DataError:
            raise
        except Exception as error:
            raise self.failure(expr, error) from error
        if isinstance(value, pa.Scalar):
            value = pa.repeat(value, self.num_rows)
        return value if isinstance(value, pa.ChunkedArray) else pa.chunked_array([value])

    def failure(self, expr: Expr, error: Exception) -> Exception:
        """What is raised for an expression that cannot be evaluated here."""
        names = expr.columns()
        schema = self.block.schema
        types = ", ".join(f"{f.name}: {f.type}" for f in schema if names is None or f.name in names)
        operator = self.task.operator if self.task is not None else ""
        origin = self.task.origin if self.task is not None else ""
        where = f" (block of {origin})" if origin else ""
        return user_function_error(
            f"{operator + ': ' if operator else ''}{expr!r} failed over columns {{{types}}}{where}: {error}",
            error,
            operator=operator,
            function=repr(expr),
            origin=origin,
            batch_schema=str(schema),
        )

    def get_column(self, name: str) -> pa.ChunkedArray:
        """A column of the block. Raises SchemaError, which names close matches."""
        schema = self.block.schema
        index = schema.get_field_index(name)
        if index < 0:
            raise SchemaError(no_such_column(name, schema) + self._where())
        return self.block.column(index)

    def _where(self) -> str:
        if self.task is None:
            return ""
        origin = f", block of {self.task.origin}" if self.task.origin else ""
        return f" (in {self.task.operator}{origin})"


def no_such_column(name: str, schema: pa.Schema) -> str:
    """The message for a column that is not there."""
    kind = kind_of(schema)
    if kind != "table":
        rows = "plain Python objects" if kind == "simple" else "bare arrays"
        return f"There is no column {name!r}: the rows are {rows}, without named columns. Use map() with a function instead"
    times = schema.names.count(name)
    if times > 1:
        return f"Column {name!r} is there {times} times: rename the columns first, so that each name is there once"
    close = difflib.get_close_matches(name, schema.names, n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    shown = ", ".join(map(repr, schema.names[:20])) + (", ..." if len(schema.names) > 20 else "")
    return f"There is no column {name!r}.{hint} The columns are {shown or '(none)'}"
