"""What can be written with expressions: operators and methods. Each makes a node of the tree, and computes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from aktis.data.expressions._functions import Operation
from aktis.data.expressions._types import arrow_type

if TYPE_CHECKING:
    from aktis.data.expressions._expr import Expr
    from aktis.data.expressions._namespaces import (
        ArrayNamespace,
        DatetimeNamespace,
        ListNamespace,
        MapNamespace,
        StringNamespace,
        StructNamespace,
    )


class Operators:
    """The part of an expression that its user sees. Nodes are expressions themselves, and so imported where they are made."""

    # --- making nodes ---

    @property
    def _expr(self) -> Expr:
        return cast("Expr", self)

    def _binary(self, operation: Operation, other: Any, flipped: bool = False) -> Expr:
        from aktis.data.expressions._nodes import BinaryExpr, LiteralExpr, as_expr

        other = as_expr(other)
        if operation.compares and isinstance(other, LiteralExpr) and other.value is None:
            fix = "is_not_null()" if operation is Operation.NE else "is_null()"
            raise TypeError(
                f"Comparing with None is never true, nor false: null {operation.symbol} null is null. "
                f"Use {self._expr._operand()}.{fix}"
            )
        return BinaryExpr(operation, other, self._expr) if flipped else BinaryExpr(operation, self._expr, other)

    def _unary(self, operation: Operation) -> Expr:
        from aktis.data.expressions._nodes import UnaryExpr

        return UnaryExpr(operation, self._expr)

    def _call(self, function: str, *others: Any, **options: Any) -> Expr:
        from aktis.data.expressions._nodes import FunctionExpr, as_expr

        return FunctionExpr(function, (self._expr, *map(as_expr, others)), tuple(options.items()))

    # --- operators ---

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

    __hash__ = object.__hash__

    def __invert__(self) -> Expr:
        return self._unary(Operation.NOT)

    def __neg__(self) -> Expr:
        return self._unary(Operation.NEG)

    def __abs__(self) -> Expr:
        return self.abs()

    # --- conditions, nulls, names, types ---

    def is_null(self) -> Expr:
        """Whether each value is null. NaN is not."""
        return self._unary(Operation.IS_NULL)

    def is_not_null(self) -> Expr:
        """Whether each value is there."""
        return self._unary(Operation.IS_NOT_NULL)

    def is_nan(self) -> Expr:
        """Whether each value is NaN; null for null."""
        return self._call("is_nan")

    def is_finite(self) -> Expr:
        """Whether each value is neither NaN nor infinite; null for null."""
        return self._call("is_finite")

    def is_in(self, values: Iterable[Any] | Expr) -> Expr:
        """Whether each value is among ``values`` (constants). False for null, unless None is among them."""
        from aktis.data.expressions._nodes import LiteralExpr

        if isinstance(values, LiteralExpr):
            values = values.value
        if isinstance(values, (Operators, str, bytes)) or not isinstance(values, Iterable):
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
        from aktis.data.expressions._nodes import AliasExpr

        return AliasExpr(self._expr.unalias(), name)

    # --- numbers ---

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

        return StringNamespace(self._expr)

    @property
    def dt(self) -> DatetimeNamespace:
        """What can be done with dates and times."""
        from aktis.data.expressions._namespaces import DatetimeNamespace

        return DatetimeNamespace(self._expr)

    @property
    def list(self) -> ListNamespace:
        """What can be done with lists."""
        from aktis.data.expressions._namespaces import ListNamespace

        return ListNamespace(self._expr)

    @property
    def struct(self) -> StructNamespace:
        """What can be done with structs."""
        from aktis.data.expressions._namespaces import StructNamespace

        return StructNamespace(self._expr)

    @property
    def map(self) -> MapNamespace:
        """What can be done with maps."""
        from aktis.data.expressions._namespaces import MapNamespace

        return MapNamespace(self._expr)

    @property
    def arr(self) -> ArrayNamespace:
        """What can be done with tensors and lists of a fixed length."""
        from aktis.data.expressions._namespaces import ArrayNamespace

        return ArrayNamespace(self._expr)
