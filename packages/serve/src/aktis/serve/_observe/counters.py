"""What a proxy counts: plain integers, one addition each, read once a second by whoever wants metrics of them.

All is written on the proxy's loop only.
"""

from __future__ import annotations

from bisect import bisect_left
from time import perf_counter
from typing import Any

from aktis.serve._observe.latency import BOUNDS, Latencies, percentile


class RouteCounters:
    """Of one route."""

    __slots__ = ("app", "deployment", "dropped", "errors", "latencies", "lost", "prefix", "requests", "statuses")

    def __init__(self, prefix: str, app: str, deployment: str) -> None:
        self.prefix = prefix
        self.app = app
        self.deployment = deployment
        self.requests = 0
        self.errors = 0  # replies from 400 on, and clients that left
        self.statuses: dict[int, int] = {}
        self.dropped = 0  # 503 because too many waited
        self.lost = 0  # 502 because a replica died
        self.latencies = Latencies()


class Counters:
    """Of one proxy."""

    def __init__(self) -> None:
        self.routes: dict[tuple[str, str, str], RouteCounters] = {}
        self.unrouted = RouteCounters("", "", "")  # no application: 404, and paths of our own
        self.refused: dict[int, int] = {}  # what was no HTTP, or too much of it: by status
        self.websockets = 0
        self.began = perf_counter()

    def route(self, prefix: str, app: str, deployment: str) -> RouteCounters:
        """The counters of a route; the same ones when it comes back."""
        key = (prefix, app, deployment)
        found = self.routes.get(key)
        if found is None:
            found = self.routes[key] = RouteCounters(prefix, app, deployment)
        return found

    def ended(self, route: RouteCounters | None, status: int, began: float) -> float:
        """Counts a request that ended now; returns how long it took, in seconds."""
        seconds = perf_counter() - began
        if route is None:
            route = self.unrouted
        else:
            bucket = bisect_left(BOUNDS, seconds)
            route.latencies.buckets[bucket] += 1
            route.latencies.total += seconds
        route.requests += 1
        statuses = route.statuses
        if status in statuses:
            statuses[status] += 1
        else:
            statuses[status] = 1
        if status >= 400:
            route.errors += 1
        return seconds

    def refuse(self, status: int) -> None:
        self.refused[status] = self.refused.get(status, 0) + 1

    def snapshot(self) -> list[dict[str, Any]]:
        """All routes as plain data."""
        return [
            {
                "route": route.prefix,
                "app": route.app,
                "deployment": route.deployment,
                "requests": route.requests,
                "errors": route.errors,
                "statuses": dict(route.statuses),
                "dropped": route.dropped,
                "lost": route.lost,
                "buckets": list(route.latencies.buckets),
                "seconds": route.latencies.total,
                "p50": percentile(route.latencies.buckets, 0.5),
                "p95": percentile(route.latencies.buckets, 0.95),
                "p99": percentile(route.latencies.buckets, 0.99),
            }
            for route in (*self.routes.values(), self.unrouted)
        ]
