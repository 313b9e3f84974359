"""Two projections as one."""

from __future__ import annotations

from dataclasses import replace

from aktis.data._plan.logical import Project
from aktis.data.expressions import ColumnExpr, Expr

LARGEST = 100  # nodes of an expression that merging makes: what uses columns of columns of ... could grow without bound


def size(expr: Expr, most: int = LARGEST) -> int:
    """How many nodes the expression has when it is written out; more than ``most`` are not counted to the end."""
    total = 1
    for child in expr.children():
        if total > most:
            break
        total += size(child, most - total)
    return total


def merged(outer: Project, inner: Project) -> Project | None:
    """One projection that does what ``outer`` does to the output of ``inner``; None where that is not simple.

    An expression of ``inner`` that ``outer`` uses several times stays one object, and is evaluated once per block.
    """
    if outer.missing_ok or inner.missing_ok:
        return None
    if not all(expr.is_deterministic for _, expr in inner.columns):
        return None
    made = {name: expr.unalias() for name, expr in inner.columns}
    used = _columns_used(outer)
    if used is None or not all(_is_known(name, inner, made) for name in used):
        return None
    if any(size(expr) > LARGEST for expr in (*made.values(), *(expr for _, expr in outer.columns))):
        return None
    substituted = [(name, expr.unalias().substitute(made.get)) for name, expr in outer.columns]
    if any(size(expr) > LARGEST for _, expr in substituted):
        return None
    if not outer.keep:
        # What ``inner`` drops is checked when it runs: a name that is not there must not go unnoticed.
        return None if inner.drop else replace(inner, columns=tuple(substituted), keep=False)
    if inner.keep:
        return _both_keep(outer, inner, made, substituted)
    return _outer_keeps(outer, inner, made, substituted)


def _columns_used(outer: Project) -> set[str] | None:
    """The input columns that a projection's expressions need. None: unknown."""
    used: set[str] = set()
    for _, expr in outer.columns:
        names = expr.columns()
        if names is None:
            return None
        used |= names
    return used


def _is_known(name: str, inner: Project, made: dict[str, Expr]) -> bool:
    return name in made or (inner.keep and name not in inner.drop)


def _outer_keeps(
    outer: Project, inner: Project, made: dict[str, Expr], substituted: list[tuple[str, Expr]]
) -> Project | None:
    """``inner`` says all columns, ``outer`` adds, replaces, renames and drops some."""
    if not set(outer.drop) <= made.keys():
        return None
    new = dict(substituted)
    result: dict[str, Expr] = {}
    renamed: dict[str, str] = {}
    for name, expr in outer.columns:
        column = expr.unalias()
        if isinstance(column, ColumnExpr) and column.name in outer.drop and name not in made:
            renamed.setdefault(column.name, name)
    for name, expr in made.items():
        if name in renamed:
            result[renamed[name]] = expr
        elif name in new:
            result[name] = new[name]
        elif name not in outer.drop:
            result[name] = expr
    for name, expr in new.items():
        result.setdefault(name, expr)
    return replace(inner, columns=tuple(result.items()), keep=False, drop=())


def _both_keep(
    outer: Project, inner: Project, made: dict[str, Expr], substituted: list[tuple[str, Expr]]
) -> Project | None:
    """Both add, replace, rename and drop. Only where no column changes its place by it."""
    new = dict(substituted)
    moved = {name for name, expr in made.items() if isinstance(expr, ColumnExpr) and expr.name in inner.drop}
    if moved & new.keys() or new.keys() & set(inner.drop):
        return None
    if set(outer.drop) & (made.keys() | set(inner.drop)):
        return None
    if any(isinstance(expr, ColumnExpr) and expr.name in outer.drop for expr in made.values()):
        return None
    columns = {**made, **new}
    return replace(inner, columns=tuple(columns.items()), drop=(*inner.drop, *outer.drop))
