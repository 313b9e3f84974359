"""What is said of a value that is not in its space."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from tests.rllib.spaces.strategies import observation_spaces

from aktis.rllib.utils.spaces.explain import explain_mismatch
from aktis.rllib.utils.spaces.repeated import Repeated


@given(observation_spaces, st.integers(0, 2**31))
def test_nothing_of_what_is_in_the_space(space: Any, seed: int) -> None:
    space.seed(seed)
    assert explain_mismatch(space, space.sample()) is None


class Picky(spaces.Space[Any]):
    """A space whose check raises."""

    def contains(self, x: Any) -> bool:
        raise TypeError("a number, please")


BOX = spaces.Box(-1, 1, (2,))
CASES = [
    (BOX, np.zeros(3), r"shape \(2,\) is needed, and it is \(3,\)"),
    (BOX, np.array([0.0, 2.0]), r"2.0 at \[1\] is above the bound 1.0"),
    (BOX, np.array([-5.0, 0.0]), r"-5.0 at \[0\] is below the bound -1.0"),
    (BOX, np.array([np.nan, 0.0]), r"NaN at \[0\]"),
    (BOX, "x", "array of numbers is needed"),
    (BOX, None, "it is None"),
    (BOX, [[1], [1, 2]], "different lengths"),
    (spaces.Box(0, 255, (2,), np.uint8), np.zeros(2), "type uint8 is needed, and it is float64"),
    (spaces.Discrete(3), 3, "3 is not one of 0 to 2"),
    (spaces.Discrete(3, start=2), 1, "1 is not one of 2 to 4"),
    (spaces.Discrete(3), 1.0, "an integer is needed"),
    (spaces.Dict(a=BOX, b=BOX), {"a": np.zeros(2), "c": 1}, r"missing \['b'\], unknown \['c'\]"),
    (spaces.Dict(a=BOX), [1], "a dict with the keys"),
    (spaces.Dict(a=spaces.Tuple([BOX])), {"a": (np.zeros(3),)}, r"at \['a'\]\[0\]: shape \(2,\)"),
    (spaces.Tuple([BOX]), (1, 2), "a tuple of 1 is needed, and it has 2"),
    (spaces.Tuple([BOX]), 1, "a tuple is needed"),
    (Repeated(BOX, 2), [np.zeros(2)] * 3, "at most 2 elements"),
    (Repeated(BOX, 2), [np.zeros(2), np.zeros(1)], r"at \[1\]: shape"),
    (spaces.MultiDiscrete([2, 2]), np.array([5, 0]), "is not in MultiDiscrete"),
    (Picky(), "x", r"'x' is not in .*Picky.*\(TypeError: a number, please\)"),
]


@pytest.mark.parametrize(("space", "value", "message"), CASES)
def test_says_where_and_what(space: Any, value: Any, message: str) -> None:
    assert re.search(message, explain_mismatch(space, value) or "nothing")


def test_other_types_and_rounding_are_no_mistake() -> None:
    assert explain_mismatch(BOX, [0.5, 1.0]) is None
    assert explain_mismatch(BOX, np.array([1, 0])) is None
    tight = spaces.Box(np.float32(0.1), np.float32(0.3), (1,))
    assert explain_mismatch(tight, np.array([0.1])) is None  # 0.1 is below float32's, which it rounds to
    assert explain_mismatch(spaces.Box(0, 1, (), np.float32), 0.5) is None
    assert explain_mismatch(spaces.Discrete(3), np.array([1])) is None
    assert explain_mismatch(spaces.Discrete(3), np.array(2)) is None
    assert explain_mismatch(spaces.Discrete(2), True) is None
