"""Numbers of one replica: counted as plain numbers on the request path, given to the metrics each second."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from aktis.serve._observe.latency import BOUNDARIES_MS, Latencies, percentile

if TYPE_CHECKING:
    from aktis.serve._protocol import ReplicaID

WINDOW = 60.0  # seconds that the percentiles look back


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
        self._minute: deque[tuple[float, Latencies]] = deque()  # what each flush of the last minute had

    def roll(self, now: float) -> tuple[dict[str, list[float]], dict[str, int]]:
        """What came since the last call; it goes into the minute's percentiles. ``now``: seconds of any steady clock."""
        fresh, self.fresh = self.fresh, defaultdict(list)
        failed, self.failed = self.failed, defaultdict(int)
        if fresh:
            counted = Latencies()
            for latencies in fresh.values():
                for latency in latencies:
                    counted.add(latency)
            self._minute.append((now, counted))
        while self._minute and self._minute[0][0] < now - WINDOW:
            self._minute.popleft()
        return fresh, failed

    def percentiles(self, *fractions: float) -> list[float]:
        """Latencies in seconds below which these fractions of the last minute's requests were; empty without requests."""
        if not self._minute:
            return []
        total = [sum(counts) for counts in zip(*(counted.buckets for _, counted in self._minute))]
        return [percentile(total, fraction) for fraction in fractions]


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
            boundaries=BOUNDARIES_MS,
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
