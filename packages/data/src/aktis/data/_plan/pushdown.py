"""What scans take over: filters, columns, limits. Each function rewrites a whole plan, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from aktis.data._blocks.schemas import kind_of
from aktis.data._plan.facts import known_schema, preserves_rows
from aktis.data._plan.logical import (
    Exchanged,
    Filter,
    Limit,
    LogicalOperator,
    Map,
    Project,
    Read,
    Rearranged,
    Union,
    Write,
    transform_up,
)
from aktis.data._plan.rules import conjunction, conjuncts, over
from aktis.data.datasource._base import Reader
from aktis.data.expressions import BinaryExpr, ColumnExpr, Expr, LiteralExpr
from aktis.data.expressions._functions import temporal_literal
from aktis.data.expressions._types import is_text

Needed = frozenset[str] | None  # names of columns that somebody looks at; None: all. None of them: only the rows count


# --- filters ---


def push_filters(root: LogicalOperator) -> LogicalOperator:
    """Filters right above scans become part of them, condition by condition, as far as the readers can do that."""

    def visit(node: LogicalOperator) -> LogicalOperator:
        if isinstance(node, Filter) and isinstance(read := node.inputs[0], Read):
            return _filtered(node, read)
        return node

    return transform_up(root, visit)


def _filtered(node: Filter, read: Read) -> LogicalOperator:
    schema = read.reader.schema()
    if schema is None or kind_of(schema) != "table" or not node.predicate.is_deterministic:
        return node
    lowered: list[tuple[Expr, pc.Expression]] = []
    staying: list[Expr] = []
    for condition in conjuncts(node.predicate):
        expression = for_scan(condition, schema)
        if expression is None:
            staying.append(condition)
        else:
            lowered.append((condition, expression))
    reader: Reader | None = None
    if lowered:
        together = lowered[0][1]
        for _, expression in lowered[1:]:
            together = together & expression
        reader = read.reader.with_filter(together)
    if reader is None:  # perhaps it can do some of them
        reader = read.reader
        for condition, expression in lowered:
            narrower = reader.with_filter(expression)
            if narrower is None:
                staying.append(condition)
            else:
                reader = narrower
        if reader is read.reader:
            return node
    scan = replace(read, reader=reader)
    return Filter(predicate=conjunction(staying), inputs=(scan,)) if staying else scan


def for_scan(condition: Expr, schema: pa.Schema) -> pc.Expression | None:
    """The condition for a scan of this schema, or None where a scan would not understand it as we do."""
    names = condition.columns()
    if names is None or any(schema.names.count(name) != 1 for name in names):
        return None
    type_ = condition.get_type(schema)
    if type_ is None or not pa.types.is_boolean(type_):
        return None
    expression = with_typed_literals(condition, schema).to_pyarrow()
    if expression is None:
        return None
    try:
        schema.empty_table().filter(expression)
    except (pa.ArrowException, TypeError, ValueError, KeyError, NotImplementedError):
        return None
    return expression


def with_typed_literals(expr: Expr, schema: pa.Schema) -> Expr:
    """Strings that are compared with dates and times become dates and times: scans do not do that themselves."""
    children = tuple(with_typed_literals(child, schema) for child in expr.children())
    if any(a is not b for a, b in zip(children, expr.children())):
        expr = expr.with_children(children)
    if not (isinstance(expr, BinaryExpr) and expr.op.compares):
        return expr
    left, right = expr.children()
    return expr.with_children((_typed(left, right, schema), _typed(right, left, schema)))


def _typed(side: Expr, other: Expr, schema: pa.Schema) -> Expr:
    if isinstance(side, LiteralExpr) and isinstance(side.value, (str, pa.Scalar)):
        type_ = other.get_type(schema)
        scalar = pa.scalar(side.value) if isinstance(side.value, str) else side.value
        if type_ is not None and pa.types.is_temporal(type_) and is_text(scalar.type):
            try:
                return LiteralExpr(temporal_literal(scalar.as_py(), type_))
            except ValueError:  # whoever evaluates the condition reports it
                return side
    return side


# --- columns ---


def push_columns(root: LogicalOperator, needed: Needed = None) -> LogicalOperator:
    """Scans leave out the columns that nobody looks at, and projections do not compute them."""
    return _Pruning().visit(root, needed)


class _Pruning:
    def __init__(self) -> None:
        self._done: dict[tuple[int, Needed], LogicalOperator] = {}

    def visit(self, node: LogicalOperator, needed: Needed) -> LogicalOperator:
        key = (id(node), needed)
        if key not in self._done:
            self._done[key] = self._visit(node, needed)
        return self._done[key]

    def _visit(self, node: LogicalOperator, needed: Needed) -> LogicalOperator:
        if isinstance(node, Read):
            return self._read(node, needed)
        if isinstance(node, Project):
            return self._project(node, needed)
        if isinstance(node, Union):
            return self._over(node, [self._available(child, needed) for child in node.inputs])
        if needed is not None and not needed and preserves_rows(node):
            return self.visit(node.inputs[0], needed)  # nobody sees the order
        return self._over(node, [self._needs_of(node, needed)] * len(node.inputs))

    def _over(self, node: LogicalOperator, needs: Sequence[Needed]) -> LogicalOperator:
        inputs = [self.visit(child, needed) for child, needed in zip(node.inputs, needs)]
        return node if all(a is b for a, b in zip(inputs, node.inputs)) else over(node, *inputs)

    def _needs_of(self, node: LogicalOperator, needed: Needed) -> Needed:
        """What an operator needs of its input, if ``needed`` is needed of its output."""
        if isinstance(node, Filter):
            return _both(needed, node.predicate.columns())
        if isinstance(node, Limit):
            return needed
        if isinstance(node, Map):
            return _declared(node.transform)
        if isinstance(node, Exchanged):
            own = _declared(node.exchange) if len(node.inputs) == 1 else None
            return _both(needed, own) if preserves_rows(node) else own
        if isinstance(node, Rearranged):
            return needed if preserves_rows(node) else None
        return None if not isinstance(node, Write) else _declared(node.sink)

    def _available(self, child: LogicalOperator, needed: Needed) -> Needed:
        """Inputs of a union need not have the same columns."""
        if not needed:
            return needed
        schema = known_schema(child)
        return None if schema is None else needed & frozenset(schema.names)

    def _read(self, node: Read, needed: Needed) -> LogicalOperator:
        schema = node.reader.schema()
        if needed is None or (schema is not None and not needed <= set(schema.names)):
            return node
        if schema is None:
            columns = sorted(needed)
        else:
            columns = [name for name in schema.names if name in needed]
            if len(columns) == len(schema.names):
                return node
        reader = node.reader.with_columns(columns)
        return node if reader is None else replace(node, reader=reader)

    def _project(self, node: Project, needed: Needed) -> LogicalOperator:
        child = node.inputs[0]
        if needed is not None and not needed:
            return self.visit(child, needed)  # as many rows as its input
        columns = node.columns
        if needed is not None:
            columns = tuple((name, expr) for name, expr in columns if name in needed)
        used = _used(columns)
        if not node.keep:
            selected = self._selected(node, columns)
            if selected is not None:
                return selected
            inputs = (self.visit(child, used),)
            return (
                node
                if columns == node.columns and inputs[0] is child
                else replace(node, columns=columns, inputs=inputs)
            )
        below = self._below_kept(node, columns, used, needed)
        pruned = self.visit(child, below)
        if pruned is child and columns == node.columns:
            return node
        if not columns and needed is not None:
            return pruned
        # What is dropped may be left out by the scan already.
        missing_ok = node.missing_ok or (pruned is not child and bool(node.drop))
        return replace(node, columns=columns, inputs=(pruned,), missing_ok=missing_ok)

    def _below_kept(self, node: Project, columns: tuple[tuple[str, Expr], ...], used: Needed, needed: Needed) -> Needed:
        if needed is not None:
            return _both(needed - {name for name, _ in columns}, used)
        if not node.drop:
            return None
        schema = known_schema(node.inputs[0])
        if schema is None or not set(node.drop) <= set(schema.names):
            return None
        return _both(frozenset(schema.names) - set(node.drop), used)

    def _selected(self, node: Project, columns: tuple[tuple[str, Expr], ...]) -> LogicalOperator | None:
        """A projection that only chooses columns of a scan is done by the scan, in its order."""
        child = node.inputs[0]
        names = [name for name, expr in columns if _is_column(expr.unalias(), name)]
        if not isinstance(child, Read) or len(names) != len(columns) or not names:
            return None
        schema = child.reader.schema()
        if schema is None or any(schema.names.count(name) != 1 for name in names):
            return None
        reader = child.reader.with_columns(names)
        if reader is None:
            return None
        found = reader.schema()
        return replace(child, reader=reader) if found is not None and found.names == names else None


def _is_column(expr: Expr, name: str) -> bool:
    return isinstance(expr, ColumnExpr) and expr.name == name


def _used(columns: Sequence[tuple[str, Expr]]) -> Needed:
    result: Needed = frozenset()
    for _, expr in columns:
        result = _both(result, expr.columns())
    return result


def _both(first: Needed, second: Needed) -> Needed:
    return None if first is None or second is None else first | second


def _declared(subject: object) -> Needed:
    names = getattr(subject, "columns_needed", None)
    return None if names is None else frozenset(names)


# --- limits ---


def push_limits(root: LogicalOperator) -> LogicalOperator:
    """Scans right below a limit may stop early. The limit stays: a scan may give more."""

    def visit(node: LogicalOperator) -> LogicalOperator:
        if isinstance(node, Limit) and isinstance(read := node.inputs[0], Read):
            reader = read.reader.with_limit(node.limit)
            return node if reader is None else over(node, replace(read, reader=reader))
        return node

    return transform_up(root, visit)
