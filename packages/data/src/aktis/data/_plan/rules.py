"""The optimizer's rules. Each looks at one operator and its inputs, and gives what to put in its place, or None."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from aktis.data._exchanges.repartition import RandomizeBlockOrder, Repartition
from aktis.data._exchanges.sort import Sort
from aktis.data._plan.facts import known_schema, most_rows, preserves_rows
from aktis.data._plan.logical import (
    Exchanged,
    Filter,
    Limit,
    LogicalOperator,
    Map,
    Project,
    Rearranged,
    Union,
)
from aktis.data._plan.projections import LARGEST, merged, size
from aktis.data.expressions import BinaryExpr, ColumnExpr, Expr, LiteralExpr, Operation

Rule = Callable[[LogicalOperator], "LogicalOperator | None"]


def conjuncts(predicate: Expr) -> list[Expr]:
    """Conditions that all must be true for the predicate to be true."""
    predicate = predicate.unalias()
    if isinstance(predicate, BinaryExpr) and predicate.op is Operation.AND:
        return [*conjuncts(predicate.left), *conjuncts(predicate.right)]
    return [predicate]


def conjunction(predicates: Iterable[Expr]) -> Expr:
    """One condition that is true where all are."""
    first, *others = predicates
    for other in others:
        first = BinaryExpr(Operation.AND, first, other)
    return first


def over(node: LogicalOperator, *inputs: LogicalOperator) -> LogicalOperator:
    """The operator with other inputs."""
    return replace(node, inputs=inputs)


# --- filters sink ---


def merge_filters(node: LogicalOperator) -> LogicalOperator | None:
    """Filter(q) over Filter(p): Filter(p & q), unless q might fail on rows that p takes away."""
    if not (isinstance(node, Filter) and isinstance(below := node.inputs[0], Filter)):
        return None
    if size(node.predicate) + size(below.predicate) > LARGEST:
        return None
    if node.predicate.is_total and node.predicate.is_deterministic and below.predicate.is_deterministic:
        return replace(below, predicate=conjunction([below.predicate.unalias(), node.predicate.unalias()]))
    return None


def filter_below_project(node: LogicalOperator) -> LogicalOperator | None:
    """Filter over Project: below it, where the conditions are about columns that pass through, or are only renamed."""
    if not (isinstance(node, Filter) and isinstance(project := node.inputs[0], Project)):
        return None
    if not all(expr.is_deterministic for _, expr in project.columns) or project.missing_ok:
        return None
    computed = {name: expr.unalias() for name, expr in project.columns}

    def origin(name: str) -> Expr | None:
        return computed.get(name)

    sinking: list[Expr] = []
    staying: list[Expr] = []
    for condition in conjuncts(node.predicate):
        names = condition.columns()
        movable = names is not None and condition.is_deterministic and all(_passes(project, computed, n) for n in names)
        (sinking if movable else staying).append(condition)
    if not sinking or not all(c.is_deterministic for c in staying):
        return None
    below = over(project, Filter(predicate=conjunction([c.substitute(origin) for c in sinking]), inputs=project.inputs))
    return Filter(predicate=conjunction(staying), inputs=(below,)) if staying else below


def _passes(project: Project, computed: dict[str, Expr], name: str) -> bool:
    if name in computed:
        return isinstance(computed[name], (ColumnExpr, LiteralExpr))
    return project.keep and name not in project.drop


def filter_below_union(node: LogicalOperator) -> LogicalOperator | None:
    """Filter over Union: a filter for each input."""
    if isinstance(node, Filter) and isinstance(union := node.inputs[0], Union) and node.predicate.is_deterministic:
        return over(union, *[over(node, child) for child in union.inputs])
    return None


def filter_below_exchange(node: LogicalOperator) -> LogicalOperator | None:
    """Filter over an operation that only moves rows (sort, shuffle, repartition): below it, so that fewer rows move."""
    if isinstance(node, Filter) and node.predicate.is_deterministic:
        exchange = node.inputs[0]
        if preserves_rows(exchange) and len(exchange.inputs) == 1:
            return over(exchange, over(node, exchange.inputs[0]))
    return None


# --- limits sink ---


def merge_limits(node: LogicalOperator) -> LogicalOperator | None:
    """A limit over what has no more rows anyway goes; Limit over Limit: the smaller one."""
    if not isinstance(node, Limit):
        return None
    child = node.inputs[0]
    if isinstance(child, Limit):
        return replace(child, limit=min(node.limit, child.limit))
    most = most_rows(child)
    return child if most is not None and most <= node.limit else None


def limit_below_rows(node: LogicalOperator) -> LogicalOperator | None:
    """Limit over a projection, or over a map that makes one row of each: below it, so that fewer rows are worked on."""
    if not isinstance(node, Limit):
        return None
    child = node.inputs[0]
    if isinstance(child, Project):
        fixed = all(expr.is_deterministic for _, expr in child.columns)
        return over(child, over(node, *child.inputs)) if fixed else None
    if isinstance(child, Map) and child.keeps_rows:
        return over(child, over(node, *child.inputs))
    return None


def limit_into_union(node: LogicalOperator) -> LogicalOperator | None:
    """Limit over Union: no input needs to give more rows than that, either."""
    if not (isinstance(node, Limit) and isinstance(union := node.inputs[0], Union)):
        return None

    def limited(child: LogicalOperator) -> LogicalOperator:
        most = most_rows(child)
        return child if most is not None and most <= node.limit else Limit(limit=node.limit, inputs=(child,))

    inputs = [limited(child) for child in union.inputs]
    if all(a is b for a, b in zip(inputs, union.inputs)):
        return None
    return over(node, over(union, *inputs))


# --- projections ---


def merge_projects(node: LogicalOperator) -> LogicalOperator | None:
    """Project over Project: one of them."""
    if isinstance(node, Project) and isinstance(below := node.inputs[0], Project):
        return merged(node, below)
    return None


def drop_identity_project(node: LogicalOperator) -> LogicalOperator | None:
    """A projection that changes nothing goes."""
    if not isinstance(node, Project):
        return None
    child = node.inputs[0]
    if node.keep:
        return None if node.columns or node.drop else child
    names = []
    for name, expr in node.columns:
        column = expr.unalias()
        if not isinstance(column, ColumnExpr) or column.name != name:
            return None
        names.append(name)
    schema = known_schema(child)
    return child if schema is not None and names and schema.names == names else None


# --- exchanges ---


def drop_overruled_exchange(node: LogicalOperator) -> LogicalOperator | None:
    """A repartition right below another one, or a sort right below one by the same keys, has no effect."""
    if len(node.inputs) != 1:
        return None
    child = node.inputs[0]
    if isinstance(node, Rearranged) and isinstance(child, Rearranged):
        overruled = isinstance(node.rearrangement, Repartition) and isinstance(child.rearrangement, Repartition)
        return over(node, *child.inputs) if overruled else None
    if isinstance(node, Exchanged) and isinstance(child, Exchanged):
        above, below = node.exchange, child.exchange
        same = isinstance(above, Sort) and isinstance(below, Sort) and above.keys == below.keys
        return over(node, *child.inputs) if same else None
    return None


def block_order_later(node: LogicalOperator) -> LogicalOperator | None:
    """What works on each block alone goes below a random block order: it then runs in the tasks that make the blocks."""
    alone = isinstance(node, (Project, Filter)) or (isinstance(node, Map) and node.compute.min_rows is None)
    if not alone:
        return None
    child = node.inputs[0]
    if isinstance(child, Rearranged) and isinstance(child.rearrangement, RandomizeBlockOrder):
        if isinstance(node, Project) and not all(expr.is_deterministic for _, expr in node.columns):
            return None
        return over(child, over(node, *child.inputs))
    return None


RULES: tuple[Rule, ...] = (
    drop_identity_project,
    merge_filters,
    filter_below_project,
    filter_below_union,
    filter_below_exchange,
    merge_limits,
    limit_below_rows,
    limit_into_union,
    merge_projects,
    drop_overruled_exchange,
    block_order_later,
)
