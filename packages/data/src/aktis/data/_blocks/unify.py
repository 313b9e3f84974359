"""Which type can hold the values of two others.

:func:`join` is the least upper bound in a lattice of types: associative, commutative and idempotent, so that the schema of a
data set does not depend on the order in which its blocks arrive. ``null`` is at the bottom, ``object`` above everything.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
from pyarrow import types as pat

from aktis.data._blocks.objects import OBJECT, is_object
from aktis.data._blocks.tensors import (
    ArrowVariableShapedTensorType,
    fixed_tensor_type,
    is_fixed_tensor,
    is_tensor,
    tensor_shape,
)

_SIGNED = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}
_UNSIGNED = {8: pa.uint8(), 16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64()}
_FLOATS = {16: pa.float16(), 32: pa.float32(), 64: pa.float64()}
_UNITS = ("s", "ms", "us", "ns")


class Incompatible(Exception):
    """No type holds the values of both."""


def join(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    """The narrowest type that both can be cast to. Raises Incompatible."""
    if a == b:
        return a
    if is_object(a) or is_object(b):
        return OBJECT
    if pat.is_null(a):
        return b
    if pat.is_null(b):
        return a
    if is_tensor(a) and is_tensor(b):
        return _tensors(a, b)
    if pat.is_dictionary(a) or pat.is_dictionary(b):
        return _dictionaries(a, b)
    for applies, combine in _FAMILIES:
        if applies(a) and applies(b):
            return combine(a, b)
    raise Incompatible


def join_items(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    """The same for rows of Python objects, which must come back as they were: 1 does not become 1.0."""
    if a == b:
        return a
    if pat.is_null(a):
        return b
    if pat.is_null(b):
        return a
    if pat.is_integer(a) and pat.is_integer(b):
        joined = _numbers(a, b)
        return joined if pat.is_integer(joined) else OBJECT
    if _is_string(a) and _is_string(b):
        return pa.large_string()
    if _is_binary(a) and _is_binary(b):
        return _binaries(a, b)
    return OBJECT


def _is_number(t: pa.DataType) -> bool:
    return bool(pat.is_integer(t) or pat.is_floating(t) or pat.is_decimal(t))


def _numbers(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    if pat.is_decimal(a) and pat.is_decimal(b):
        return _decimals(a, b)
    if pat.is_floating(a) and pat.is_floating(b):
        return _FLOATS[max(a.bit_width, b.bit_width)]
    if pat.is_integer(a) and pat.is_integer(b):
        if pat.is_signed_integer(a) == pat.is_signed_integer(b):
            return (_SIGNED if pat.is_signed_integer(a) else _UNSIGNED)[max(a.bit_width, b.bit_width)]
        signed, unsigned = (a, b) if pat.is_signed_integer(a) else (b, a)
        width = max(signed.bit_width, 2 * unsigned.bit_width)
        return _SIGNED.get(width, pa.float64())
    return pa.float64()


def _decimals(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    scale = max(a.scale, b.scale)
    precision = max(a.precision - a.scale, b.precision - b.scale) + scale
    if precision > 76:
        return pa.float64()
    if precision > 38 or max(a.bit_width, b.bit_width) == 256:
        return pa.decimal256(precision, scale)
    return pa.decimal128(precision, scale)


def _is_string(t: pa.DataType) -> bool:
    return bool(pat.is_string(t) or pat.is_large_string(t) or pat.is_string_view(t))


def _is_binary(t: pa.DataType) -> bool:
    return bool(pat.is_binary(t) or pat.is_large_binary(t) or pat.is_binary_view(t) or pat.is_fixed_size_binary(t))


def _binaries(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    small = all(pat.is_binary(t) or pat.is_fixed_size_binary(t) for t in (a, b))
    return pa.binary() if small else pa.large_binary()


def _is_moment(t: pa.DataType) -> bool:
    return bool(pat.is_timestamp(t) or pat.is_date(t))


def _moments(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    if pat.is_date(a) and pat.is_date(b):
        return pa.date64()
    if pat.is_date(a) or pat.is_date(b):
        stamp = b if pat.is_date(a) else a
        if stamp.tz is not None:
            raise Incompatible
        return stamp
    if (a.tz is None) != (b.tz is None):
        raise Incompatible
    return pa.timestamp(_finer(a, b), a.tz if a.tz == b.tz else "UTC")


def _finer(a: pa.DataType, b: pa.DataType) -> str:
    return _UNITS[max(_UNITS.index(a.unit), _UNITS.index(b.unit))]


def _times(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    unit = _finer(a, b)
    return pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)


def _durations(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    return pa.duration(_finer(a, b))


def _is_list(t: pa.DataType) -> bool:
    return bool(
        pat.is_list(t)
        or pat.is_large_list(t)
        or pat.is_fixed_size_list(t)
        or pat.is_list_view(t)
        or pat.is_large_list_view(t)
    )


def join_fields(a: pa.Field, b: pa.Field, name: str) -> pa.Field:
    """The field for children of nested types."""
    return pa.field(name, join(a.type, b.type), a.nullable or b.nullable)


def _lists(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    left, right = a.value_field, b.value_field
    child = join_fields(left, right, left.name if left.name == right.name else "item")
    if pat.is_fixed_size_list(a) and pat.is_fixed_size_list(b) and a.list_size == b.list_size:
        return pa.list_(child, a.list_size)
    for same, make in ((pat.is_large_list, pa.large_list), (pat.is_list_view, pa.list_view)):
        if same(a) and same(b):
            return make(child)
    small = all(pat.is_list(t) or pat.is_fixed_size_list(t) for t in (a, b))
    return pa.list_(child) if small else pa.large_list(child)


def _structs(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    left, right = {f.name: f for f in a}, {f.name: f for f in b}
    if len(left) < a.num_fields or len(right) < b.num_fields:  # the same name twice: cannot be told apart
        raise Incompatible
    names = list(left)
    if names != list(right):  # sorted, so that the order of blocks does not matter
        names = sorted({*left, *right})
    fields = []
    for name in names:
        if name in left and name in right:
            fields.append(join_fields(left[name], right[name], name))
        else:
            fields.append((left.get(name) or right[name]).with_nullable(True))
    return pa.struct(fields)


def _maps(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    return pa.map_(join_fields(a.key_field, b.key_field, "key"), join_fields(a.item_field, b.item_field, "value"))


def _dictionaries(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    values = [t.value_type if pat.is_dictionary(t) else t for t in (a, b)]
    joined = join(*values)
    if not (pat.is_dictionary(a) and pat.is_dictionary(b)):
        return joined
    return pa.dictionary(_indices(a.index_type, b.index_type), joined, a.ordered and b.ordered)


def _indices(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    if a == b:
        return a
    small = all(t.bit_width < 32 or t == pa.int32() for t in (a, b))
    return pa.int32() if small else pa.int64()


def _tensors(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    value_type = join(a.value_type, b.value_type)
    if is_fixed_tensor(a) and is_fixed_tensor(b) and tensor_shape(a) == tensor_shape(b):
        return fixed_tensor_type(value_type, tensor_shape(a))
    ndims = {len(t.shape) if is_fixed_tensor(t) else t.ndim for t in (a, b)}
    return ArrowVariableShapedTensorType(value_type, ndims.pop() if len(ndims) == 1 else None)


_Applies = Callable[[pa.DataType], bool]
_Combine = Callable[[pa.DataType, pa.DataType], pa.DataType]

_FAMILIES: list[tuple[_Applies, _Combine]] = [
    (_is_number, _numbers),
    (_is_string, lambda a, b: pa.large_string()),
    (_is_binary, _binaries),
    (_is_moment, _moments),
    (pat.is_time, _times),
    (pat.is_duration, _durations),
    (pat.is_map, _maps),
    (_is_list, _lists),
    (pat.is_struct, _structs),
]
