"""Versions: the same code and arguments have the same, in all processes; other code has another."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.serve._graph.version import digest, version_of

PROGRAM = """
import sys
sys.path[:0] = {path!r}
from aktis import serve
from aktis.serve._graph.build import build_application
import numpy as np

FACTOR = {factor}
NAMES = {{"b", "a", "c", "d"}}

def helper(x):
    return x * FACTOR

class Base:
    def act(self, x): return helper(x){extra}

@serve.deployment
class Model(Base):
    def __init__(self, w, other=None): self.w = w
    def __call__(self, request): return [self.act(self.w), NAMES, (lambda y: y + 1)(2)]

@serve.deployment
class Other:
    pass

spec = build_application(Model.bind(np.arange({size}), other=[Other.bind()]))
print(*[each.version for each in spec.deployments])
"""


def versions(factor: int = 2, extra: str = "", size: int = 3) -> list[str]:
    code = PROGRAM.format(path=sys.path, factor=factor, extra=extra, size=size)
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def test_across_processes() -> None:
    first = versions()
    assert first == versions()
    for changed in (versions(factor=3), versions(extra=" + 1"), versions(size=4)):
        assert changed[0] == first[0]  # Other did not change
        assert changed[1] != first[1]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.tuples(inner, inner)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=10,
)


@settings(max_examples=50)
@given(values, values)
def test_equal_values_and_only_those(one: Any, other: Any) -> None:
    assert digest(one) == digest(copy.deepcopy(one))
    if digest(one) == digest(other):
        assert one == other
    if one != other:
        assert digest(one) != digest(other)


def test_closures_defaults_and_recursion() -> None:
    def make(n: int, default: int = 0) -> Any:
        def inner(x: int, y: int = default) -> Any:
            return inner(x - 1) if x else n

        return inner

    def version(code: Any) -> str:
        return version_of(code, ((), {}), lambda value: "")

    assert version(make(1)) == version(make(1))
    assert len({version(make(1)), version(make(2)), version(make(1, 5))}) == 3


class Weird:
    def __reduce__(self) -> Any:
        raise TypeError("no")


def test_what_cannot_be_pickled_is_never_the_same() -> None:
    assert digest(Weird()) != digest(Weird())
    assert digest(np.ones(2)) == digest(np.ones(2)) != digest(np.zeros(2))


@pytest.mark.parametrize("value", [float("nan"), {"a": {1, 2}}, [print, np], Weird, property(lambda self: 1)])
def test_other_values(value: Any) -> None:
    assert digest(value) == digest(value)
