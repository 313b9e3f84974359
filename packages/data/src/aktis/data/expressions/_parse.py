"""Conditions written as strings, and pyarrow's expressions, as ours. Strings are parsed, never executed."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from aktis.data.expressions._evaluation import Evaluation
from aktis.data.expressions._expr import Expr
from aktis.data.expressions._functions import Operation, Value
from aktis.data.expressions._making import coalesce, col, greatest, least, lit
from aktis.data.expressions._nodes import LiteralExpr, as_expr

_BINARY = {
    ast.Add: Operation.ADD, ast.Sub: Operation.SUB, ast.Mult: Operation.MUL, ast.Div: Operation.DIV,
    ast.FloorDiv: Operation.FLOORDIV, ast.Mod: Operation.MOD, ast.Pow: Operation.POW, ast.BitAnd: Operation.AND,
    ast.BitOr: Operation.OR, ast.BitXor: Operation.XOR,
}  # fmt: skip
_COMPARE = {
    ast.Gt: Operation.GT, ast.GtE: Operation.GE, ast.Lt: Operation.LT, ast.LtE: Operation.LE,
    ast.Eq: Operation.EQ, ast.NotEq: Operation.NE,
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[..., Expr]] = {
    "col": col, "lit": lit, "coalesce": coalesce, "least": least, "greatest": greatest,
}  # fmt: skip
_METHODS = frozenset(
    (
        "is_null", "is_not_null", "is_nan", "is_finite", "is_in", "not_in", "between", "fill_null", "cast", "abs", "sign",
        "negate", "round", "floor", "ceil", "trunc", "sqrt", "power", "exp", "ln", "log", "log10", "log2", "log1p", "sin",
        "cos", "tan", "asin", "acos", "atan", "clip", "hash",
    )
)  # fmt: skip
_NAMESPACES = frozenset(["str", "dt", "list", "struct", "map", "arr"])


@dataclass(frozen=True, eq=False, repr=False)
class ArrowExpr(Expr):
    """An expression of pyarrow, as it is."""

    expression: pc.Expression

    def structurally_equals(self, other: Any) -> bool:
        return isinstance(other, ArrowExpr) and self.expression.equals(other.expression)

    def _reads(self) -> frozenset[str] | None:
        return None  # pyarrow does not say

    @property
    def _fixed(self) -> bool:
        return False  # what cannot be looked into is not moved

    @property
    def _total(self) -> bool:
        return False

    def to_pyarrow(self) -> pc.Expression | None:
        return self.expression

    def _compute(self, evaluation: Evaluation) -> Value:
        import pyarrow.acero as acero

        source = acero.Declaration("table_source", acero.TableSourceNodeOptions(evaluation.block))
        project = acero.Declaration("project", acero.ProjectNodeOptions([self.expression], ["value"]), inputs=[source])
        return project.to_table(use_threads=False).column(0)

    def _text(self) -> str:
        return f"<{self.expression}>"


def to_expr(value: Any) -> Expr:
    """An expression from one of ours, one of pyarrow, or a string such as ``"fare > 10 and tip < 2"``.

    Strings are Python's syntax for conditions: names are columns (``col('a b')`` for odd names), ``and``, ``or``, ``not``,
    ``in [...]``, ``is None``, chained comparisons, arithmetic, and the methods of expressions. Nothing is executed.
    Raises ValueError with the place that is not understood.
    """
    if isinstance(value, Expr):
        return value
    if isinstance(value, pc.Expression):
        return ArrowExpr(value)
    if isinstance(value, str):
        return _Parser(value).parse()
    raise TypeError(
        f"A condition is an expression such as col('fare') > 10, a string such as 'fare > 10', or an expression of pyarrow, "
        f"not {value!r}"
    )


def parse(text: str) -> Expr:
    """The expression that a string such as ``"fare > 10 and tip < 2"`` stands for: see :func:`to_expr`."""
    return _Parser(text).parse()


def named(value: Any) -> tuple[str, Expr]:
    """A column of a projection: its name, and how it is computed. ``value``: a name, or an expression with a name.

    Raises ValueError for an expression that has none: give it one with ``.alias(name)``.
    """
    expr = col(value) if isinstance(value, str) else value
    if not isinstance(expr, Expr):
        raise TypeError(f"A column is a name, or an expression such as (col('a') + 1).alias('b'), not {value!r}")
    if expr.name is None:
        raise ValueError(f"{expr!r} has no name of its own: give it one with .alias('name')")
    return expr.name, expr.unalias()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text

    def parse(self) -> Expr:
        try:
            tree = ast.parse(self._text.strip(), mode="eval")
        except SyntaxError as error:
            hint = " Equality is written '=='." if "==" in str(error) or "=" in self._text else ""
            raise ValueError(
                f"{self._text!r} is no valid condition: {error.msg} at position {error.offset}.{hint} An example: "
                "\"fare > 10 and name == 'x'\""
            ) from None
        return as_expr(self._visit(tree.body))

    def _visit(self, node: ast.expr) -> Any:
        """An expression, or a plain value for constants."""
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            raise self._error(node, "is not supported in conditions")
        return method(node)

    def _error(self, node: ast.AST, problem: str) -> ValueError:
        part = ast.get_source_segment(self._text.strip(), node) or type(node).__name__
        return ValueError(f"{self._text!r}: {part!r} {problem}. Use a function (fn=) for what conditions cannot say")

    def _constant(self, node: ast.Constant) -> Any:
        if node.value is Ellipsis or isinstance(node.value, complex):
            raise self._error(node, "is no value of a column")
        return node.value

    def _name(self, node: ast.Name) -> Any:
        return {"true": True, "false": False, "null": None}.get(node.id, col(node.id))

    def _list(self, node: ast.List | ast.Tuple | ast.Set) -> list[Any]:
        values = [self._visit(item) for item in node.elts]
        for item, value in zip(node.elts, values):
            if isinstance(value, Expr):
                raise self._error(item, "is no constant: only lists of constants can be searched")
        return values

    _tuple = _set = _list

    def _boolop(self, node: ast.BoolOp) -> Expr:
        result = as_expr(self._visit(node.values[0]))
        for item in node.values[1:]:
            other = self._visit(item)
            result = result & other if isinstance(node.op, ast.And) else result | other
        return result

    def _unaryop(self, node: ast.UnaryOp) -> Any:
        operand = self._visit(node.operand)
        if isinstance(node.op, (ast.USub, ast.UAdd)):
            return operand if isinstance(node.op, ast.UAdd) else -operand
        return ~as_expr(operand)

    def _binop(self, node: ast.BinOp) -> Expr:
        operation = _BINARY.get(type(node.op))
        if operation is None:
            raise self._error(node, "uses an operator that columns do not have")
        return as_expr(self._visit(node.left))._binary(operation, self._visit(node.right))

    def _compare(self, node: ast.Compare) -> Expr:
        result: Expr | None = None
        left = self._visit(node.left)
        for operator, item in zip(node.ops, node.comparators):
            right = self._visit(item)
            one = self._one_comparison(node, left, operator, right)
            result = one if result is None else result & one
            left = right
        assert result is not None
        return result

    def _one_comparison(self, node: ast.Compare, left: Any, operator: ast.cmpop, right: Any) -> Expr:
        if isinstance(operator, (ast.In, ast.NotIn)):
            if not isinstance(right, list):
                raise self._error(node, "searches in something that is no list of constants")
            found = as_expr(left).is_in(right)
            return ~found if isinstance(operator, ast.NotIn) else found
        negated = isinstance(operator, (ast.IsNot, ast.NotEq))
        if isinstance(operator, (ast.Is, ast.IsNot, ast.Eq, ast.NotEq)) and (left is None or right is None):
            value = as_expr(left if right is None else right)
            return value.is_not_null() if negated else value.is_null()
        operation = _COMPARE.get(type(operator))
        if operation is None:
            raise self._error(node, "compares with 'is', which is for None only: use ==")
        return as_expr(left)._binary(operation, right)

    def _call(self, node: ast.Call) -> Expr:
        args = [self._visit(a) for a in node.args if not isinstance(a, ast.Starred)]
        kwargs = {k.arg: self._visit(k.value) for k in node.keywords if k.arg is not None}
        if len(args) + len(kwargs) != len(node.args) + len(node.keywords):
            raise self._error(node, "unpacks arguments, which conditions cannot")
        function = self._function(node.func)
        args = [a.value if isinstance(a, LiteralExpr) else a for a in args]
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            raise self._error(node, f"cannot be called so: {error}") from None

    def _function(self, node: ast.expr) -> Callable[..., Expr]:
        if isinstance(node, ast.Name):
            known = _FUNCTIONS.get(node.id)
            if known is not None:
                return known
            if node.id in _METHODS:  # abs(x) as well as x.abs()
                return lambda value, *args, **kwargs: getattr(as_expr(value), node.id)(*args, **kwargs)
            raise self._error(node, f"is no known function: there are {', '.join(sorted([*_FUNCTIONS, *_METHODS]))}")
        if isinstance(node, ast.Attribute):
            owner, name = node.value, node.attr
            if isinstance(owner, ast.Attribute) and owner.attr in _NAMESPACES:
                namespace = getattr(as_expr(self._visit(owner.value)), owner.attr)
                method = None if name.startswith("_") else getattr(namespace, name, None)
                if callable(method):
                    return method  # type: ignore[no-any-return]
                raise self._error(node, f"is no method of .{owner.attr}")
            if name in _METHODS:
                return getattr(as_expr(self._visit(owner)), name)  # type: ignore[no-any-return]
        raise self._error(node, "is no function that conditions know")

    def _subscript(self, node: ast.Subscript) -> Expr:
        owner = node.value
        if isinstance(owner, ast.Attribute) and owner.attr in ("list", "struct", "map"):
            key = self._visit(node.slice)
            return getattr(as_expr(self._visit(owner.value)), owner.attr)[key]  # type: ignore[no-any-return]
        raise self._error(node, "has no index: use .list[...], .struct[...] or .map[...]")
