"""The classes that expressions are made of, for programs that look into them."""

from __future__ import annotations

import operator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from aktis.data.exceptions import DataError
from aktis.data.expressions import (
    AliasExpr,
    ArrowExpr,
    BinaryExpr,
    CaseExpr,
    ColumnExpr,
    DownloadExpr,
    Expr,
    FunctionExpr,
    LiteralExpr,
    MonotonicallyIncreasingIdExpr,
    Operation,
    RandomExpr,
    StarExpr,
    UDFExpr,
    UnaryExpr,
    UnnestExpr,
    UUIDExpr,
    coalesce,
    col,
    download,
    lit,
    monotonically_increasing_id,
    random,
    star,
    to_expr,
    udf,
    unnest,
    uuid,
    when,
)

TABLE = pa.table({"a": [1, 2, 3], "s": pa.array([{"x": 1}, {"x": 2}, {"x": 3}])})


@udf(pa.int64())
def doubled(x: pa.Array) -> pa.Array:
    return pc.multiply(x, 2)


MADE = [
    (col("a"), ColumnExpr, "col('a')"),
    (lit(3), LiteralExpr, "lit(3)"),
    (col("a") + 1, BinaryExpr, "col('a') + 1"),
    (~(col("a") > 1), UnaryExpr, "~(col('a') > 1)"),
    (col("a").is_null(), UnaryExpr, "col('a').is_null()"),
    (col("a").alias("b"), AliasExpr, "col('a').alias('b')"),
    (coalesce(col("a"), 0), FunctionExpr, "coalesce(col('a'), 0)"),
    (when(col("a") > 1).then(1).otherwise(0), CaseExpr, "when(col('a') > 1).then(1).otherwise(0)"),
    (to_expr(pc.field("a") > 1), ArrowExpr, "<(a > 1)>"),
    (star(), StarExpr, "star()"),
    (unnest(col("s")), UnnestExpr, "unnest(col('s'))"),
    (download("a"), DownloadExpr, "download('a')"),
    (random(seed=1), RandomExpr, "random(seed=1)"),
    (uuid(), UUIDExpr, "uuid()"),
    (monotonically_increasing_id(), MonotonicallyIncreasingIdExpr, "monotonically_increasing_id()"),
    (doubled(col("a")), UDFExpr, "doubled(col('a'))"),
]


@pytest.mark.parametrize(("expr", "kind", "text"), MADE, ids=[kind.__name__ for _, kind, _ in MADE])
def test_every_node_has_its_class_its_text_and_its_operands(expr: Expr, kind: type[Expr], text: str) -> None:
    assert type(expr) is kind and isinstance(expr, Expr)
    assert repr(expr) == text
    again = expr.with_children(expr.children())
    assert again.structurally_equals(expr)
    assert [expr.structurally_equals(other) for other, _, _ in MADE].count(True) == 1
    assert next(type(node) for node in expr.nodes()) is kind


@pytest.mark.parametrize(
    ("symbol", "operation"),
    [
        (operator.add, Operation.ADD), (operator.sub, Operation.SUB), (operator.mul, Operation.MUL),
        (operator.truediv, Operation.DIV), (operator.floordiv, Operation.FLOORDIV), (operator.mod, Operation.MOD),
        (operator.pow, Operation.POW), (operator.gt, Operation.GT), (operator.ge, Operation.GE), (operator.lt, Operation.LT),
        (operator.le, Operation.LE), (operator.eq, Operation.EQ), (operator.ne, Operation.NE), (operator.and_, Operation.AND),
        (operator.or_, Operation.OR), (operator.xor, Operation.XOR),
    ],
)  # fmt: skip
def test_operators_say_what_they_do(symbol: object, operation: Operation) -> None:
    expr = symbol(col("a"), col("b"))
    assert isinstance(expr, BinaryExpr)
    assert expr.op is operation and Operation(operation.value) is operation
    assert (expr.left.name, expr.right.name) == ("a", "b")
    assert f" {operation.symbol} " in repr(expr)
    assert operation.compares == (operation.value in ("gt", "ge", "lt", "le", "eq", "ne"))
    assert operation.combines == (operation.value in ("and", "or", "xor"))


@pytest.mark.parametrize(
    ("expr", "operation"),
    [
        (~col("a"), Operation.NOT),
        (-col("a"), Operation.NEG),
        (col("a").is_null(), Operation.IS_NULL),
        (col("a").is_not_null(), Operation.IS_NOT_NULL),
    ],
)
def test_operators_of_one_operand(expr: UnaryExpr, operation: Operation) -> None:
    assert expr.op is operation
    assert expr.operand.structurally_equals(col("a"))


@pytest.mark.parametrize(
    ("operation", "found"), [(Operation.IN, [True, False, True]), (Operation.NOT_IN, [False, True, False])]
)
def test_membership_by_hand_is_that_of_the_methods(operation: Operation, found: list[bool]) -> None:
    expr = BinaryExpr(operation, col("a"), lit([1, 3]))
    assert expr.evaluate(TABLE).to_pylist() == found
    method = col("a").is_in([1, 3]) if operation is Operation.IN else col("a").not_in([1, 3])
    assert method.evaluate(TABLE).to_pylist() == found
    with pytest.raises(DataError, match="takes a constant list"):
        BinaryExpr(operation, col("a"), lit(3)).evaluate(TABLE)


def test_nodes_can_be_made_by_hand() -> None:
    made = AliasExpr(BinaryExpr(Operation.MUL, ColumnExpr("a"), LiteralExpr(2)), "double")
    assert made.name == "double" and made.columns() == {"a"}
    assert made.structurally_equals((col("a") * 2).alias("double"))
    assert made.evaluate(TABLE).to_pylist() == [2, 4, 6]
    assert made.unalias().structurally_equals(doubled_by_hand := col("a") * 2) and doubled_by_hand.name is None
    other = made.substitute(lambda name: LiteralExpr(5) if name == "a" else None)
    assert other.evaluate(TABLE).to_pylist() == [10, 10, 10]
    with pytest.raises(TypeError, match="not 3"):
        AliasExpr(col("a"), 3)
    with pytest.raises(TypeError, match="cannot be a constant"):
        LiteralExpr(object())


def test_what_is_known_before_there_is_data(tmp_path: Path) -> None:
    assert [name for name, _ in unnest(col("s")).expand(TABLE.schema)] == ["x"]
    assert (col("a") / 2).get_type(TABLE.schema) == pa.float64()
    assert (col("a") + "x").get_type(TABLE.schema) is None
    assert [expr.is_deterministic for expr in (col("a"), random(), uuid(), monotonically_increasing_id())] == [
        True,
        False,
        False,
        False,
    ]
    with pytest.raises(TypeError, match="cannot be part of a computation"):
        (star() + 1).evaluate(TABLE)
    (tmp_path / "f").write_bytes(b"content")
    files = pa.table({"u": [str(tmp_path / "f"), None, str(tmp_path / "none")]})
    assert download("u", on_error="null").evaluate(files).to_pylist() == [b"content", None, None]
