"""Percentiles of what is counted in ranges."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aktis.serve._observe.counters import Counters
from aktis.serve._observe.latency import Latencies, difference, nothing, percentile
from aktis.serve._observe.observer import History
from aktis.serve._observe.page import merge, shown


@given(st.lists(st.floats(0.00002, 500.0), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0]))
def test_percentiles_are_good_to_a_range(values: list[float], share: float) -> None:
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    exact = sorted(values)[max(0, math.ceil(len(values) * share - 1e-9) - 1)]
    found = percentile(latencies.buckets, share)
    assert exact / 1.21 <= found <= exact * 1.21
    assert latencies.count == len(values)


def test_nothing_has_no_latency() -> None:
    assert percentile(Latencies().buckets, 0.5) == 0.0


def test_a_history_is_a_minute_and_its_percentiles_ten_seconds() -> None:
    counters = Counters()
    route = counters.route("/a", "app", "d")
    assert counters.route("/a", "app", "d") is route
    history = History()
    for second in range(100):
        for _ in range(second):
            route.latencies.add(1.0 if second < 80 else 0.01)
            route.requests += 1
        route.errors += second % 2
        history.add(route)
    shown = history.public(route)
    assert shown["requests_by_second"] == list(range(40, 100))
    assert shown["errors_by_second"] == [second % 2 for second in range(40, 100)]
    assert percentile(shown["recent"], 1.0) < 0.02
    assert sum(shown["recent"]) == sum(range(91, 100))
    assert difference([3, 2], [1, 2]) == [2, 0]


def test_routes_of_several_proxies_are_added_up() -> None:
    def entry(**values: object) -> dict[str, object]:
        start = {"route": "/a", "app": "x", "deployment": "d", "requests": 1, "errors": 0, "dropped": 0, "lost": 0}
        lists = {"requests_by_second": [1, 0], "errors_by_second": [0, 0], "recent": nothing(), "statuses": {200: 1}}
        return {**start, **lists, **values}

    slow = nothing()
    slow[60] = 10
    found = merge(
        [
            entry(),
            entry(requests=2, statuses={200: 1, 500: 1}, recent=slow),
            entry(route="/b"),
            entry(route="", deployment=""),
        ]
    )
    assert [route["route"] for route in found] == ["/a", "/b", ""]
    assert found[0]["requests"] == 3
    assert found[0]["statuses"] == {200: 2, 500: 1}
    assert found[0]["requests_by_second"] == [2, 0]
    assert found[0]["p50"] > 0.1 and found[1]["p50"] == 0.0


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (None, ""),
        ("fine", "fine"),
        ("It failed:\nTraceback\n  secret", "It failed: [`serve status` shows the rest]"),
        ("x" * 400, "x" * 300 + "… [`serve status` shows the rest]"),
    ],
)
def test_clients_see_the_first_line_of_messages(message: str | None, expected: str) -> None:
    assert shown(message, development=False) == expected
    assert shown(message, development=True) == (message or "")
