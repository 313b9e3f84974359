"""What went through: routes of several proxies added up, and said on a page."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import pytest
from tests.air.test_html import checked

from aktis import serve
from aktis.air.html import Page
from aktis.serve._observe.latency import BOUNDS
from aktis.serve.exceptions import ServeNotRunningError
from aktis.serve.route_traffic import RouteTraffic, Traffic


def entry(route: str, seconds: list[float], errors: int = 0) -> dict[str, Any]:
    buckets = [0] * (len(BOUNDS) + 1)
    for each in seconds:
        buckets[bisect_left(BOUNDS, each)] += 1
    about = {"route": route, "app": "app" if route else "", "deployment": f"of {route}" if route else ""}
    return {**about, "requests": len(seconds), "errors": errors, "buckets": buckets, "seconds": sum(seconds)}


def test_routes_of_several_proxies_are_added_up() -> None:
    first = {"routes": [entry("/b", [0.01] * 3, 1), entry("/a", [0.02]), entry("", [])]}
    second: dict[str, Any] = {}  # one that does not answer
    third = {"routes": [entry("/b", [0.03]), entry("", [])]}
    routes = Traffic.of([first, second, third]).routes
    assert [(each.route, each.deployment, each.requests, each.errors) for each in routes] == [
        ("/a", "of /a", 1, 0),
        ("/b", "of /b", 4, 1),
    ]
    assert routes[1].mean_s == pytest.approx(0.015)
    assert routes[1].percentile_s(0.5) == pytest.approx(0.01, rel=0.2)
    assert routes[1].percentile_s(1) == pytest.approx(0.03, rel=0.2)
    with pytest.raises(ValueError, match="share must be from 0 to 1.*not 99"):
        routes[1].percentile_s(99)


def test_the_distribution_rises_from_nothing_to_all() -> None:
    (route,) = Traffic.of([{"routes": [entry("/", [0.001, 0.01, 0.01, 0.1])]}]).routes
    xs, ys = route.distribution()
    assert ys[0] == 0 and ys[-1] == 1 and ys == sorted(ys) and xs == sorted(xs)
    assert xs[0] < 0.001 and 0.1 <= xs[-1] < 0.13
    assert {0.25, 0.75} <= set(ys)
    nothing = RouteTraffic(route="/", app="", deployment="", requests=0, errors=0, total_s=0.0, buckets=[0] * 90)
    assert nothing.distribution() == ([], []) and nothing.mean_s == 0


def test_a_page_says_what_went_through() -> None:
    page = Page("Service")
    page.add(
        "Two routes", Traffic.of([{"routes": [entry("/a", [0.01] * 5), entry("/b", [0.02], 1), entry("", [1.0], 1)]}])
    )
    page.add("Nothing yet", Traffic.of([]))
    page.add("A route that nobody asked", Traffic.of([{"routes": [entry("/quiet", [])]}]))
    text = page.render()
    checked(text)
    assert text.count('data-kind="line"') == 1 and "There are no routes yet." in text
    assert "<td>/quiet</td>" in text and "<td>(none)</td>" in text
    assert '<dd class="bad">2</dd>' in text


def test_without_a_service_there_is_no_traffic() -> None:
    with pytest.raises(ServeNotRunningError):
        serve.traffic()
