"""Python values with arrays as bytes, and back, without pickle: what may come from a network or a file of somebody else.

    b"AKV1" | length of header, 8 bytes | header, JSON | arrays, one after the other

The header is the value with every array replaced by `{"!": "a", dtype, shape, offset}`. Dicts with keys other than
strings, tuples, bytes, sets, NumPy numbers and special floats have marks of their own. Nothing in it can name code: the
reader makes arrays of numbers and plain Python values, whatever the bytes are.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np

MAGIC = b"AKV1"
_MAX_DEPTH = 64


class CodecError(ValueError):
    """The value cannot be written without pickle, or the bytes are not such a value."""


def encode(value: Any) -> bytes:
    """Bytes of a value made of dicts, lists, tuples, sets, strings, bytes, numbers, None and NumPy arrays.

    Raises:
        CodecError: There is something else in it; the message says what.
    """
    parts: list[bytes] = []
    header = json.dumps(_Writer(parts).node(value, 0), separators=(",", ":")).encode()
    return b"".join([MAGIC, struct.pack("<Q", len(header)), header, *parts])


def decode(data: bytes | bytearray | memoryview) -> Any:
    """The value of `encode`. Arrays are copies of their own, so they can be written to.

    Raises:
        CodecError: The bytes are not what `encode` makes, or are cut short.
    """
    view = memoryview(data)
    if len(view) < 12 or bytes(view[:4]) != MAGIC:
        raise CodecError("these bytes are no encoded value (they do not begin with AKV1)")
    (length,) = struct.unpack("<Q", view[4:12])
    if length > len(view) - 12:
        raise CodecError(
            f"the bytes are cut short: a header of {length} bytes was announced and {len(view) - 12} are there"
        )
    try:
        header = json.loads(bytes(view[12 : 12 + length]))
        return _read(header, view[12 + length :], 0)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, CodecError):
            raise
        raise CodecError(f"the header of these bytes is broken: {error}") from None


class _Writer:
    """Collects the bytes of arrays while it turns a value into JSON."""

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts
        self._offset = 0

    def _raw(self, data: bytes) -> int:
        offset = self._offset
        self._parts.append(data)
        self._offset += len(data)
        return offset

    def node(self, value: Any, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise CodecError(f"the value is nested deeper than {_MAX_DEPTH} levels")
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, (np.ndarray, np.generic)):
            return self._array(value)
        if isinstance(value, int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"!": "f", "v": repr(value)}
        if isinstance(value, (bytes, bytearray)):
            return {"!": "b", "n": len(value), "o": self._raw(bytes(value))}
        if isinstance(value, dict):
            return self._dict(value, depth)
        if isinstance(value, list):
            return [self.node(item, depth + 1) for item in value]
        if isinstance(value, (tuple, set, frozenset)):
            mark = "t" if isinstance(value, tuple) else "s"
            return {"!": mark, "v": [self.node(item, depth + 1) for item in value]}
        raise CodecError(
            f"a value of type {type(value).__name__} cannot be sent: {repr(value)[:80]}; "
            "use numbers, strings, lists, tuples, dicts and arrays"
        )

    def _dict(self, value: dict[Any, Any], depth: int) -> Any:
        if all(isinstance(key, str) for key in value) and "!" not in value:
            return {key: self.node(item, depth + 1) for key, item in value.items()}
        return {"!": "d", "v": [[self.node(key, depth + 1), self.node(item, depth + 1)] for key, item in value.items()]}

    def _array(self, value: Any) -> Any:
        scalar = isinstance(value, np.generic)
        array = np.asarray(value)
        if array.dtype == object:
            if array.ndim != 1:
                raise CodecError(f"an array of Python objects with {array.ndim} dimensions cannot be sent")
            return {"!": "o", "v": [self.node(item, 0) for item in array]}
        if array.dtype.kind not in "biufcSU":
            raise CodecError(f"an array of type {array.dtype} cannot be sent")
        node = {"!": "a", "d": array.dtype.str, "s": list(array.shape), "o": self._raw(array.tobytes())}
        if scalar:
            node["g"] = 1
        return node


def _read(node: Any, data: memoryview, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise CodecError(f"the value is nested deeper than {_MAX_DEPTH} levels")
    if isinstance(node, list):
        return [_read(item, data, depth + 1) for item in node]
    if not isinstance(node, dict):
        return node
    mark = node.get("!")
    if mark is None:
        return {key: _read(item, data, depth + 1) for key, item in node.items()}
    if mark == "a":
        return _read_array(node, data)
    if mark == "b":
        return bytes(_part(data, node["o"], node["n"]))
    if mark == "f":
        return float(node["v"])
    items = node["v"]
    if mark == "d":
        return {_read(key, data, depth + 1): _read(item, data, depth + 1) for key, item in items}
    values = [_read(item, data, depth + 1) for item in items]
    if mark == "t":
        return tuple(values)
    if mark == "s":
        return set(values)
    if mark == "o":
        out: np.ndarray = np.empty(len(values), dtype=object)
        for index, value in enumerate(values):
            out[index] = value
        return out
    raise CodecError(f"unknown mark {mark!r}")


def _read_array(node: dict[str, Any], data: memoryview) -> Any:
    dtype = np.dtype(node["d"])
    if dtype.kind not in "biufcSU" or dtype.hasobject:
        raise CodecError(f"an array of type {dtype} is not allowed")
    shape = tuple(int(size) for size in node["s"])
    if any(size < 0 for size in shape):
        raise CodecError(f"an array cannot have the shape {shape}")
    raw = _part(data, node["o"], math.prod(shape) * dtype.itemsize)
    array = np.frombuffer(raw, dtype=dtype).reshape(shape).copy() if raw.nbytes else np.zeros(shape, dtype)
    return array[()] if node.get("g") else array


def _part(data: memoryview, offset: int, size: int) -> memoryview:
    if offset < 0 or size < 0 or offset + size > len(data):
        raise CodecError(f"the bytes are cut short: {size} at {offset} were announced and there are {len(data)}")
    return data[offset : offset + size]
