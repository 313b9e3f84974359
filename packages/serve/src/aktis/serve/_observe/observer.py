"""What a proxy does with its numbers: metrics each second, a minute of history for the page, the access log, tracing."""

from __future__ import annotations

from collections import deque
from typing import Any

from aktis.serve._observe.counters import Counters, RouteCounters
from aktis.serve._observe.latency import difference

HISTORY = 60  # seconds that the page shows
RECENT = 10  # seconds that its percentiles look back


class Observer:
    """Made when a proxy starts; see the module's docstring.

    Args:
        index: of the proxy.
        options: HTTPOptions.
        counters: what is observed.
        dispatcher: gets the access log and the tracer.
    """

    def __init__(self, index: int, options: Any, counters: Counters, dispatcher: Any) -> None:
        from aktis.serve._observe import tracing

        self._counters = counters
        self._dispatcher = dispatcher
        self._metrics: Any = None
        self._index = index
        self._history: dict[RouteCounters, History] = {}
        self._keep_history = bool(options.status_page)
        dispatcher.access_log = open_log(index, options)
        dispatcher.tracer = tracing.proxy_tracer(index)

    def flush(self) -> None:
        """Once a second."""
        if self._keep_history:
            for route in (*self._counters.routes.values(), self._counters.unrouted):
                history = self._history.get(route)
                if history is None:
                    if not route.requests:
                        continue
                    history = self._history[route] = History()
                history.add(route)
        if self._metrics is None and self._has_news():
            from aktis.serve._observe.metrics import ProxyMetrics

            self._metrics = ProxyMetrics(self._index)
        if self._metrics is not None:
            self._metrics.flush(self._counters, self._dispatcher)
        if self._dispatcher.access_log is not None:
            self._dispatcher.access_log.flush()

    def _has_news(self) -> bool:
        counters = self._counters
        return bool(counters.refused or counters.unrouted.requests) or any(r.requests for r in counters.routes.values())

    def routes(self) -> list[dict[str, Any]]:
        """All routes as plain data, with what the last minute was like."""
        found = []
        for entry, route in zip(self._counters.snapshot(), (*self._counters.routes.values(), self._counters.unrouted)):
            history = self._history.get(route)
            found.append({**entry, **(history.public(route) if history is not None else History.nothing())})
        return found

    def close(self) -> None:
        """The proxy ends."""
        if self._dispatcher.access_log is not None:
            self._dispatcher.access_log.close()
            self._dispatcher.access_log = None
        if self._dispatcher.tracer is not None:
            self._dispatcher.tracer.close()


class History:
    """The last minute of one route."""

    __slots__ = ("_before", "_buckets", "_seconds")

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, int]] = deque(maxlen=HISTORY)  # requests and errors in each second
        self._buckets: deque[list[int]] = deque(maxlen=RECENT)  # of the latencies, at each of these seconds
        self._before = (0, 0)

    def add(self, route: RouteCounters) -> None:
        """A second has passed."""
        requests, errors = self._before
        self._before = (route.requests, route.errors)
        self._seconds.append((route.requests - requests, route.errors - errors))
        self._buckets.append(list(route.latencies.buckets))

    def public(self, route: RouteCounters) -> dict[str, Any]:
        requests = [each[0] for each in self._seconds]
        errors = [each[1] for each in self._seconds]
        missing = [0] * (HISTORY - len(requests))
        recent = difference(route.latencies.buckets, self._buckets[0])
        return {"requests_by_second": missing + requests, "errors_by_second": missing + errors, "recent": recent}

    @staticmethod
    def nothing() -> dict[str, Any]:
        return {"requests_by_second": [0] * HISTORY, "errors_by_second": [0] * HISTORY, "recent": []}


def open_log(index: int, options: Any) -> Any:
    """The access log, if it is on."""
    if not options.access_log:
        return None
    import os

    import aktis
    from aktis.serve._observe.access_log import AccessLog

    folder = os.path.join(aktis.get_runtime_context().get_session_dir(), "logs", "serve")
    return AccessLog(os.path.join(folder, f"access_{index}.log"), options.access_log_format)
