"""Nested results as flat ones, and paths into them."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aktis.air.nested import flatten, lookup

KEYS = st.text("ab/", min_size=1, max_size=3)
NESTED = st.recursive(st.integers() | st.none(), lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=8)


def test_values_get_paths_in_the_order_in_which_they_are_met() -> None:
    nested = {"b": {"y": 1, "x": {"deep": [2]}}, "a": None, "empty": {}, 3: MappingProxyType({"z": 0})}
    assert list(flatten(nested).items()) == [("b/y", 1), ("b/x/deep", [2]), ("a", None), ("empty", {}), ("3/z", 0)]
    assert flatten({"a": {"b": 1}}, "config/") == {"config/a/b": 1}


def test_a_key_that_is_there_as_it_is_counts_before_a_path() -> None:
    assert lookup({"a/b": 1, "a": {"b": 2}}, "a/b") == 1
    assert lookup({"a": {"b/c": 1}}, "a/b/c") == 1
    assert lookup({"a/b": {"c": 1}, "a": {"b": 0}}, "a/b/c") == 1


def test_what_is_not_there_is_the_default() -> None:
    nested: dict[str, Any] = {"a": {"b": None}, "x": 1}
    assert lookup(nested, "a/b", 7) is None
    for path in ("a/c", "a/b/c", "x/y", "", "/", "nope"):
        assert lookup(nested, path) is None
        assert lookup(nested, path, 7) == 7


PLAIN = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), PLAIN, max_size=4))
def test_every_flat_path_finds_its_value(nested: dict[str, Any]) -> None:
    for path, value in flatten(nested).items():
        assert lookup(nested, path) == value


@given(st.dictionaries(KEYS, NESTED, max_size=4))
def test_each_flat_key_is_a_path_to_a_value_of_that_name(nested: dict[str, Any]) -> None:
    missing = object()
    flat = flatten(nested)
    assert all(lookup(nested, path, missing) is not missing for path in flat)
    assert not any(isinstance(value, dict) and value for value in flat.values())
