"""Expressions: trees that say how a column is computed from the columns of a block.

Nulls follow Arrow: an operation on a null gives null, ``&`` and ``|`` know that ``False & null`` is false and that
``True | null`` is true, ``is_in`` is false for null (unless None is among the values), and a filter keeps only rows
whose condition is true. NaN is a number that equals nothing. Integers wrap around on overflow; ``/`` always gives
fractions; integer ``//`` and ``%`` by zero give null, and round as in Python.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from aktis.data.expressions._evaluation import Evaluation, shared_nodes
from aktis.data.expressions._functions import Value
from aktis.data.expressions._operators import Operators

if TYPE_CHECKING:
    from aktis.data._transforms._base import TaskContext


class Expr(Operators, ABC):
    """How a column is computed. Made with :func:`col`, :func:`lit` and operators; evaluated per block, in tasks.

    Immutable and picklable. ``==`` makes an expression: to compare trees, use :meth:`structurally_equals`.
    """

    # --- what a node must say ---

    @abstractmethod
    def _compute(self, evaluation: Evaluation) -> Value:
        """The values for a block: an array of its length, or a scalar."""

    def children(self) -> tuple[Expr, ...]:
        """The expressions that this one is made of."""
        return ()

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        """The same node over other operands."""
        return self

    def to_pyarrow(self) -> pc.Expression | None:
        """The same for a scan (:mod:`pyarrow.dataset`), or None where a scan cannot do it."""
        return None

    @property
    def _fixed(self) -> bool:
        """Whether this node alone gives equal values for equal operands, wherever the row stands."""
        return True

    @property
    def _total(self) -> bool:
        """Whether this node alone never fails on a value."""
        return True

    def _reads(self) -> frozenset[str] | None:
        """The columns that this node itself looks at. None: all of them."""
        return frozenset()

    # --- what follows from the nodes ---

    @property
    def name(self) -> str | None:
        """The name that the result has by itself: of a column, or given with :meth:`alias`."""
        return None

    def nodes(self) -> Iterator[Expr]:
        """This expression and all that it is made of, each object once."""
        seen: set[int] = set()
        waiting: list[Expr] = [self]
        while waiting:  # no recursion: sums of hundreds of columns are that deep
            node = waiting.pop()
            if id(node) not in seen:
                seen.add(id(node))
                waiting.extend(node.children())
                yield node

    def columns(self) -> frozenset[str] | None:
        """The columns that are needed. None: all of them."""
        needed: frozenset[str] = frozenset()
        for node in self.nodes():
            names = node._reads()
            if names is None:
                return None
            needed |= names
        return needed

    @property
    def is_deterministic(self) -> bool:
        """Whether values depend on the row's values alone, and not on its place or on chance."""
        return all(node._fixed for node in self.nodes())

    def is_idempotent(self) -> bool:
        """Ray's name for :attr:`is_deterministic`."""
        return self.is_deterministic

    @property
    def is_total(self) -> bool:
        """Whether evaluation never fails because of a value: a filter may then run later than written."""
        return all(node._total for node in self.nodes())

    def evaluate(self, block: pa.Table, task: TaskContext | None = None) -> pa.ChunkedArray:
        """The column for a block. Raises SchemaError for unknown columns, and for values that do not suit an operation an
        error that names expression, types and origin."""
        return Evaluation(block, task, shared=shared_nodes([self])).column(self)

    def get_type(self, schema: pa.Schema) -> pa.DataType | None:
        """The type of the result for blocks of this schema. None: it cannot be said, or the expression does not suit."""
        try:
            return Evaluation(schema.empty_table(), only_types=True).value(self).type
        except Exception:
            return None

    def structurally_equals(self, other: Any) -> bool:
        """Whether both trees are the same."""
        names = [f.name for f in fields(cast("Any", self)) if f.compare] if type(self) is type(other) else None
        return names is not None and all(_same(getattr(self, name), getattr(other, name)) for name in names)

    def substitute(self, columns: Callable[[str], Expr | None]) -> Expr:
        """With columns replaced by expressions, where ``columns(name)`` gives one."""
        children = self.children()
        changed = tuple(child.substitute(columns) for child in children)
        return self if all(a is b for a, b in zip(children, changed)) else self.with_children(changed)

    def unalias(self) -> Expr:
        """Without a name of its own."""
        return self

    def __bool__(self) -> bool:
        raise TypeError(
            f"{self!r} has no truth value: it stands for a whole column. Use & instead of 'and', | instead of 'or', "
            "~ instead of 'not', is_in() instead of 'in', when(condition).then(a).otherwise(b) instead of 'if', and "
            "(a < b) & (b < c) instead of a < b < c"
        )

    def __iter__(self) -> Any:
        raise TypeError(f"{self!r} cannot be iterated over: it stands for a whole column")

    def __repr__(self) -> str:
        return self._text()

    @abstractmethod
    def _text(self) -> str: ...

    def _operand(self) -> str:
        """As it appears within an operation."""
        return self._text()


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Expr):
        return a.structurally_equals(b)
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(_same, a, b))
    if type(a) is not type(b):
        return False
    if isinstance(a, float) and math.isnan(a):
        return math.isnan(b)
    try:
        return bool(a is b or a == b)
    except Exception:  # values that have no plain equality, such as arrays
        return False
