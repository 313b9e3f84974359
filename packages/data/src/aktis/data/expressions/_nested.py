"""What ``.list``, ``.struct``, ``.map`` and ``.arr`` do to Arrow values: on the flat elements, never row by row."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aktis.data.expressions._functions import Function, Value, kernel, one_array
from aktis.data.expressions._types import is_list

Integers: TypeAlias = Any  # an array of int64


def _lists(value: Value, method: str) -> Any:
    """As a list array (or large list array) in one piece."""
    if isinstance(value, pa.Scalar):
        value = pa.repeat(value, 1)
    array = one_array(value)
    if pa.types.is_fixed_size_list(array.type):
        array = array.cast(pa.list_(array.type.value_type))
    if not is_list(array.type):
        raise TypeError(f"{method} is for lists, not for {array.type}")
    return array


def _lengths(array: Any) -> Integers:
    """Of each list; 0 for null."""
    return pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)


def _offsets(lengths: Integers) -> Integers:
    return np.concatenate(([0], np.cumsum(lengths)))


def _build(lengths: Integers, values: pa.Array, valid: pa.Array) -> pa.Array:
    """Lists of these lengths over the values."""
    offsets = _offsets(lengths)
    mask = pc.invert(valid)
    if offsets[-1] < 2**31:
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=mask)
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), values, mask=mask)


def _parts(array: Any) -> tuple[Integers, pa.Array, Integers]:
    """Lengths, flat elements, and of each element the number of its list."""
    lengths = _lengths(array)
    return lengths, pc.list_flatten(array), np.repeat(np.arange(len(lengths)), lengths)


def _list_get(value: Value, *, index: int) -> Value:
    lengths, flat, _ = _parts(_lists(value, "list.get()"))
    at = lengths + index if index < 0 else np.full(len(lengths), index, np.int64)
    there = (at >= 0) & (at < lengths)
    places = pa.array(_offsets(lengths)[:-1] + at, mask=~there)
    return flat.take(places)


def _list_slice(value: Value, *, start: int = 0, stop: int | None = None, step: int = 1) -> Value:
    if step < 1:
        raise ValueError(f"The step of a slice of lists is 1 or more, not {step}")
    array = _lists(value, "list.slice()")
    lengths, flat, _ = _parts(array)
    first = np.clip(lengths + start if start < 0 else start, 0, lengths)
    last = lengths if stop is None else np.clip(lengths + stop if stop < 0 else stop, 0, lengths)
    counts = np.maximum(0, -((first - last) // step))
    within = np.arange(counts.sum()) - np.repeat(_offsets(counts)[:-1], counts)
    places = np.repeat(_offsets(lengths)[:-1] + first, counts) + within * step
    return _build(counts, flat.take(pa.array(places)), array.is_valid())


def _list_aggregate(function: str) -> Function:
    def compute(value: Value) -> Value:
        return _aggregate(_lists(value, f"list.{function}()"), function)

    return Function(compute)


def _aggregate(array: Any, function: str) -> pa.Array:
    lengths, flat, parents = _parts(array)
    groups = pa.table({"list": parents, "value": flat}).group_by("list").aggregate([("value", function)])
    found = one_array(groups.column(f"value_{function}"))
    places: Integers = np.full(len(lengths), -1, np.int64)
    places[groups.column("list").to_numpy()] = np.arange(len(found))
    result = found.take(pa.array(places, mask=places < 0))
    if function == "sum":
        result = pc.if_else(array.is_valid(), result.fill_null(0), pa.scalar(None, result.type))
    return result


def _list_flatten(value: Value) -> Value:
    outer = _lists(value, "list.flatten()")
    if not is_list(outer.type.value_type):
        raise TypeError(f"list.flatten() is for lists of lists, not for {outer.type}")
    inner = _lists(pc.list_flatten(outer), "list.flatten()")
    total = np.diff(_offsets(_lengths(inner))[_offsets(_lengths(outer))])
    return _build(total, pc.list_flatten(inner), outer.is_valid())


def _list_contains(value: Value, wanted: Value) -> Value:
    array = _lists(value, "list.contains()")
    if not isinstance(wanted, pa.Scalar):
        raise TypeError("list.contains() takes a constant")
    _, flat, parents = _parts(array)
    found: Any = np.zeros(len(array), bool)
    hits = pc.equal(flat, wanted).fill_null(False).to_numpy(zero_copy_only=False)
    found[parents[hits]] = True
    return pc.if_else(array.is_valid(), pa.array(found), pa.scalar(None, pa.bool_()))


def _list_unique(value: Value) -> Value:
    array = _lists(value, "list.unique()")
    lengths, flat, parents = _parts(array)
    groups = pa.table({"list": parents, "value": flat}).group_by(["list", "value"], use_threads=False).aggregate([])
    counts = np.bincount(groups.column("list").to_numpy(), minlength=len(lengths)).astype(np.int64)
    return _build(counts, one_array(groups.column("value")), array.is_valid())


def _list_sort(value: Value, *, order: str, null_placement: str) -> Value:
    array = _lists(value, "list.sort()")
    lengths, flat, parents = _parts(array)
    by_value = pc.sort_indices(pa.table({"value": flat}), sort_keys=[("value", order)]).to_numpy()  # nulls at the end
    if null_placement == "at_start":
        null = flat.is_null().to_numpy(zero_copy_only=False)[by_value]
        by_value = np.concatenate((by_value[null], by_value[~null]))
    stable = by_value[np.argsort(parents[by_value], kind="stable")]
    return _build(lengths, flat.take(pa.array(stable)), array.is_valid())


def _list_join(value: Value, *, separator: str = "") -> Value:
    return pc.binary_join(_lists(value, "list.join()"), separator)


# --- structs and maps ---


def _field(value: Value, key: str | int) -> Value:
    if not pa.types.is_struct(value.type):
        raise TypeError(f"struct.field() is for structs, not for {value.type}")
    names = [value.type.field(i).name for i in range(value.type.num_fields)]
    if key not in names and not (isinstance(key, int) and -len(names) <= key < len(names)):
        raise ValueError(f"The struct has no field {key!r}: its fields are {names}")
    index = names.index(key) if isinstance(key, str) else key % len(names)
    return pc.struct_field(value, [index])


def _maps(value: Value, method: str) -> Any:
    array = one_array(pa.repeat(value, 1) if isinstance(value, pa.Scalar) else value)
    kind = array.type
    if pa.types.is_map(kind):
        entries = pa.StructArray.from_arrays([array.keys, array.items], ["key", "value"])
        starts = array.offsets.to_numpy().astype(np.int64)
        return pa.ListArray.from_arrays(pa.array(starts, pa.int32()), entries, mask=array.is_null())
    if is_list(kind) and pa.types.is_struct(kind.value_type) and kind.value_type.num_fields == 2:
        return _lists(array, method)
    raise TypeError(f"{method} is for maps (or lists of structs of key and value), not for {kind}")


def _map_part(which: int, name: str) -> Function:
    def compute(value: Value) -> Value:
        array = _maps(value, f"map.{name}()")
        return _build(_lengths(array), pc.struct_field(pc.list_flatten(array), [which]), array.is_valid())

    return Function(compute)


def _map_get(value: Value, *, key: Any) -> Value:
    array = _maps(value, "map.get()")
    _, entries, parents = _parts(array)
    hits = pc.equal(pc.struct_field(entries, [0]), pa.scalar(key)).fill_null(False).to_numpy(zero_copy_only=False)
    places: Integers = np.full(len(array), -1, np.int64)
    places[parents[hits]] = np.flatnonzero(hits)  # the last entry of a key counts, as in a dict
    return pc.struct_field(entries, [1]).take(pa.array(places, mask=places < 0))


def _map_len(value: Value) -> Value:
    return pc.list_value_length(_maps(value, "map.len()"))


# --- tensors ---


def _tensor(value: Value, method: str) -> tuple[Any, list[tuple[int, ...] | None]]:
    """The elements of each array as lists, and each array's shape."""
    array = one_array(pa.repeat(value, 1) if isinstance(value, pa.Scalar) else value)
    kind = array.type
    if isinstance(kind, pa.ExtensionType) or hasattr(kind, "storage_type"):
        storage = array.storage
        if pa.types.is_fixed_size_list(storage.type):
            shape = tuple(getattr(kind, "shape", (storage.type.list_size,)))
            return _lists(storage, method), [shape if valid else None for valid in storage.is_valid().to_pylist()]
        if pa.types.is_struct(storage.type) and {"data", "shape"} <= {f.name for f in storage.type}:
            shapes = pc.struct_field(storage, "shape").to_pylist()
            return _lists(pc.struct_field(storage, "data"), method), [s if s is None else tuple(s) for s in shapes]
    if is_list(kind):
        lists = _lists(array, method)
        lengths = pc.list_value_length(lists).to_pylist()
        return lists, [None if n is None else (n,) for n in lengths]
    raise TypeError(f"{method} is for tensors and lists, not for {kind}")


def _array_aggregate(function: str) -> Function:
    return Function(lambda value: _aggregate(_tensor(value, f"arr.{function}()")[0], function))


def _array_shape(value: Value) -> Value:
    return pa.array(_tensor(value, "arr.shape()")[1], pa.list_(pa.int64()))


def _array_ndim(value: Value) -> Value:
    return pa.array([None if s is None else len(s) for s in _tensor(value, "arr.ndim()")[1]], pa.int64())


def _array_reshape(value: Value, *, shape: tuple[int, ...]) -> Value:
    lists, _ = _tensor(value, "arr.reshape()")
    if lists.null_count:
        raise ValueError(f"arr.reshape(): {lists.null_count} rows are null, and have no array to reshape")
    flat = pc.list_flatten(lists).to_numpy(zero_copy_only=False)
    sizes = np.unique(_lengths(lists))
    if len(sizes) > 1:
        raise ValueError(f"arr.reshape(): rows have arrays of different sizes ({sizes[:5].tolist()} ...)")
    wanted = tuple(shape)
    if len(lists) == 0:
        wanted = tuple(abs(n) for n in wanted)
        return pa.array([], pa.fixed_shape_tensor(lists.type.value_type, wanted))
    try:
        reshaped = flat.reshape((len(lists), *wanted))
    except ValueError:
        raise ValueError(f"arr.reshape(): arrays of {sizes[0]} elements cannot take the shape {wanted}") from None
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(reshaped))


NESTED: dict[str, Function] = {
    "list.len": kernel(pc.list_value_length),
    "list.get": Function(_list_get),
    "list.slice": Function(_list_slice),
    "list.flatten": Function(_list_flatten),
    "list.sum": _list_aggregate("sum"),
    "list.min": _list_aggregate("min"),
    "list.max": _list_aggregate("max"),
    "list.mean": _list_aggregate("mean"),
    "list.contains": Function(_list_contains),
    "list.unique": Function(_list_unique),
    "list.sort": Function(_list_sort),
    "list.join": Function(_list_join),
    "struct.field": Function(lambda value, *, field_name: _field(value, field_name)),
    "struct.field_by_index": Function(lambda value, *, index: _field(value, index)),
    "map.keys": _map_part(0, "keys"),
    "map.values": _map_part(1, "values"),
    "map.get": Function(_map_get),
    "map.len": Function(_map_len),
    "arr.to_list": Function(lambda value: _tensor(value, "arr.to_list()")[0]),
    "arr.flatten": Function(lambda value: _tensor(value, "arr.flatten()")[0]),
    "arr.shape": Function(_array_shape),
    "arr.ndim": Function(_array_ndim),
    "arr.size": Function(lambda value: pc.list_value_length(_tensor(value, "arr.size()")[0])),
    "arr.sum": _array_aggregate("sum"),
    "arr.mean": _array_aggregate("mean"),
    "arr.min": _array_aggregate("min"),
    "arr.max": _array_aggregate("max"),
    "arr.reshape": Function(_array_reshape, total=False),
}
