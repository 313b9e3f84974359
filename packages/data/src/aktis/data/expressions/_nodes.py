"""The nodes that expressions are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from aktis.data.expressions._evaluation import Evaluation
from aktis.data.expressions._expr import Expr
from aktis.data.expressions._functions import LOWERED, Operation, Value, binary, is_true, unary
from aktis.data.expressions._registry import FUNCTIONS


def as_expr(value: Any) -> Expr:
    """An expression as it is, anything else as a literal."""
    return value if isinstance(value, Expr) else LiteralExpr(value)


@dataclass(frozen=True, eq=False, repr=False)
class ColumnExpr(Expr):
    """A column of the block."""

    _name: str

    @property
    def name(self) -> str:
        return self._name

    def _reads(self) -> frozenset[str] | None:
        return frozenset([self._name])

    def substitute(self, columns: Callable[[str], Expr | None]) -> Expr:
        other = columns(self._name)
        return self if other is None else other

    def to_pyarrow(self) -> pc.Expression | None:
        return pc.field(self._name)

    def _compute(self, evaluation: Evaluation) -> Value:
        return evaluation.get_column(self._name)

    def _text(self) -> str:
        return f"col({self._name!r})"


@dataclass(frozen=True, eq=False, repr=False)
class LiteralExpr(Expr):
    """A constant."""

    value: Any

    def __post_init__(self) -> None:
        try:
            object.__setattr__(
                self, "_scalar", self.value if isinstance(self.value, pa.Scalar) else pa.scalar(self.value)
            )
        except (pa.ArrowException, TypeError) as error:
            raise TypeError(
                f"{self.value!r} cannot be a constant in an expression: {error}. Numbers, strings, bytes, dates, times, None, "
                "lists and dicts of them can"
            ) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return LiteralExpr, (self.value,)

    def to_pyarrow(self) -> pc.Expression | None:
        return pc.scalar(self._scalar)  # type: ignore[attr-defined]

    def _compute(self, evaluation: Evaluation) -> Value:
        return self._scalar  # type: ignore[attr-defined]

    def _text(self) -> str:
        return f"lit({self.value!r})"


@dataclass(frozen=True, eq=False, repr=False)
class BinaryExpr(Expr):
    """Two operands and an operator."""

    op: Operation
    left: Expr
    right: Expr

    def children(self) -> tuple[Expr, ...]:
        return (self.left, self.right)

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        return replace(self, left=children[0], right=children[1])

    @property
    def _total(self) -> bool:
        return self.op is not Operation.POW  # a negative exponent of whole numbers fails

    def to_pyarrow(self) -> pc.Expression | None:
        lowered = LOWERED.get(self.op)
        left, right = self.left.to_pyarrow(), self.right.to_pyarrow()
        return None if lowered is None or left is None or right is None else lowered(left, right)

    def _compute(self, evaluation: Evaluation) -> Value:
        return binary(self.op, evaluation.value(self.left), evaluation.value(self.right))

    def _text(self) -> str:
        left, right = self.left, self.right
        both = isinstance(left, LiteralExpr) and isinstance(right, LiteralExpr)
        texts = [repr(e.value) if isinstance(e, LiteralExpr) and not both else e._operand() for e in (left, right)]
        return f"{texts[0]} {self.op.symbol} {texts[1]}"

    def _operand(self) -> str:
        return f"({self._text()})"


@dataclass(frozen=True, eq=False, repr=False)
class UnaryExpr(Expr):
    """An operand and an operator."""

    op: Operation
    operand: Expr

    def children(self) -> tuple[Expr, ...]:
        return (self.operand,)

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        return replace(self, operand=children[0])

    def to_pyarrow(self) -> pc.Expression | None:
        operand = self.operand.to_pyarrow()
        if operand is None or self.op is Operation.NEG:
            return None
        if self.op is Operation.NOT:
            return ~operand
        return operand.is_null() if self.op is Operation.IS_NULL else operand.is_valid()

    def _compute(self, evaluation: Evaluation) -> Value:
        return unary(self.op, evaluation.value(self.operand))

    def _text(self) -> str:
        if self.op in (Operation.NOT, Operation.NEG):
            return f"{self.op.symbol}{self.operand._operand()}"
        return f"{self.operand._operand()}.{self.op.value}()"

    def _operand(self) -> str:
        return f"({self._text()})" if self.op in (Operation.NOT, Operation.NEG) else self._text()


@dataclass(frozen=True, eq=False, repr=False)
class AliasExpr(Expr):
    """An expression with a name."""

    expr: Expr
    _name: str

    def __post_init__(self) -> None:
        if not isinstance(self._name, str):
            raise TypeError(f"The name of a column is a string, not {self._name!r}")

    @property
    def name(self) -> str:
        return self._name

    def unalias(self) -> Expr:
        return self.expr

    def children(self) -> tuple[Expr, ...]:
        return (self.expr,)

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        return replace(self, expr=children[0])

    def to_pyarrow(self) -> pc.Expression | None:
        return self.expr.to_pyarrow()

    def _compute(self, evaluation: Evaluation) -> Value:
        return evaluation.value(self.expr)

    def _text(self) -> str:
        return f"{self.expr._operand()}.alias({self._name!r})"


@dataclass(frozen=True, eq=False, repr=False)
class FunctionExpr(Expr):
    """A named function (see ``_registry.FUNCTIONS``) of expressions, with constant options."""

    function: str
    arguments: tuple[Expr, ...]
    options: tuple[tuple[str, Any], ...] = ()
    namespace: str = ""  # "str", "dt", ...: for the text form

    def children(self) -> tuple[Expr, ...]:
        return self.arguments

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        return replace(self, arguments=children)

    @property
    def _key(self) -> str:
        return f"{self.namespace}.{self.function}" if self.namespace else self.function

    @property
    def _total(self) -> bool:
        return FUNCTIONS[self._key].total

    def to_pyarrow(self) -> pc.Expression | None:
        lower = FUNCTIONS[self._key].lower
        arguments = [a.to_pyarrow() for a in self.arguments]
        if lower is None or any(a is None for a in arguments):
            return None
        try:
            return lower(*arguments, **dict(self.options))
        except (TypeError, ValueError, NotImplementedError, AttributeError):  # what this version of Arrow cannot build
            return None

    def _compute(self, evaluation: Evaluation) -> Value:
        return FUNCTIONS[self._key].compute(*[evaluation.value(a) for a in self.arguments], **dict(self.options))

    def _text(self) -> str:
        subject, *others = self.arguments
        place = f".{self.namespace}" if self.namespace else ""
        words = [repr(o.value) if isinstance(o, LiteralExpr) else o._text() for o in others]
        options = [(key, _shown(value)) for key, value in self.options if value is not None]
        words += [value if len(options) == 1 else f"{key}={value}" for key, value in options]
        if not self.namespace and not hasattr(Expr, self.function):
            return f"{self.function}({', '.join([_argument(subject), *words])})"
        return f"{subject._operand()}{place}.{self.function}({', '.join(words)})"


def _shown(option: Any) -> str:
    if isinstance(option, pa.DataType):
        return repr(str(option))
    return repr(list(option)) if isinstance(option, tuple) else repr(option)


@dataclass(frozen=True, eq=False, repr=False)
class CaseExpr(Expr):
    """The value of the first condition that is true."""

    cases: tuple[tuple[Expr, Expr], ...]
    default: Expr

    def when(self, condition: Any) -> When:
        """What follows where no condition before was true."""
        return When(self.cases, as_expr(condition))

    def otherwise(self, value: Any) -> Expr:
        """The value where no condition is true (null, unless this is given)."""
        return replace(self, default=as_expr(value))

    def children(self) -> tuple[Expr, ...]:
        return (*(e for case in self.cases for e in case), self.default)

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        pairs = tuple(zip(children[:-1:2], children[1:-1:2]))
        return CaseExpr(pairs, children[-1])

    def _compute(self, evaluation: Evaluation) -> Value:
        result = evaluation.value(self.default)
        for condition, value in reversed(self.cases):
            result = pc.if_else(is_true(evaluation.value(condition)), evaluation.value(value), result)
        return result

    def _text(self) -> str:
        cases = ".".join(f"when({c._text()}).then({_argument(v)})" for c, v in self.cases)
        return f"{cases}.otherwise({_argument(self.default)})"


def _argument(expr: Expr) -> str:
    return repr(expr.value) if isinstance(expr, LiteralExpr) else expr._text()


@dataclass(frozen=True)
class When:
    """A condition that waits for its value: ``when(condition).then(value)``."""

    cases: tuple[tuple[Expr, Expr], ...]
    condition: Expr

    def then(self, value: Any) -> CaseExpr:
        """The value where the condition is true. Go on with ``.when(...)`` or ``.otherwise(value)``."""
        return CaseExpr((*self.cases, (self.condition, as_expr(value))), LiteralExpr(None))


@dataclass(frozen=True, eq=False, repr=False)
class StarExpr(Expr):
    """All columns: only for the list of columns of a projection."""

    def _reads(self) -> frozenset[str] | None:
        return None

    def _compute(self, evaluation: Evaluation) -> Value:
        raise TypeError("star() stands for all columns, and cannot be part of a computation")

    def _text(self) -> str:
        return "star()"


@dataclass(frozen=True, eq=False, repr=False)
class UnnestExpr(Expr):
    """A struct whose fields become columns: only for the list of columns of a projection."""

    expr: Expr

    def children(self) -> tuple[Expr, ...]:
        return (self.expr,)

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        return replace(self, expr=children[0])

    def _compute(self, evaluation: Evaluation) -> Value:
        raise TypeError("unnest() makes several columns, and cannot be part of a computation")

    def _text(self) -> str:
        return f"unnest({self.expr._text()})"

    def expand(self, schema: pa.Schema | None) -> tuple[tuple[str, Expr], ...]:
        """The columns: (name, expression) for each field. Raises TypeError where the struct's type is not known."""
        type_ = self.expr.get_type(schema if schema is not None else pa.schema([]))
        if type_ is None or not pa.types.is_struct(type_):
            found = "its type is not known before the data is there" if type_ is None else f"it is of type {type_}"
            raise TypeError(
                f"unnest({self.expr!r}) needs a struct, but {found}. A udf says it with return_dtype=pyarrow.struct(...); "
                "else call materialize() first"
            )
        return tuple((f.name, self.expr.struct.field(f.name)) for f in type_)
