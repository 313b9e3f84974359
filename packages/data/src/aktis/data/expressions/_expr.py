"""Expressions: trees that say how a column is computed from the columns of a block.

Nulls follow Arrow: an operation on a null gives null, ``&`` and ``|`` know that ``False & null`` is false and that
``True | null`` is true, ``is_in`` is false for null (unless None is among the values), and a filter keeps only rows
whose condition is true. NaN is a number that equals nothing. Integers wrap around on overflow; ``/`` always gives
fractions; integer ``//`` and ``%`` by zero give null, and round as in Python.
"""

from __future__ import annotations

import builtins
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from aktis.data.expressions._evaluation import Evaluation, shared_nodes
from aktis.data.expressions._functions import LOWERED, Operation, Value, binary, is_true, unary
from aktis.data.expressions._registry import FUNCTIONS
from aktis.data.expressions._types import arrow_type

if TYPE_CHECKING:
    from aktis.data._transforms._base import TaskContext
    from aktis.data.expressions._namespaces import (
        ArrayNamespace,
        DatetimeNamespace,
        ListNamespace,
        MapNamespace,
        StringNamespace,
        StructNamespace,
    )


def as_expr(value: Any) -> Expr:
    """An expression as it is, anything else as a literal."""
    return value if isinstance(value, Expr) else LiteralExpr(value)


class Expr(ABC):
    """How a column is computed. Made with :func:`col`, :func:`lit` and operators; evaluated per block, in tasks.

    Immutable and picklable. ``==`` makes an expression: to compare trees, use :meth:`structurally_equals`.
    """

    # --- what a node must say ---

    @abstractmethod
    def _compute(self, evaluation: Evaluation) -> Value:
        """The values for a block: an array of its length, or a scalar."""

    def children(self) -> tuple[Expr, ...]:
        """The expressions that this one is made of."""
        return ()

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        """The same node over other operands."""
        return self

    def to_pyarrow(self) -> pc.Expression | None:
        """The same for a scan (:mod:`pyarrow.dataset`), or None where a scan cannot do it."""
        return None

    @property
    def _fixed(self) -> bool:
        """Whether this node alone gives equal values for equal operands, wherever the row stands."""
        return True

    @property
    def _total(self) -> bool:
        """Whether this node alone never fails on a value."""
        return True

    def _reads(self) -> frozenset[str] | None:
        """The columns that this node itself looks at. None: all of them."""
        return frozenset()

    # --- what follows from the nodes ---

    @property
    def name(self) -> str | None:
        """The name that the result has by itself: of a column, or given with :meth:`alias`."""
        return None

    def nodes(self) -> Iterator[Expr]:
        """This expression and all that it is made of, each object once."""
        seen: set[int] = set()
        waiting: builtins.list[Expr] = [self]
        while waiting:  # no recursion: sums of hundreds of columns are that deep
            node = waiting.pop()
            if id(node) not in seen:
                seen.add(id(node))
                waiting.extend(node.children())
                yield node

    def columns(self) -> frozenset[str] | None:
        """The columns that are needed. None: all of them."""
        needed: frozenset[str] = frozenset()
        for node in self.nodes():
            names = node._reads()
            if names is None:
                return None
            needed |= names
        return needed

    @property
    def is_deterministic(self) -> bool:
        """Whether values depend on the row's values alone, and not on its place or on chance."""
        return all(node._fixed for node in self.nodes())

    def is_idempotent(self) -> bool:
        """Ray's name for :attr:`is_deterministic`."""
        return self.is_deterministic

    @property
    def is_total(self) -> bool:
        """Whether evaluation never fails because of a value: a filter may then run later than written."""
        return all(node._total for node in self.nodes())

    def evaluate(self, block: pa.Table, task: TaskContext | None = None) -> pa.ChunkedArray:
        """The column for a block. Raises SchemaError for unknown columns, and for values that do not suit an operation an
        error that names expression, types and origin."""
        return Evaluation(block, task, shared=shared_nodes([self])).column(self)

    def get_type(self, schema: pa.Schema) -> pa.DataType | None:
        """The type of the result for blocks of this schema. None: it cannot be said, or the expression does not suit."""
        try:
            return Evaluation(schema.empty_table(), only_types=True).value(self).type
        except Exception:
            return None

    def structurally_equals(self, other: Any) -> bool:
        """Whether both trees are the same."""
        names = [f.name for f in fields(cast("Any", self)) if f.compare] if type(self) is type(other) else None
        return names is not None and all(_same(getattr(self, name), getattr(other, name)) for name in names)

    def substitute(self, columns: Callable[[str], Expr | None]) -> Expr:
        """With columns replaced by expressions, where ``columns(name)`` gives one."""
        children = self.children()
        changed = tuple(child.substitute(columns) for child in children)
        return self if all(a is b for a, b in zip(children, changed)) else self.with_children(changed)

    def unalias(self) -> Expr:
        """Without a name of its own."""
        return self

    def __bool__(self) -> bool:
        raise TypeError(
            f"{self!r} has no truth value: it stands for a whole column. Use & instead of 'and', | instead of 'or', "
            "~ instead of 'not', is_in() instead of 'in', when(condition).then(a).otherwise(b) instead of 'if', and "
            "(a < b) & (b < c) instead of a < b < c"
        )

    def __iter__(self) -> Any:
        raise TypeError(f"{self!r} cannot be iterated over: it stands for a whole column")

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return self._text()

    @abstractmethod
    def _text(self) -> str: ...

    def _operand(self) -> str:
        """As it appears within an operation."""
        return self._text()

    # --- operators ---

    def _binary(self, operation: Operation, other: Any, flipped: bool = False) -> Expr:
        other = as_expr(other)
        if operation.compares and isinstance(other, LiteralExpr) and other.value is None:
            fix = "is_not_null()" if operation is Operation.NE else "is_null()"
            raise TypeError(
                f"Comparing with None is never true, nor false: null {operation.symbol} null is null. "
                f"Use {self._operand()}.{fix}"
            )
        return BinaryExpr(operation, other, self) if flipped else BinaryExpr(operation, self, other)

    def __add__(self, other: Any) -> Expr:
        return self._binary(Operation.ADD, other)

    def __radd__(self, other: Any) -> Expr:
        return self._binary(Operation.ADD, other, flipped=True)

    def __sub__(self, other: Any) -> Expr:
        return self._binary(Operation.SUB, other)

    def __rsub__(self, other: Any) -> Expr:
        return self._binary(Operation.SUB, other, flipped=True)

    def __mul__(self, other: Any) -> Expr:
        return self._binary(Operation.MUL, other)

    def __rmul__(self, other: Any) -> Expr:
        return self._binary(Operation.MUL, other, flipped=True)

    def __truediv__(self, other: Any) -> Expr:
        return self._binary(Operation.DIV, other)

    def __rtruediv__(self, other: Any) -> Expr:
        return self._binary(Operation.DIV, other, flipped=True)

    def __floordiv__(self, other: Any) -> Expr:
        return self._binary(Operation.FLOORDIV, other)

    def __rfloordiv__(self, other: Any) -> Expr:
        return self._binary(Operation.FLOORDIV, other, flipped=True)

    def __mod__(self, other: Any) -> Expr:
        return self._binary(Operation.MOD, other)

    def __rmod__(self, other: Any) -> Expr:
        return self._binary(Operation.MOD, other, flipped=True)

    def __pow__(self, other: Any) -> Expr:
        return self._binary(Operation.POW, other)

    def __rpow__(self, other: Any) -> Expr:
        return self._binary(Operation.POW, other, flipped=True)

    def __gt__(self, other: Any) -> Expr:
        return self._binary(Operation.GT, other)

    def __lt__(self, other: Any) -> Expr:
        return self._binary(Operation.LT, other)

    def __ge__(self, other: Any) -> Expr:
        return self._binary(Operation.GE, other)

    def __le__(self, other: Any) -> Expr:
        return self._binary(Operation.LE, other)

    def __eq__(self, other: Any) -> Expr:  # type: ignore[override]
        return self._binary(Operation.EQ, other)

    def __ne__(self, other: Any) -> Expr:  # type: ignore[override]
        return self._binary(Operation.NE, other)

    def __and__(self, other: Any) -> Expr:
        return self._binary(Operation.AND, other)

    def __rand__(self, other: Any) -> Expr:
        return self._binary(Operation.AND, other, flipped=True)

    def __or__(self, other: Any) -> Expr:
        return self._binary(Operation.OR, other)

    def __ror__(self, other: Any) -> Expr:
        return self._binary(Operation.OR, other, flipped=True)

    def __xor__(self, other: Any) -> Expr:
        return self._binary(Operation.XOR, other)

    def __rxor__(self, other: Any) -> Expr:
        return self._binary(Operation.XOR, other, flipped=True)

    def __invert__(self) -> Expr:
        return UnaryExpr(Operation.NOT, self)

    def __neg__(self) -> Expr:
        return UnaryExpr(Operation.NEG, self)

    def __abs__(self) -> Expr:
        return self.abs()

    # --- conditions, nulls, names, types ---

    def is_null(self) -> Expr:
        """Whether each value is null. NaN is not."""
        return UnaryExpr(Operation.IS_NULL, self)

    def is_not_null(self) -> Expr:
        """Whether each value is there."""
        return UnaryExpr(Operation.IS_NOT_NULL, self)

    def is_nan(self) -> Expr:
        """Whether each value is NaN; null for null."""
        return self._call("is_nan")

    def is_finite(self) -> Expr:
        """Whether each value is neither NaN nor infinite; null for null."""
        return self._call("is_finite")

    def is_in(self, values: Iterable[Any] | Expr) -> Expr:
        """Whether each value is among ``values`` (constants). False for null, unless None is among them."""
        if isinstance(values, LiteralExpr):
            values = values.value
        if isinstance(values, (Expr, str, bytes)) or not isinstance(values, Iterable):
            raise TypeError(f"is_in() takes a list of values, not {values!r}")
        return self._call("is_in", values=tuple(values))

    def not_in(self, values: Iterable[Any] | Expr) -> Expr:
        """The opposite of :meth:`is_in`: true for null, unless None is among the values."""
        return ~self.is_in(values)

    def between(self, low: Any, high: Any) -> Expr:
        """Whether ``low <= value <= high``."""
        within: Expr = (self >= low) & (self <= high)
        return within

    def fill_null(self, value: Any) -> Expr:
        """``value`` (a constant or an expression) where there is null."""
        return self._call("fill_null", value)

    def cast(self, target_type: Any, *, safe: bool = True) -> Expr:
        """As another type, see :func:`pyarrow.compute.cast`.

        Args:
            target_type: an Arrow type or its name (``"int32"``), a Python or numpy type, or a ``DataType``.
            safe: fail on values that do not fit; else they are cut off, or wrap around.
        """
        return self._call("cast", target_type=arrow_type(target_type), **({} if safe else {"safe": False}))

    def alias(self, name: str) -> Expr:
        """The same values, named ``name``."""
        return AliasExpr(self.unalias(), name)

    # --- numbers ---

    def _call(self, function: str, *others: Any, **options: Any) -> Expr:
        return FunctionExpr(function, (self, *map(as_expr, others)), tuple(options.items()))

    def abs(self) -> Expr:
        """Without the sign."""
        return self._call("abs")

    def sign(self) -> Expr:
        """-1, 0 or 1."""
        return self._call("sign")

    def negate(self) -> Expr:
        """With the other sign."""
        return -self

    def round(self, decimals: int = 0) -> Expr:
        """To so many decimals; halves to the even neighbour, as Python's ``round`` does."""
        return self._call("round", ndigits=decimals)

    def floor(self) -> Expr:
        """The largest whole number that is not larger."""
        return self._call("floor")

    def ceil(self) -> Expr:
        """The smallest whole number that is not smaller."""
        return self._call("ceil")

    def trunc(self) -> Expr:
        """Without the fraction."""
        return self._call("trunc")

    def sqrt(self) -> Expr:
        """The square root; NaN of negative numbers."""
        return self._call("sqrt")

    def power(self, exponent: Any) -> Expr:
        """The same as ``**``."""
        return self._binary(Operation.POW, exponent)

    def exp(self) -> Expr:
        """e to the power of each value."""
        return self._call("exp")

    def ln(self) -> Expr:
        """The natural logarithm; -inf of 0, NaN of negative numbers."""
        return self._call("ln")

    def log(self, base: float = math.e) -> Expr:
        """The logarithm to a base, by default the natural one."""
        return self._call("ln") if base == math.e else self._call("log", base=float(base))

    def log10(self) -> Expr:
        """The logarithm to base 10."""
        return self._call("log10")

    def log2(self) -> Expr:
        """The logarithm to base 2."""
        return self._call("log2")

    def log1p(self) -> Expr:
        """``ln(1 + x)``, exact for small values."""
        return self._call("log1p")

    def sin(self) -> Expr:
        """The sine of radians."""
        return self._call("sin")

    def cos(self) -> Expr:
        """The cosine of radians."""
        return self._call("cos")

    def tan(self) -> Expr:
        """The tangent of radians."""
        return self._call("tan")

    def asin(self) -> Expr:
        """The arc sine, in radians."""
        return self._call("asin")

    def acos(self) -> Expr:
        """The arc cosine, in radians."""
        return self._call("acos")

    def atan(self) -> Expr:
        """The arc tangent, in radians."""
        return self._call("atan")

    def clip(self, lower: Any = None, upper: Any = None) -> Expr:
        """Values below ``lower`` become it, values above ``upper`` too. Constants, or None for no limit."""
        return self._call("clip", lower=lower, upper=upper)

    def hash(self) -> Expr:
        """A number of 64 bits (uint64) that is the same for equal values, in every process. Null for null."""
        return self._call("hash")

    # --- namespaces ---

    @property
    def str(self) -> StringNamespace:
        """What can be done with strings."""
        from aktis.data.expressions._namespaces import StringNamespace

        return StringNamespace(self)

    @property
    def dt(self) -> DatetimeNamespace:
        """What can be done with dates and times."""
        from aktis.data.expressions._namespaces import DatetimeNamespace

        return DatetimeNamespace(self)

    @property
    def list(self) -> ListNamespace:
        """What can be done with lists."""
        from aktis.data.expressions._namespaces import ListNamespace

        return ListNamespace(self)

    @property
    def struct(self) -> StructNamespace:
        """What can be done with structs."""
        from aktis.data.expressions._namespaces import StructNamespace

        return StructNamespace(self)

    @property
    def map(self) -> MapNamespace:
        """What can be done with maps."""
        from aktis.data.expressions._namespaces import MapNamespace

        return MapNamespace(self)

    @property
    def arr(self) -> ArrayNamespace:
        """What can be done with tensors and lists of a fixed length."""
        from aktis.data.expressions._namespaces import ArrayNamespace

        return ArrayNamespace(self)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Expr):
        return a.structurally_equals(b)
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(_same, a, b))
    if type(a) is not type(b):
        return False
    if isinstance(a, float) and math.isnan(a):
        return math.isnan(b)
    try:
        return bool(a is b or a == b)
    except Exception:  # values that have no plain equality, such as arrays
        return False


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
