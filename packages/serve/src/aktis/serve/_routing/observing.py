"""What handles tell about their calls: numbers, as metrics of the session, and spans of OpenTelemetry.

Numbers are counted as plain integers; the watcher's thread gives them to the metrics once a second. Spans are made only where
tracing is on (see :mod:`aktis.serve._observe.tracing`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from aktis.serve._observe.tracing import call_span
from aktis.serve.context import get_replica_context
from aktis.serve.exceptions import ServeError

if TYPE_CHECKING:
    from aktis.serve._protocol import DeploymentID
    from aktis.serve._routing.calls import Call
    from aktis.serve._routing.router import Router


class HandleMetrics:
    """Metrics of the handles of one process. Made when there is something to say; one thread uses it."""

    def __init__(self) -> None:
        self._requests: Any = None
        self._queued: Any = None
        self._said: dict[DeploymentID, tuple[int, int]] = {}

    def flush(self, routers: Iterable[Router]) -> None:
        """Add what came since the last time."""
        for router in routers:
            sent, waiting = router.sent, router.waiting if router.sent else 0
            old_sent, old_waiting = self._said.get(router.id, (0, 0))
            if sent < old_sent:  # a new router of a deployment that was away
                old_sent = 0
            if (sent, waiting) == (old_sent, old_waiting):
                continue
            if self._requests is None:
                self._make()
            self._said[router.id] = (sent, waiting)
            tags = {"application": router.id.app, "deployment": router.id.name}
            if sent > old_sent:
                self._requests.inc(sent - old_sent, tags)
            if waiting != old_waiting:
                self._queued.set(waiting, tags)

    def forget(self, id: DeploymentID) -> None:
        """The deployment is gone; a router that is made for it later counts from nothing."""
        self._said.pop(id, None)

    def _make(self) -> None:
        from aktis.util.metrics import Counter, Gauge

        keys = ("application", "deployment")
        self._requests = Counter("serve_handle_request_counter", "Calls of handles that went to a replica.", keys)
        self._queued = Gauge("serve_handle_queued_queries", "Calls of handles that wait for a replica.", keys)


def begin_span(call: Call) -> None:
    """A span from here to the outcome of the call; what the replica does is within it."""
    try:
        component = f"replica_{get_replica_context().replica_tag}"
    except ServeError:
        component = "driver"
    meta = call.meta
    span = call_span(component, f"{call.router.id.name}.{meta.method}", "CLIENT", meta)
    if span is None:
        return
    call.meta = meta._replace(trace=span.carrier)
    call.when_finished(lambda: span.end(call.value if isinstance(call.value, BaseException) else None))
