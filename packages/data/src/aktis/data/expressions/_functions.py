"""What operators and named functions do to Arrow values, and which of them a scan can do by itself.

Everything here works on :data:`Value`: an array, a chunked array, or a scalar that stands for a whole column.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Union

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aktis.data.expressions._types import is_text

Value = Union[pa.Array, pa.ChunkedArray, pa.Scalar]


class Operation(str, Enum):
    """The binary and unary operators of expressions."""

    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    DIV = "div"
    MOD = "mod"
    FLOORDIV = "floordiv"
    POW = "pow"
    GT = "gt"
    LT = "lt"
    GE = "ge"
    LE = "le"
    EQ = "eq"
    NE = "ne"
    AND = "and"
    OR = "or"
    XOR = "xor"
    NOT = "not"
    NEG = "neg"
    IS_NULL = "is_null"
    IS_NOT_NULL = "is_not_null"
    IN = "in"
    NOT_IN = "not_in"

    @property
    def symbol(self) -> str:
        """As it is written in Python."""
        return _SYMBOLS.get(self, self.value)

    @property
    def compares(self) -> bool:
        """Whether the result is a condition over two values."""
        return self in _COMPARISONS

    @property
    def combines(self) -> bool:
        """Whether the operands are conditions."""
        return self in (Operation.AND, Operation.OR, Operation.XOR)


_SYMBOLS = {
    Operation.ADD: "+", Operation.SUB: "-", Operation.MUL: "*", Operation.DIV: "/", Operation.MOD: "%",
    Operation.FLOORDIV: "//", Operation.POW: "**", Operation.GT: ">", Operation.LT: "<", Operation.GE: ">=",
    Operation.LE: "<=", Operation.EQ: "==", Operation.NE: "!=", Operation.AND: "&", Operation.OR: "|",
    Operation.XOR: "^", Operation.NOT: "~", Operation.NEG: "-",
}  # fmt: skip
_COMPARISONS = {
    Operation.GT: pc.greater, Operation.LT: pc.less, Operation.GE: pc.greater_equal, Operation.LE: pc.less_equal,
    Operation.EQ: pc.equal, Operation.NE: pc.not_equal,
}  # fmt: skip


def plain(value: Value) -> Value:
    """The values themselves, where they are dictionary-encoded: few kernels take codes."""
    if pa.types.is_dictionary(value.type):
        return pc.cast(value, value.type.value_type)
    return value


def one_array(value: Value) -> pa.Array:
    """In one piece, for what is not a kernel."""
    if not isinstance(value, pa.ChunkedArray):
        return value
    return value.chunk(0) if value.num_chunks == 1 else pa.concat_arrays(value.chunks or [pa.array([], value.type)])


def is_true(condition: Value) -> Value:
    """Without nulls: what is not known to be true is false."""
    return pc.fill_null(condition, False) if condition.type != pa.null() else pc.is_valid(condition)


# --- binary operators ---


def binary(operation: Operation, left: Value, right: Value) -> Value:
    """``left`` operation ``right``, row by row. A null operand gives null, but ``False & null`` and ``True | null`` are known."""
    left, right = plain(left), plain(right)
    if operation.compares:
        left, right = _same_kind(left, right)
        return _COMPARISONS[operation](left, right)
    if operation.combines:
        return _combine(operation, left, right)
    if operation in (Operation.IN, Operation.NOT_IN):
        if not isinstance(right, pa.ListScalar):
            raise TypeError(f"{operation.value} takes a constant list of values, not values of type {right.type}")
        found = contains_any(left, values=tuple(right.as_py() or ()))
        return found if operation is Operation.IN else pc.invert(found)
    return _ARITHMETIC[operation](left, right)


def _same_kind(left: Value, right: Value) -> tuple[Value, Value]:
    """A string that is compared with dates or times is read as one."""
    for a, b, flipped in ((left, right, False), (right, left, True)):
        if isinstance(b, pa.Scalar) and is_text(b.type) and pa.types.is_temporal(a.type):
            b = temporal_literal(b.as_py(), a.type)
            return (b, a) if flipped else (a, b)
    return left, right


def temporal_literal(text: str | None, type_: pa.DataType) -> pa.Scalar:
    """``"2024-05-01"`` as a date, a timestamp, ...: raises ValueError, naming the text."""
    try:
        if pa.types.is_timestamp(type_):
            naive = pa.scalar(text).cast(pa.timestamp(type_.unit)) if text is not None else None
            if naive is None or type_.tz is None:
                return pa.scalar(None, type_) if naive is None else naive
            return pc.assume_timezone(naive, type_.tz)
        return pa.scalar(text, pa.string()).cast(type_)
    except pa.ArrowException as error:
        raise ValueError(f"{text!r} cannot be read as {type_}, with which it is compared: {error}") from None


def _combine(operation: Operation, left: Value, right: Value) -> Value:
    sides = []
    for side in (left, right):
        if pa.types.is_null(side.type):
            side = side.cast(pa.bool_())
        if not pa.types.is_boolean(side.type):
            raise TypeError(
                f"'{operation.symbol}' combines conditions, but an operand is of type {side.type}. It binds stronger "
                f"than comparisons: write (col('a') > 1) {operation.symbol} (col('b') < 2), with the parentheses"
            )
        sides.append(side)
    kernel = {Operation.AND: pc.and_kleene, Operation.OR: pc.or_kleene, Operation.XOR: pc.xor}[operation]
    return kernel(*sides)


def _add(left: Value, right: Value) -> Value:
    if is_text(left.type) or is_text(right.type):
        for side in (left, right):
            if not is_text(side.type) and not pa.types.is_null(side.type):
                raise TypeError(
                    f"'+' joins strings, but one operand is of type {side.type}: cast it first, with .cast('string')"
                )
        return pc.binary_join_element_wise(left, right, "")
    return pc.add(_number(left), _number(right))


def _number(value: Value) -> Value:
    return value.cast(pa.int64()) if pa.types.is_boolean(value.type) else value


def _as_float(value: Value) -> Value:
    return pc.cast(value, pa.float64(), safe=False)


def _nonzero(value: Value) -> Value:
    """Zeros as nulls, so that nothing is divided by them."""
    return pc.if_else(pc.equal(value, pa.scalar(0).cast(value.type)), pa.scalar(None, value.type), value)


def _divide(left: Value, right: Value) -> Value:
    left, right = _number(left), _number(right)
    if pa.types.is_integer(left.type) and pa.types.is_integer(right.type):
        return pc.divide(_as_float(left), _as_float(right))
    if pa.types.is_decimal(right.type) or (pa.types.is_duration(left.type) and pa.types.is_integer(right.type)):
        right = _nonzero(right)
    return pc.divide(left, right)


def _floor_and_rest(left: Value, right: Value) -> tuple[Value, Value]:
    """Of integers: the quotient rounded down, and the rest, which has the divisor's sign. By zero: null."""
    right = _nonzero(right)
    quotient = pc.divide(left, right)
    rest = pc.subtract(left, pc.multiply(quotient, right))
    zero = pa.scalar(0)
    wrong = pc.and_(pc.not_equal(rest, zero), pc.xor(pc.less(rest, zero), pc.less(right, zero)))
    quotient = pc.if_else(wrong, pc.subtract(quotient, pa.scalar(1).cast(quotient.type)), quotient)
    return quotient, pc.if_else(wrong, pc.add(rest, right), rest)


def _floor_divide(left: Value, right: Value) -> Value:
    left, right = _number(left), _number(right)
    if pa.types.is_integer(left.type) and pa.types.is_integer(right.type):
        return _floor_and_rest(left, right)[0]
    return _with_numpy(np.floor_divide, _as_float(left), _as_float(right))


def _modulo(left: Value, right: Value) -> Value:
    left, right = _number(left), _number(right)
    if pa.types.is_integer(left.type) and pa.types.is_integer(right.type):
        return _floor_and_rest(left, right)[1]
    return _with_numpy(np.mod, _as_float(left), _as_float(right))


def _with_numpy(function: Callable[..., Any], left: Value, right: Value) -> Value:
    """A numpy function of two float values, where Arrow has no kernel. Nulls stay nulls."""
    if isinstance(left, pa.Scalar) and isinstance(right, pa.Scalar):
        return _with_numpy(function, pa.array([left.as_py()], left.type), right)[0]
    sides = [
        (np.nan if side.as_py() is None else side.as_py())
        if isinstance(side, pa.Scalar)
        else one_array(side).to_numpy(zero_copy_only=False)
        for side in (left, right)
    ]
    with np.errstate(all="ignore"):
        result = pa.array(function(*sides))
    valid = [pa.scalar(s.is_valid) if isinstance(s, pa.Scalar) else one_array(s.is_valid()) for s in (left, right)]
    return pc.if_else(pc.and_(*valid), result, pa.scalar(None, result.type))


def _power(left: Value, right: Value) -> Value:
    left, right = _number(left), _number(right)
    if isinstance(right, pa.Scalar) and pa.types.is_integer(right.type) and right.is_valid and right.as_py() < 0:
        left = _as_float(left)
    return pc.power(left, right)


_ARITHMETIC: dict[Operation, Callable[[Value, Value], Value]] = {
    Operation.ADD: _add,
    Operation.SUB: lambda left, right: pc.subtract(_number(left), _number(right)),
    Operation.MUL: lambda left, right: pc.multiply(_number(left), _number(right)),
    Operation.DIV: _divide,
    Operation.MOD: _modulo,
    Operation.FLOORDIV: _floor_divide,
    Operation.POW: _power,
}
LOWERED: dict[Operation, Callable[[pc.Expression, pc.Expression], pc.Expression]] = {
    # Operators that mean the same in a scan, whatever the types. Arithmetic stays with us: what a scan prunes
    # files and row groups by are comparisons of columns with constants.
    **_COMPARISONS,
    Operation.AND: operator.and_,
    Operation.OR: operator.or_,
}


# --- unary operators ---


def unary(operation: Operation, value: Value) -> Value:
    """``~``, ``-``, ``is_null``, ``is_not_null``."""
    if operation is Operation.IS_NULL:
        return pc.is_null(value)
    if operation is Operation.IS_NOT_NULL:
        return pc.is_valid(value)
    if operation is Operation.NEG:
        return pc.negate(_number(value))
    if pa.types.is_null(value.type):
        return value.cast(pa.bool_())
    if not pa.types.is_boolean(value.type):
        raise TypeError(f"'~' negates conditions, but its operand is of type {value.type}. Use '-' for numbers")
    return pc.invert(value)


# --- named functions ---


@dataclass(frozen=True, slots=True)
class Function:
    """``compute(*values, **options)``; ``lower`` does the same with expressions of a scan, where that is possible.
    ``total``: gives a result for every value, so it may be applied to rows that a filter would take away."""

    compute: Callable[..., Value]
    lower: Callable[..., pc.Expression] | None = None
    total: bool = True


def contains_any(value: Value, *, values: tuple[Any, ...]) -> Value:
    """Whether each value is among ``values``. Null is, only if ``values`` has None."""
    value = plain(value)
    try:
        known = pa.array(list(values), type=value.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        known = pa.array(list(values))
        if pa.types.is_temporal(value.type) and is_text(known.type):
            known = pa.array([temporal_literal(v, value.type).as_py() for v in values], type=value.type)
        elif pa.types.is_integer(value.type) and pa.types.is_floating(known.type):
            value = _as_float(value)
    return pc.is_in(value, value_set=known)


def _fill_null(value: Value, fallback: Value) -> Value:
    value, fallback = plain(value), plain(fallback)
    if pa.types.is_temporal(value.type) and isinstance(fallback, pa.Scalar) and is_text(fallback.type):
        fallback = temporal_literal(fallback.as_py(), value.type)
    return pc.coalesce(value, fallback)


def _cast(value: Value, *, target_type: pa.DataType, safe: bool = True) -> Value:
    return pc.cast(plain(value), target_type, safe=safe)


def _logarithm(value: Value, *, base: float) -> Value:
    return pc.logb(_as_float(value), pa.scalar(float(base)))


def _clip(value: Value, *, lower: Any, upper: Any) -> Value:
    known = pc.is_valid(value)
    result = value
    if lower is not None:
        result = pc.max_element_wise(result, pa.scalar(lower))
    if upper is not None:
        result = pc.min_element_wise(result, pa.scalar(upper))
    return pc.if_else(known, result, pa.scalar(None, result.type))  # the kernels leave nulls out


def _stable_hash(value: Value) -> Value:
    import pandas as pd

    if isinstance(value, pa.Scalar):
        return _stable_hash(pa.array([value.as_py()], value.type))[0]
    array = one_array(plain(value))
    kind = pa.types
    if kind.is_temporal(array.type):
        width = 32 if kind.is_date32(array.type) or kind.is_time32(array.type) else 64
        array = array.view(pa.int32() if width == 32 else pa.int64())
    valid = array.is_valid()
    if kind.is_integer(array.type) or kind.is_floating(array.type) or kind.is_boolean(array.type):
        numbers = array.fill_null(False if kind.is_boolean(array.type) else 0).to_numpy(zero_copy_only=False)
        if numbers.dtype.kind == "f":
            numbers = numbers.astype(np.float64) + 0.0  # one zero, one width
        elif numbers.dtype.kind in "ib":
            numbers = numbers.astype(np.int64)
        hashes = pa.array(pd.util.hash_array(numbers))
    elif is_text(array.type) or kind.is_binary(array.type) or kind.is_large_binary(array.type):
        codes = array.dictionary_encode()
        texts = codes.dictionary.to_numpy(zero_copy_only=False)
        hashes = pa.array(pd.util.hash_array(texts, categorize=False), pa.uint64()).take(codes.indices)
    else:
        raise TypeError(f"hash() is for numbers, strings, bytes, dates and times, not for {array.type}")
    return pc.if_else(valid, hashes, pa.scalar(None, pa.uint64()))


def kernel(function: Callable[..., Any], *, total: bool = True) -> Function:
    """A pyarrow.compute function, which takes expressions of a scan just so."""

    def compute(*values: Value, **options: Any) -> Value:
        return function(*[plain(v) for v in values], **options)

    return Function(compute, function, total)


def _is_in_lowered(value: pc.Expression, *, values: tuple[Any, ...]) -> pc.Expression:
    return value.isin(pa.array(list(values)))


BASIC: dict[str, Function] = {
    "is_in": Function(contains_any, _is_in_lowered),
    "fill_null": Function(_fill_null),
    "cast": Function(_cast, total=False),
    "coalesce": kernel(pc.coalesce),
    "least": kernel(pc.min_element_wise),
    "greatest": kernel(pc.max_element_wise),
    "clip": Function(_clip),
    "hash": Function(_stable_hash, total=False),
    "is_nan": kernel(pc.is_nan),
    "is_finite": kernel(pc.is_finite),
    "log": Function(_logarithm),
    "negate": Function(lambda value: unary(Operation.NEG, value)),
}
BASIC.update(
    (name, Function(kernel(getattr(pc, name)).compute))
    for name in (
        "abs", "sign", "floor", "ceil", "trunc", "round", "sqrt", "exp", "ln", "log10", "log2", "log1p", "sin", "cos", "tan",
        "asin", "acos", "atan", "atan2",
    )
)  # fmt: skip
