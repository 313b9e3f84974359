"""Values as bytes, without pickle."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.rllib.utils._codec import CodecError, decode, encode
from aktis.rllib.utils.compression import is_compressed, pack, unpack

arrays = st.sampled_from(["f4", "f8", "i8", "u1", "?", "c8", "U3"]).flatmap(
    lambda kind: st.lists(st.integers(0, 3), max_size=3).map(lambda shape: np.zeros(shape, kind))
)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | arrays
keys = st.text() | st.integers() | st.tuples(st.integers(), st.text())
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and one.shape == other.shape
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (one != one and other != other)


@settings(max_examples=50)
@given(values)
def test_there_and_back(value: Any) -> None:
    assert same(value, decode(encode(value)))
    assert same(value, unpack(pack(value)))


@given(st.binary(max_size=200), st.integers(0, 60), st.integers(0, 255))
def test_whatever_comes_is_a_value_or_an_error(noise: bytes, position: int, byte: int) -> None:
    good = bytearray(encode({"a": np.arange(6).reshape(2, 3), "b": (1, "x", b"y", 2.5), 3: [None, {"!": 1}]}))
    good[min(position, len(good) - 1)] = byte
    for data in (noise, bytes(good), bytes(good[:position]), b"AKV1" + noise):
        try:
            decode(data)
        except CodecError:
            pass


def test_nothing_is_unpickled_or_executed() -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (print, ("executed",))

    with pytest.raises(CodecError, match="type Trap cannot be sent"):
        encode({"a": Trap()})
    with pytest.raises(CodecError):
        decode(pickle.dumps(Trap()))
    with pytest.raises(CodecError, match="type Trap cannot be sent"):
        encode(np.array([Trap()], dtype=object))
    with pytest.raises(CodecError, match="nested deeper"):
        value: Any = 1
        for _ in range(100):
            value = [value]
        encode(value)
    with pytest.raises(CodecError, match="not allowed"):
        decode(encode(np.zeros(2)).replace(b'"<f8"', b'"|O8"'))


def test_numpy_numbers_stay_numbers() -> None:
    value = decode(encode({"n": np.float32(1.5), "nan": float("nan"), "inf": -float("inf")}))
    assert value["n"].dtype == np.float32 and value["n"] == 1.5
    assert value["nan"] != value["nan"] and value["inf"] == -float("inf")


def test_compressed_is_recognised() -> None:
    data = pack([1, 2])
    assert is_compressed(data) and not is_compressed(b"1234") and not is_compressed(np.zeros(3))
    with pytest.raises(CodecError, match="not compressed"):
        unpack(b"12345678")
