"""Tasks, actors and objects on both nodes, with a module of the user's own that lies beside the script."""

from __future__ import annotations

import os
import sys

import numpy as np
import own_module

import aktis
from aktis.util.scheduling_strategies import NodeAffinitySchedulingStrategy


@aktis.remote
def where() -> tuple[str, str]:
    return aktis.get_runtime_context().get_node_id(), own_module.greet("node")


@aktis.remote
class Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self, amount: int) -> int:
        self.count += own_module.double(amount)
        return self.count

    def node(self) -> str:
        return aktis.get_runtime_context().get_node_id()


@aktis.remote
def total(array: np.ndarray) -> float:
    return float(array.sum())


@aktis.remote
def nested(depth: int) -> int:
    return depth if depth == 0 else 1 + aktis.get(nested.remote(depth - 1))


@aktis.remote(num_returns="streaming")
def squares(n: int) -> object:
    for i in range(n):
        yield i * i


@aktis.remote
def fail() -> None:
    raise own_module.OwnError("remote", 7)


@aktis.remote
def location_of_aktis() -> str:
    return os.path.dirname(aktis.__file__)


def main() -> None:
    aktis.init()
    nodes = [node for node in aktis.nodes() if node["Alive"]]
    assert len(nodes) == 2, nodes
    for node in nodes:
        pinned = where.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
        assert aktis.get(pinned.remote()) == (node["NodeID"], "hello, node")
    assert not aktis.get(location_of_aktis.remote()).startswith(os.path.dirname(aktis.__file__))

    counters = [Counter.options(resources={f"node-{i}": 0.1}).remote() for i in range(2)]
    assert aktis.get([counter.add.remote(2) for counter in counters for _ in range(2)]) == [4, 8, 4, 8]
    assert len(set(aktis.get([counter.node.remote() for counter in counters]))) == 2

    array = np.arange(3_000_000, dtype=np.float64)
    ref = aktis.put(array)
    totals = [total.options(resources={f"node-{i}": 0.1}).remote(ref) for i in range(2)]
    assert aktis.get(totals) == [float(array.sum())] * 2
    assert aktis.get(nested.remote(4)) == 4
    assert [aktis.get(ref) for ref in squares.remote(4)] == [0, 1, 4, 9]
    try:
        aktis.get(fail.remote())
    except own_module.OwnError as error:
        assert error.code == 7, error
    else:
        raise AssertionError("no error came")
    aktis.shutdown()
    print("done", sys.argv[1:])


if __name__ == "__main__":
    main()
