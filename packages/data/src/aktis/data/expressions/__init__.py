"""Expressions: columns computed by Arrow, which the optimizer can look into.

::

    from aktis.data.expressions import col, lit, when

    ds.filter(expr=(col("fare") > 10) & col("tip").is_not_null())
    ds.with_column("share", when(col("fare") > 0).then(col("tip") / col("fare")).otherwise(0.0))
"""

from __future__ import annotations

from aktis.data.expressions._download import DownloadExpr, download
from aktis.data.expressions._expr import Expr
from aktis.data.expressions._functions import Operation
from aktis.data.expressions._generated import (
    MonotonicallyIncreasingIdExpr,
    RandomExpr,
    UUIDExpr,
    monotonically_increasing_id,
    random,
    uuid,
)
from aktis.data.expressions._making import coalesce, col, greatest, least, lit, star, unnest, when
from aktis.data.expressions._nodes import (
    AliasExpr,
    BinaryExpr,
    CaseExpr,
    ColumnExpr,
    FunctionExpr,
    LiteralExpr,
    StarExpr,
    UnaryExpr,
    UnnestExpr,
)
from aktis.data.expressions._parse import ArrowExpr, named, parse, to_expr
from aktis.data.expressions._udf import UDFExpr, pyarrow_udf, udf

__all__ = [
    "AliasExpr",
    "ArrowExpr",
    "BinaryExpr",
    "CaseExpr",
    "ColumnExpr",
    "DownloadExpr",
    "Expr",
    "FunctionExpr",
    "LiteralExpr",
    "MonotonicallyIncreasingIdExpr",
    "Operation",
    "RandomExpr",
    "StarExpr",
    "UDFExpr",
    "UUIDExpr",
    "UnaryExpr",
    "UnnestExpr",
    "coalesce",
    "col",
    "download",
    "greatest",
    "least",
    "lit",
    "monotonically_increasing_id",
    "named",
    "parse",
    "pyarrow_udf",
    "random",
    "star",
    "to_expr",
    "udf",
    "unnest",
    "uuid",
    "when",
]
