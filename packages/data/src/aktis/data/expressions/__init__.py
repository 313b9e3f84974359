"""Expressions: columns computed by Arrow, which the optimizer can look into.

::

    from aktis.data.expressions import col, lit, when

    ds.filter(expr=(col("fare") > 10) & col("tip").is_not_null())
    ds.with_column("share", when(col("fare") > 0).then(col("tip") / col("fare")).otherwise(0.0))
"""

from __future__ import annotations

from aktis.data.expressions._expr import (
    AliasExpr,
    BinaryExpr,
    CaseExpr,
    ColumnExpr,
    Expr,
    FunctionExpr,
    LiteralExpr,
    StarExpr,
    UnaryExpr,
    UnnestExpr,
    coalesce,
    col,
    greatest,
    least,
    lit,
    star,
    unnest,
    when,
)
from aktis.data.expressions._functions import Operation

__all__ = [
    "AliasExpr",
    "BinaryExpr",
    "CaseExpr",
    "ColumnExpr",
    "Expr",
    "FunctionExpr",
    "LiteralExpr",
    "Operation",
    "StarExpr",
    "UnaryExpr",
    "UnnestExpr",
    "coalesce",
    "col",
    "greatest",
    "least",
    "lit",
    "star",
    "unnest",
    "when",
]
