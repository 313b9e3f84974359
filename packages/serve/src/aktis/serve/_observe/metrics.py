"""A proxy's numbers as metrics of the session, with the names that Ray Serve's have (and the prefix of Aktis).

Counting is done by ``counters.py``; here the differences are added to the metrics, once a second.
"""

from __future__ import annotations

from typing import Any

from aktis.serve._observe.counters import Counters, RouteCounters
from aktis.serve._observe.latency import BOUNDARIES_MS, BOUNDS, nothing
from aktis.util.metrics import Counter, Gauge, Histogram

_KEYS = ("route", "application", "deployment")
# What a request in each range of latencies is taken for, in milliseconds.
_MIDDLES = [BOUNDS[0] * 500] + [(low + high) * 500 for low, high in zip(BOUNDS, BOUNDS[1:])] + [BOUNDS[-1] * 1000]


class ProxyMetrics:
    """See the module's docstring."""

    def __init__(self, index: int) -> None:
        tags = {"proxy": str(index)}

        def counter(name: str, description: str, *keys: str) -> Any:
            return Counter(name, description, tag_keys=("proxy", *keys)).set_default_tags(tags)

        def gauge(name: str, description: str, *keys: str) -> Any:
            return Gauge(name, description, tag_keys=("proxy", *keys)).set_default_tags(tags)

        self._requests = counter("serve_num_http_requests", "HTTP requests that were answered.", *_KEYS, "status_code")
        self._errors = counter(
            "serve_num_http_error_requests", "Of these, those with a status from 400 on.", *_KEYS, "status_code"
        )
        self._deployment_errors = counter(
            "serve_num_deployment_http_error_requests",
            "Those whose deployment is to blame (from 500 on).",
            *_KEYS,
            "status_code",
        )
        self._refused = counter("serve_num_http_refused_connections", "What was no HTTP, or too much.", "status_code")
        self._routed = counter("serve_num_router_requests", "Requests that went to a replica.", *_KEYS)
        self._latency: Any = Histogram(
            "serve_http_request_latency_ms",
            "Milliseconds from the request to its whole reply.",
            BOUNDARIES_MS,
            ("proxy", *_KEYS),
        ).set_default_tags(tags)
        self._ongoing = gauge("serve_num_ongoing_http_requests", "Requests that are worked on.")
        self._websockets = gauge("serve_num_websockets", "WebSockets that are open.")
        self._queued = gauge(
            "serve_deployment_queued_queries", "Requests that wait for a replica.", "application", "deployment"
        )
        self._seen: dict[RouteCounters, Seen] = {}
        self._seen_refused: dict[int, int] = {}
        self._gauges: dict[Any, float] = {}

    def flush(self, counters: Counters, dispatcher: Any) -> None:
        """Adds what came since the last time."""
        for route in (*counters.routes.values(), counters.unrouted):
            self._flush_route(route)
        for status, count in counters.refused.items():
            more = count - self._seen_refused.get(status, 0)
            if more:
                self._seen_refused[status] = count
                self._refused.inc(more, {"status_code": str(status)})
        self._set(self._ongoing, dispatcher.ongoing)
        self._set(self._websockets, counters.websockets)
        for route in dispatcher.routes.values():
            tags = {"application": route.view.app, "deployment": route.view.deployment}
            self._set(self._queued, getattr(route.router, "waiting", 0), tags)

    def _set(self, gauge: Any, value: float, tags: dict[str, str] | None = None) -> None:
        key = (id(gauge), *(tags or {}).values())
        if self._gauges.get(key, 0) != value or (key not in self._gauges and not tags):
            self._gauges[key] = value
            gauge.set(value, tags)

    def _flush_route(self, route: RouteCounters) -> None:
        seen = self._seen.get(route)
        if seen is None:
            if not route.requests:
                return
            seen = self._seen[route] = Seen()
        if seen.requests == route.requests:
            return
        tags = {"route": route.prefix, "application": route.app, "deployment": route.deployment}
        seen.requests = route.requests
        for status, count in route.statuses.items():
            more = count - seen.statuses.get(status, 0)
            if not more:
                continue
            seen.statuses[status] = count
            with_status = {**tags, "status_code": str(status)}
            self._requests.inc(more, with_status)
            if status >= 400:
                self._errors.inc(more, with_status)
            if status >= 500 and route.deployment:
                self._deployment_errors.inc(more, with_status)
        if not route.deployment:
            return
        latencies = route.latencies.buckets
        total = 0
        for bucket, count in enumerate(latencies):
            more = count - seen.buckets[bucket]
            if more:
                seen.buckets[bucket] = count
                total += more
                middle = _MIDDLES[bucket]
                self._latency.observe_many([middle] * more, tags)
        if total:
            self._routed.inc(total, tags)


class Seen:
    """What of a route is in the metrics already."""

    __slots__ = ("buckets", "requests", "statuses")

    def __init__(self) -> None:
        self.requests = 0
        self.statuses: dict[int, int] = {}
        self.buckets = nothing()
