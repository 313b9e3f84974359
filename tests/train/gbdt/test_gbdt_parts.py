"""The pure parts: which rows are whose, ports, and metrics of several ranks."""

from __future__ import annotations

import math
import socket
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aktis
from aktis.train._gbdt.blocks import Blocks, bounds
from aktis.train._gbdt.shards import group_sizes
from aktis.train._gbdt.spec import DataSpec, RankError
from aktis.train.lightgbm import config
from aktis.train.lightgbm.merge import GROUPS, WEIGHT, merge_metrics


@given(st.integers(0, 10_000), st.integers(1, 50))
def test_every_row_is_somebody_s_and_no_row_is_two_s(total: int, parts: int) -> None:
    edges = bounds(total, parts)
    sizes = np.diff(edges)
    assert edges[0] == 0 and edges[-1] == total and len(sizes) == parts
    assert sizes.min() >= 0 and sizes.max() - sizes.min() <= 1


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60))
def test_groups(ids: list[int]) -> None:
    sizes = group_sizes(np.array(ids))
    assert sizes.sum() == len(ids)
    starts = np.cumsum([0, *sizes])
    assert all(len(set(ids[low:high])) == 1 for low, high in zip(starts, starts[1:]))
    assert all(ids[start - 1] != ids[start] for start in starts[1:-1])


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("sizes", [[4, 0, 7, 1, 3], [15], [1] * 15])
def test_blocks(sizes: list[int]) -> None:
    values = list(range(sum(sizes)))
    groups = [0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 3]
    table = pa.table({"x": values, "q": groups})
    edges = np.cumsum([0, *sizes])
    refs = [aktis.put(table.slice(low, high - low)) for low, high in zip(edges, edges[1:])]
    blocks = Blocks(tuple(refs), tuple(sizes))
    for low in range(16):
        for high in range(low, 16, 3):
            pieces = blocks.read(low, high, ["x"])
            assert [x for piece in pieces for x in piece["x"].to_pylist()] == values[low:high]
    assert blocks.bounds_between_groups(2, "q") == [0, 7, 15]
    assert blocks.bounds_between_groups(3, "q") == [0, 7, 14, 15]
    assert blocks.bounds_between_groups(4, "q") == [0, 7, 7, 14, 15]


@given(st.lists(st.tuples(st.floats(0.1, 5), st.floats(0.5, 9)), min_size=1, max_size=5))
def test_metrics_of_several_ranks(parts: list[tuple[float, float]]) -> None:
    reports: list[dict[str, Any]] = [
        {
            "train-l2": value,
            "train-rmse": math.sqrt(value),
            "train-ndcg@3": value,
            "valid-l2": 1.5,
            WEIGHT: weight,
            GROUPS: 2.0,
        }
        for value, weight in parts
    ]
    merged = merge_metrics(reports)
    values, weights = np.array(parts).T
    assert merged["train-l2"] == pytest.approx(np.average(values, weights=weights))
    assert merged["train-rmse"] == pytest.approx(math.sqrt(np.average(values, weights=weights)))
    assert merged["train-ndcg@3"] == pytest.approx(values.mean())
    assert merged["valid-l2"] == 1.5
    assert set(merged) == {"train-l2", "train-rmse", "train-ndcg@3", "valid-l2"}


def test_metrics_of_a_loop_that_says_no_weights_are_those_of_rank_0() -> None:
    assert merge_metrics([{"train-l2": 1.0}, {"train-l2": 2.0}]) == {"train-l2": 1.0}


def test_ports_are_held_until_they_are_used() -> None:
    port = config._hold_port()
    try:
        low, high = config._ports_of_the_system()
        assert not low <= port <= high
        with pytest.raises(OSError, match="in use"):
            socket.create_server(("", port))
        config._join({"machines": "a:1,b:2", "num_machines": 2})
        params = config.get_network_params()
        assert params == {"machines": "a:1,b:2", "num_machines": 2, "local_listen_port": port}
        socket.create_server(("", port)).close()
    finally:
        config._join(None)
    assert config.get_network_params() == {}


@pytest.mark.usefixtures("session")
def test_too_few_rows_for_so_many_workers() -> None:
    from aktis.train._gbdt.shards import load

    spec = DataSpec(Blocks((aktis.put(pa.table({"x": [1.0], "y": [0]})),), (1,)), "y", ("x",))
    assert load(spec, "train", 0, 1).features.num_rows == 1
    with pytest.raises(RankError, match=r"'train' has too few rows for 2 workers: 1 rows"):
        load(spec, "train", 0, 2)
