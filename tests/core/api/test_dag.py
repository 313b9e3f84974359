"""Lazy graphs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import aktis
from aktis.dag import ClassNode, DAGNode, InputNode, MethodNode, MultiOutputNode


@pytest.fixture(autouse=True)
def session() -> Iterator[None]:
    aktis.shutdown()
    aktis.init(mode="inline", num_cpus=2, configure_logging=False)
    yield
    aktis.shutdown()


@aktis.remote
def add(a: int, b: int) -> int:
    return a + b


@aktis.remote
class Counter:
    def __init__(self, start: int) -> None:
        self.count = start

    def add(self, amount: int) -> int:
        self.count += amount
        return self.count


def test_functions() -> None:
    node = add.bind(add.bind(1, 2), b=3)
    assert aktis.get(node.execute()) == 6


def test_a_shared_node_runs_once() -> None:
    counter = Counter.remote(0)
    shared = counter.add.bind(1)
    assert aktis.get(add.bind(shared, shared).execute()) == 2


def test_actors() -> None:
    counter = Counter.bind(10)
    first = counter.add.bind(1)
    second = counter.add.bind(first)
    assert isinstance(counter, ClassNode) and isinstance(second, MethodNode) and isinstance(second, DAGNode)
    assert (counter.get_args(), second.get_args(), second.get_kwargs()) == ((10,), (first,), {})
    assert aktis.get(second.execute()) == 22


def test_input() -> None:
    with InputNode() as value:
        node = add.bind(value, 10)
    assert aktis.get(node.execute(1)) == 11
    assert aktis.get(node.execute(2)) == 12


def test_parts_of_the_input() -> None:
    with InputNode() as value:
        node = add.bind(value[0], value.b)
    assert aktis.get(node.execute(1, b=5)) == 6
    with InputNode() as value:
        node = add.bind(value["x"], value["y"])
    assert aktis.get(node.execute({"x": 1, "y": 2})) == 3


def test_several_outputs() -> None:
    with InputNode() as value:
        ends = MultiOutputNode([add.bind(value, 1), add.bind(value, 2)])
    assert aktis.get(ends.execute(0)) == [1, 2]


def test_a_deep_chain() -> None:
    node: Any = add.bind(0, 1)
    for _ in range(3000):
        node = add.bind(node, 1)
    assert aktis.get(node.execute()) == 3001


def test_unknown_method() -> None:
    with pytest.raises(AttributeError, match="Counter"):
        Counter.bind(1).ad
