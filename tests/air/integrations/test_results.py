"""Flattening, and making odd values plain."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.loggers import ODD_RESULTS, Mute, cycle

from aktis.air.integrations.results import (
    SafeFallbackEncoder,
    flat_metrics,
    flatten_dict,
    safe_str,
    to_json,
    to_number,
    to_plain,
)


def test_first_level_first() -> None:
    nested = {"a": {"b": {"c": {"q": 1}, "z": 0}, "d": 2}, "e": {"f": 3}, "g": 4, "h": {}, 5: {6: 7}}
    assert list(flatten_dict(nested).items()) == [
        ("g", 4),
        ("a/d", 2),
        ("e/f", 3),
        ("5/6", 7),
        ("a/b/z", 0),
        ("a/b/c/q", 1),
    ]
    assert flatten_dict({"a": {"b": 1}, "c": 2}, delimiter="-", skip=["c"]) == {"a-b": 1}


def test_a_dictionary_that_holds_itself_is_entered_once() -> None:
    assert flatten_dict(cycle()) == {"x": 1}
    shared = {"x": 1}
    assert flatten_dict({"a": shared, "b": shared}) == {"a/x": 1, "b/x": 1}


@pytest.mark.parametrize("name", ODD_RESULTS)
def test_everything_is_json(name: str) -> None:
    assert isinstance(json.loads(to_json(ODD_RESULTS[name])), dict)


def test_what_values_become() -> None:
    values = {
        "f": np.float32(0.5),
        "i": np.int64(3),
        "a": np.arange(2),
        "d": np.datetime64("2020-01-01"),
        "s": {1},
        "b": b"x",
        "t": (1,),
    }
    text = json.dumps(values, cls=SafeFallbackEncoder)
    assert text == '{"f": 0.5, "i": 3, "a": [0, 1], "d": "2020-01-01", "s": "{1}", "b": "b\'x\'", "t": [1]}'
    assert to_json({"mute": Mute()}) == '{"mute": "<Mute>"}'
    assert to_json({(1, 2): {None: 1}}) == '{"(1, 2)": {"None": 1}}'
    assert to_json(cycle()) == '{"x": 1, "self": "..."}'


def test_numbers() -> None:
    numbers: list[Any] = [
        True,
        2,
        2.5,
        np.float16(2.5),
        np.bool_(True),
        np.array(4),
        np.array([[5.0]]),
        10**400,
        -(10**400),
    ]
    assert [to_number(value) for value in numbers] == [1.0, 2.0, 2.5, 2.5, 1.0, 4.0, 5.0, math.inf, -math.inf]
    assert [to_number(value) for value in (None, "1", [1], np.arange(2), np.array(["x"]), 1j, object())] == [None] * 7
    assert flat_metrics({"a": {"b": 1}, "s": "x", "config": {"lr": 1}}) == {"a/b": 1.0}


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(plain)
def test_plain_values_stay(value: Any) -> None:
    assert to_plain(value) == value
    assert json.loads(to_json(value)) == value


def test_objects_that_cannot_say_what_they_are() -> None:
    assert safe_str(3) == "3"
    assert safe_str(Mute()) == "<Mute>"
    assert to_json({"x": Mute(), "y": [Mute()]}) == '{"x": "<Mute>", "y": ["<Mute>"]}'
