"""Plans as text: what was asked for, what the optimizer made of it, and what is executed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from aktis.data._plan.logical import (
    Exchanged,
    Filter,
    InputBlocks,
    Limit,
    LogicalOperator,
    Map,
    Project,
    Read,
    Rearranged,
)
from aktis.data._plan.optimizer import optimize
from aktis.data.context import DatasetContext
from aktis.data.expressions import ColumnExpr

Node = TypeVar("Node")


def explain(root: LogicalOperator, context: DatasetContext) -> str:
    """Three trees, each with the last operator on top and its inputs below it, indented."""
    from aktis.data._plan.planner import plan

    optimized = optimize(root, context) if context.optimizer_enabled else root
    state = "" if context.optimizer_enabled else " (optimizer_enabled is off)"
    parts = [
        ("Logical plan", tree(root, describe)),
        (f"Optimized plan{state}", tree(optimized, describe)),
        ("Physical plan", tree(plan(optimized, context), lambda op: op.describe())),
    ]
    return "\n\n".join(f"{title}\n{'-' * len(title)}\n{text}" for title, text in parts)


def tree(root: Node, text: Callable[[Node], str]) -> str:
    """``root`` (anything with ``inputs``) and all below it, one per line."""
    lines: list[str] = []

    def visit(node: Any, lead: str, below: str) -> None:
        lines.append(lead + text(node))
        for child in node.inputs[:-1]:
            visit(child, below + "├─ ", below + "│  ")
        if node.inputs:
            visit(node.inputs[-1], below + "└─ ", below + "   ")

    visit(root, "", "")
    return "\n".join(lines)


def describe(node: LogicalOperator) -> str:
    """An operator in one line."""
    details = _details(node)
    return f"{node.name}[{details}]" if details else node.name


def _details(node: LogicalOperator) -> str:
    if isinstance(node, InputBlocks):
        rows = [handle.metadata.num_rows for handle in node.handles]
        known = "" if any(n is None for n in rows) else f", {sum(n or 0 for n in rows):,} rows"
        return f"{len(rows)} block{'' if len(rows) == 1 else 's'}{known}"
    if isinstance(node, Read):
        return node.reader.describe()
    if isinstance(node, Filter):
        return repr(node.predicate)
    if isinstance(node, Limit):
        return f"{node.limit:,}"
    if isinstance(node, Project):
        return _projection(node)
    if isinstance(node, Map):
        return _where(node)
    detail: Any = None
    if isinstance(node, Exchanged):
        detail = getattr(node.exchange, "describe", None)
    elif isinstance(node, Rearranged):
        detail = getattr(node.rearrangement, "describe", None)
    return str(detail()) if callable(detail) else ""


def _projection(node: Project) -> str:
    columns = []
    for name, expr in node.columns:
        plain = isinstance(expr.unalias(), ColumnExpr) and expr.unalias().name == name
        columns.append(name if plain else f"{name}={expr.unalias()!r}")
    parts = [f"+ {', '.join(columns)}"] if node.keep and columns else [", ".join(columns)]
    if node.drop:
        parts.append(f"- {', '.join(node.drop)}")
    return " ".join(part for part in parts if part)


def _where(node: Map) -> str:
    compute = node.compute
    parts = []
    if compute.pool_size is not None:
        least, most = compute.pool_size
        many = f"{least}" if least == most else f"{least} to {'any number' if most is None else most}"
        parts.append(f"actors: {many}")
    if compute.max_tasks is not None:
        parts.append(f"at most {compute.max_tasks} tasks")
    parts += [f"{key}={value}" for key, value in compute.remote_args.items()]
    return ", ".join(parts)
