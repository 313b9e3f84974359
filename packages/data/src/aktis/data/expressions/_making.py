"""Functions that make expressions."""

from __future__ import annotations

from typing import Any

from aktis.data.expressions._expr import Expr
from aktis.data.expressions._nodes import ColumnExpr, FunctionExpr, StarExpr, UnnestExpr, When, as_expr


def col(name: str) -> Expr:
    """The column ``name``."""
    if not isinstance(name, str):
        raise TypeError(f"col() takes the name of a column (a string), not {name!r}")
    return ColumnExpr(name)


def lit(value: Any) -> Expr:
    """A constant."""
    return as_expr(value)


def star() -> Expr:
    """All columns of the input, in a list of columns."""
    return StarExpr()


def unnest(expr: Expr) -> UnnestExpr:
    """A struct's fields as columns of their own: ``ds.with_columns(unnest(col("address")))``."""
    if isinstance(expr, UnnestExpr) or not isinstance(expr, Expr):
        raise TypeError(f"unnest() takes an expression that gives structs, not {expr!r}")
    return UnnestExpr(expr)


def when(condition: Any) -> When:
    """``when(condition).then(value).when(...).then(...).otherwise(value)``: the value of the first true condition.

    A condition that is null counts as false.
    """
    return When((), as_expr(condition))


def coalesce(*values: Any) -> Expr:
    """The first of the values (expressions or constants) that is not null."""
    return _function("coalesce", values)


def least(*values: Any) -> Expr:
    """The smallest of the values in each row; nulls are left out."""
    return _function("least", values)


def greatest(*values: Any) -> Expr:
    """The largest of the values in each row; nulls are left out."""
    return _function("greatest", values)


def _function(name: str, values: tuple[Any, ...]) -> Expr:
    if not values:
        raise TypeError(f"{name}() takes at least one value")
    return FunctionExpr(name, tuple(map(as_expr, values)))
