"""Numbers of one replica: counted as plain numbers on the request path, given to the metrics each second.

Latencies are kept as counts in ranges of 10%, by the second in which they were flushed, for a minute.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.serve._protocol import ReplicaID

WINDOW = 60.0  # seconds that the percentiles look back
_GROWTH = 1.1
_BOUNDS = [1e-5 * _GROWTH**exponent for exponent in range(200)]  # 10 microseconds to half an hour
BUCKETS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 60000, 300000, 600000]


class Stats:
    """Counts of one replica. One thread (the loop's) owns it."""

    def __init__(self) -> None:
        self.processed = 0
        self.errors = 0
        self.streams = 0
        self.fresh: defaultdict[str, list[float]] = defaultdict(
            list
        )  # seconds of requests since the last flush, by route
        self.failed: defaultdict[str, int] = defaultdict(int)  # errors since the last flush, by route
        self._minute: deque[tuple[float, dict[int, int]]] = deque()

    def roll(self, now: float) -> tuple[dict[str, list[float]], dict[str, int]]:
        """What came since the last call; it goes into the minute's percentiles. ``now``: seconds of any steady clock."""
        fresh, self.fresh = self.fresh, defaultdict(list)
        failed, self.failed = self.failed, defaultdict(int)
        counts: dict[int, int] = {}
        for latencies in fresh.values():
            for latency in latencies:
                place = bisect_left(_BOUNDS, latency)
                counts[place] = counts.get(place, 0) + 1
        if counts:
            self._minute.append((now, counts))
        while self._minute and self._minute[0][0] < now - WINDOW:
            self._minute.popleft()
        return fresh, failed

    def percentiles(self, *fractions: float) -> list[float]:
        """Latencies in seconds below which these fractions of the last minute's requests were; empty without requests."""
        total: dict[int, int] = {}
        for _, counts in self._minute:
            for place, count in counts.items():
                total[place] = total.get(place, 0) + count
        number = sum(total.values())
        if not number:
            return []
        found = []
        for fraction in fractions:
            wanted, seen = max(1, math.ceil(number * fraction)), 0
            for place in sorted(total):
                seen += total[place]
                if seen >= wanted:
                    found.append(_BOUNDS[min(place, len(_BOUNDS) - 1)] / math.sqrt(_GROWTH))
                    break
        return found


class Metrics:
    """The same numbers as metrics of the session. What it imports takes its time."""

    def __init__(self, replica: ReplicaID) -> None:
        from aktis.util import metrics

        tags = {"deployment": replica.deployment, "replica": str(replica), "application": replica.app}
        keys = ("deployment", "replica", "application")

        def make(kind: Any, name: str, description: str, *more: str, **options: Any) -> Any:
            return kind(name, description, tag_keys=(*keys, *more), **options).set_default_tags(tags)

        self._requests = make(metrics.Counter, "serve_deployment_request_counter", "Requests answered.", "route")
        self._errors = make(metrics.Counter, "serve_deployment_error_counter", "Requests that raised.", "route")
        self._latency = make(
            metrics.Histogram,
            "serve_deployment_processing_latency_ms",
            "Milliseconds that requests took in the replica.",
            "route",
            boundaries=BUCKETS_MS,
        )
        self._ongoing = make(metrics.Gauge, "serve_replica_processing_queries", "Requests that run now.")
        self._starts = make(metrics.Counter, "serve_deployment_replica_starts", "Starts of this replica.")
        self._last_ongoing = -1

    def started(self) -> None:
        """The replica is ready."""
        self._starts.inc()

    def add(self, fresh: dict[str, list[float]], failed: dict[str, int]) -> None:
        """What came since the last time."""
        for route, latencies in fresh.items():
            tags = {"route": route}
            self._requests.inc(len(latencies), tags)
            self._latency.observe_many([latency * 1000.0 for latency in latencies], tags)
        for route, count in failed.items():
            self._errors.inc(count, {"route": route})

    def set_ongoing(self, ongoing: int) -> None:
        """Requests that run now."""
        if ongoing != self._last_ongoing:
            self._last_ongoing = ongoing
            self._ongoing.set(ongoing)
