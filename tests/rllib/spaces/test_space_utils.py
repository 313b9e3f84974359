"""Values of spaces: from the policy's range to the environment's, from one to many, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tree
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from tests.rllib.spaces.strategies import action_spaces

from aktis.rllib.utils.spaces import space_utils as u
from aktis.rllib.utils.spaces.flexdict import FlexDict
from aktis.rllib.utils.spaces.repeated import Repeated
from aktis.rllib.utils.spaces.simplex import Simplex


@given(action_spaces, st.integers(0, 2**31))
def test_normalize_and_unsquash_are_inverse(space: Any, seed: int) -> None:
    space.seed(seed)
    action = space.sample()
    struct = u.get_base_struct_from_space(space)
    normal = u.normalize_action(action, struct)
    for leaf, part in zip(tree.flatten(normal), u.flatten_space(space)):
        if isinstance(part, spaces.Box) and part.dtype.kind == "f":
            assert np.all(np.abs(leaf) <= 1.0 + 1e-6)
        if isinstance(part, spaces.Discrete):
            assert 0 <= leaf < part.n
    back = u.unsquash_action(normal, struct)
    tree.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
        tree.map_structure(np.asarray, _plain(action)),
        tree.map_structure(np.asarray, _plain(back)),
    )


@given(action_spaces, st.integers(0, 2**31), st.integers(1, 4))
def test_batch_and_unbatch_are_inverse(space: Any, seed: int, count: int) -> None:
    space.seed(seed)
    samples = [space.sample() for _ in range(count)]
    back = u.unbatch(u.batch(samples))
    assert len(back) == count
    for one, other in zip(samples, back):
        for a, b in zip(tree.flatten(one), tree.flatten(other)):
            np.testing.assert_array_equal(a, b)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value


def test_unsquash() -> None:
    box = spaces.Box(np.array([1.0, -2.0], np.float32), np.array([3.0, 2.0], np.float32))
    np.testing.assert_allclose(u.unsquash_action(np.array([-1.0, 0.5]), box), [1.0, 1.0])
    np.testing.assert_allclose(u.unsquash_action(np.array([-7.0, 7.0]), box), [1.0, 2.0])  # never out of bounds
    batch = u.unsquash_action(np.array([[-1.0, -1.0], [1.0, 1.0]], np.float32), box)
    np.testing.assert_allclose(batch, [[1.0, -2.0], [3.0, 2.0]])
    assert batch.dtype == np.float32
    half = spaces.Box(-np.inf, 3, (2,), np.float32)
    np.testing.assert_allclose(u.unsquash_action(np.array([-1.0, 0.5]), half), [-1.0, 0.5])
    np.testing.assert_array_equal(u.unsquash_action(np.array([0, 2]), spaces.Box(1, 3, (2,), np.int32)), [1, 3])
    assert u.unsquash_action(1, spaces.Discrete(3)) == 1
    assert u.unsquash_action(1, spaces.Discrete(3, start=2)) == 3
    pair = u.unsquash_action((np.array([1.0], np.float32), 0), (spaces.Box(0.0, 8.0, (1,)), spaces.Discrete(2)))
    assert pair[0] == 8.0 and pair[1] == 0


def test_clip() -> None:
    space = spaces.Dict(a=spaces.Box(-1, 1, (2,)), b=spaces.Discrete(3))
    clipped = u.clip_action({"a": np.array([-3.0, 0.5]), "b": 2}, u.get_base_struct_from_space(space))
    assert clipped["a"].tolist() == [-1.0, 0.5] and clipped["b"] == 2
    assert u.clip_action(np.array([[5.0, 0.0]]), space["a"]).tolist() == [[1.0, 0.0]]


def test_flatten() -> None:
    assert u.flatten_to_single_ndarray({"b": 1, "a": np.zeros((2, 3))}).tolist() == [0, 0, 0, 0, 0, 0, 1]
    same = np.arange(3)
    assert u.flatten_to_single_ndarray(same) is same
    space = spaces.Dict(b=spaces.Discrete(2), a=spaces.Tuple([spaces.Discrete(3), spaces.Discrete(4)]))
    assert [leaf.n for leaf in u.flatten_space(space)] == [3, 4, 2]
    assert tree.flatten({"b": 2, "a": (3, 4)}) == [3, 4, 2]  # in the same order


def test_dummy_batches() -> None:
    space = spaces.Dict(a=spaces.Discrete(2), b=spaces.Box(0, 1, (3,)))
    assert {k: v.shape for k, v in u.get_dummy_batch_for_space(space, 4).items()} == {"a": (4,), "b": (4, 3)}
    timed = u.get_dummy_batch_for_space(space["b"], 4, time_size=2)
    assert timed.shape == (4, 2, 3) and timed.dtype == np.float32
    assert u.get_dummy_batch_for_space(space["b"], 4, time_size=2, time_major=True).shape == (2, 4, 3)
    assert u.get_dummy_batch_for_space(space["b"], 0).shape == (3,)
    assert u.get_dummy_batch_for_space(space["a"], 4, one_hot_discrete=True).shape == (4, 2)
    drawn = u.get_dummy_batch_for_space(spaces.Discrete(5), 40, fill_value="random")
    assert drawn.dtype == np.int64 and len(set(drawn.tolist())) > 1


def test_convert_element() -> None:
    space = spaces.Dict(a=spaces.Box(-1, 1, (1,)), b=spaces.Discrete(3))
    got = u.convert_element_to_space_type({"a": 0.5, "b": np.int8(2)}, space.sample())
    assert got["a"].shape == (1,) and got["a"].dtype == np.float32 and space.contains(got)


def test_contains_takes_other_float_types() -> None:
    assert u.contains(spaces.Box(-1, 1, (2,)), np.array([0.5, 1.0], np.float64))
    assert not u.contains(spaces.Box(-1, 1, (2,)), np.array([0.5, 1.5], np.float64))


def test_original_space() -> None:
    inner = spaces.Discrete(3)
    outer = spaces.Box(0, 1, (3,))
    outer.original_space = inner
    assert u.get_original_space(outer) is inner and u.get_original_space(inner) is inner


# ---- spaces of our own


def test_repeated() -> None:
    space = Repeated(spaces.Discrete(3), 4, seed=1)
    assert all(space.contains(space.sample()) for _ in range(20))
    assert {len(space.sample()) for _ in range(50)} == {1, 2, 3, 4}
    assert space.contains([]) and not space.contains([0] * 5) and not space.contains([3]) and not space.contains(1)
    assert space == Repeated(spaces.Discrete(3), 4) != Repeated(spaces.Discrete(3), 5)
    first = Repeated(spaces.Discrete(30), 4, seed=1).sample()
    assert Repeated(spaces.Discrete(30), 4, seed=1).sample() == first
    with pytest.raises(ValueError, match="max_len=0"):
        Repeated(spaces.Discrete(3), 0)


def test_simplex() -> None:
    space = Simplex((2, 3), concentration=[1.0, 2.0, 3.0], seed=0)
    sample = space.sample()
    assert sample.shape == (2, 3) and sample.dtype == np.float32 and space.contains(sample)
    assert not space.contains(sample * 2) and not space.contains(-sample) and not space.contains(sample[0])
    again = space.from_jsonable(space.to_jsonable([sample]))[0]
    np.testing.assert_array_equal(again, sample)
    assert space == Simplex((2, 3), concentration=[1.0, 2.0, 3.0]) != Simplex((2, 3))
    assert Simplex(3).shape == (3,)
    with pytest.raises(ValueError, match="concentration"):
        Simplex((3,), concentration=[1.0])


def test_flexdict() -> None:
    space = FlexDict(a=spaces.Discrete(2))
    space["b"] = spaces.Box(0, 1, (2,))
    assert set(space.sample()) == {"a", "b"} and space.contains(space.sample())
    with pytest.raises(TypeError, match="'c'"):
        space["c"] = 3
