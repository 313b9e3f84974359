"""Whatever Python values there are, they come back as what they were."""

from __future__ import annotations

import io
import json
import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aktis.air._checkpoint import arrays
from aktis.air._checkpoint.codec import Decoder, Encoder, Parts
from aktis.air.checkpoint import Checkpoint

KEYS = st.one_of(
    st.text(max_size=5), st.integers(), st.booleans(), st.none(), st.tuples(st.integers(), st.text(max_size=2))
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([(1 << 3999) - 1, 1 << 3999, 1 << 4000, -(1 << 4100)]),
    st.floats(),
    st.complex_numbers(allow_nan=False),
    st.text(max_size=10),
    st.just("$"),
    st.binary(max_size=20),
    st.sampled_from([b"x" * 1024, b"x" * 1025]),
    st.binary(max_size=5).map(bytearray),
    st.frozensets(st.integers()),
    st.sampled_from(
        [np.float32(1.5), np.int64(-1), np.uint8(255), np.float64("nan"), np.bool_(False), np.complex64(1j)]
    ),
    st.sampled_from([np.arange(3), np.zeros((2, 0)), np.array(1.5), np.array(["x", "yz"]), np.ones(2, ">f4")]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.dictionaries(st.sampled_from(["$", "a"]), inner, max_size=2),
        st.lists(st.tuples(KEYS, inner), max_size=3).map(OrderedDict),
    ),
    max_leaves=20,
)


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, (float, np.floating)):
        return (math.isnan(one) and math.isnan(other)) or (
            one == other and math.copysign(1, one) == math.copysign(1, other)
        )
    if isinstance(one, dict):
        pairs, others = list(one.items()), list(other.items())
        return len(pairs) == len(others) and all(same(k, ok) and same(v, ov) for (k, v), (ok, ov) in zip(pairs, others))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES)
def test_values_come_back(value: Any) -> None:
    parts = Parts()
    tree = json.loads(json.dumps(Encoder(parts).encode(value), allow_nan=False))
    assert parts.objects == []
    buffer = io.BytesIO()
    arrays.write(buffer, parts.arrays)
    from safetensors.numpy import load

    loaded = load(buffer.getvalue())
    assert same(Decoder(lambda framework, name: loaded[name]).decode(tree), value)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4))
def test_without_arrays_and_objects_there_is_json_alone(value: dict[Any, Any]) -> None:
    json.dumps(Encoder(None).encode(value), allow_nan=False)


def test_enormous_integers() -> None:
    value = {"v": -(1 << 100_000), 1 << 100_000: [1]}
    assert Decoder().decode(json.loads(json.dumps(Encoder(None).encode(value)))) == value


class IntLike(int):
    pass


class DictLike(dict):  # type: ignore[type-arg]
    pass


@pytest.mark.parametrize("value", [IntLike(3), DictLike(a=1), type("Text", (str,), {"__module__": __name__})])
def test_subclasses_are_not_taken_for_their_base(value: Any) -> None:
    parts = Parts()
    assert Encoder(parts).encode(value) == {"$": "pickle", "i": 0}
    assert parts.objects == [value]
    assert Encoder(None).encode(value) == str(value)


def test_what_is_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match="'quaternion' are unknown"):
        Decoder().decode({"$": "quaternion"})


def test_big_arrays_are_aligned(tmp_path: Path) -> None:
    values = {
        "bytes": b"x" * 2001,
        "half": np.ones(3, np.float16),
        "wide": np.arange(5, dtype=np.int64),
        "flag": np.ones(1, bool),
    }
    path = Checkpoint.from_dict(values).to_directory(tmp_path / "x")
    raw = Path(path, ".aktis_checkpoint", "data.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    assert (8 + length) % 8 == 0
    for entry in header.values():
        width = {"U8": 1, "F16": 2, "I64": 8, "BOOL": 1}[entry["dtype"]]
        assert entry["data_offsets"][0] % width == 0
