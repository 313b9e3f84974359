"""Tracing with OpenTelemetry: a span in the proxy, one in each replica, one for each call of a handle.

Off unless ``AKTIS_SERVE_TRACING_EXPORTER_IMPORT_PATH`` (or Ray's name for it) says where to find a function, "module:function",
that returns OpenTelemetry SpanProcessors (one, or a list). It may take one argument: the name of the component ("proxy_0",
"replica_<tag>"). Each process calls it once. ``AKTIS_SERVE_TRACING_SAMPLING_RATIO`` (1.0) says which share of requests is
traced, of those whose caller has not decided already. Spans travel as W3C ``traceparent`` in ``RequestMeta.trace``; a client's
``traceparent`` goes to replicas in any case.

While tracing is off, nothing of OpenTelemetry is imported, and a request pays for one comparison with None.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

from aktis.serve import _settings

if TYPE_CHECKING:
    from aktis.serve._protocol import RequestMeta
    from aktis.serve._proxy.exchange import Exchange


def exporter_path() -> str:
    """Where the function that gives span processors is; "" when tracing is off."""
    return str(_settings.TRACING_EXPORTER.read())


def sampling_ratio() -> float:
    """Which share of requests is traced.

    Raises:
        ValueError: the variable is no number between 0 and 1.
    """
    given = _settings.TRACING_RATIO.read()
    try:
        ratio = float(given) if given else 1.0
    except ValueError:
        ratio = -1.0
    if not 0.0 <= ratio <= 1.0:
        raise ValueError(f"{_settings.TRACING_RATIO.full} must be a number between 0 and 1, and it is {given!r}.")
    return ratio


@functools.cache
def tracer(component: str) -> Tracer | None:
    """The tracer of this process; None when tracing is off. The first caller names the component.

    Raises:
        ImportError: there is no OpenTelemetry, or not what the import path names.
    """
    path = exporter_path()
    return Tracer(component, path, sampling_ratio()) if path else None


def proxy_tracer(index: int = 0) -> ProxyTracer | None:
    """The tracer of a proxy; None when tracing is off."""
    found = tracer(f"proxy_{index}") if exporter_path() else None
    return ProxyTracer(found) if found is not None else None


def close(component: str) -> None:
    """Sends what this process has not sent yet; it is about to end."""
    if exporter_path():
        found = tracer(component)
        if found is not None:
            found.close()


def carrier(inherited: dict[str, str] | None) -> dict[str, str] | None:
    """What a call that begins here carries: the context of OpenTelemetry where there is one, else what came with the request."""
    if "opentelemetry.trace" not in sys.modules:
        return inherited
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if not trace.get_current_span().get_span_context().is_valid:
        return inherited
    found: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(found)
    return found


class Tracer:
    """Makes spans and sends them where the user's function says."""

    def __init__(self, component: str, path: str, ratio: float) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            names = (_settings.TRACING_EXPORTER.full, *_settings.TRACING_EXPORTER.others)
            raise ImportError(
                'Tracing needs OpenTelemetry: pip install "aktis-serve[tracing]", or unset ' + " and ".join(names)
            ) from error
        self._trace = trace
        self._propagator = TraceContextTextMapPropagator()
        resource = Resource.create({"service.name": "aktis-serve", "service.instance.id": component})
        self._provider = TracerProvider(resource=resource, sampler=ParentBased(TraceIdRatioBased(ratio)))
        for processor in _processors(path, component):
            self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("aktis.serve")

    def start(self, name: str, kind: str, parent: dict[str, str] | None, attributes: dict[str, Any]) -> Span:
        """Begins a span.

        Args:
            name: shown.
            kind: "SERVER", "CLIENT" or "INTERNAL".
            parent: the carrier that came with the request; None begins a trace (or goes on with the current one).
            attributes: OpenTelemetry's.
        """
        context = self._propagator.extract(parent) if parent else None
        kinds = self._trace.SpanKind
        span = self._tracer.start_span(name, context, kinds[kind], attributes)
        found: dict[str, str] = dict(parent or {})
        self._propagator.inject(found, self._trace.set_span_in_context(span))
        return Span(self._trace, span, found)

    def close(self) -> None:
        """Sends what has not been sent."""
        self._provider.shutdown()


class Span:
    """A span that has begun. ``carrier`` is what calls made within it take along."""

    __slots__ = ("_token", "_trace", "carrier", "span")

    def __init__(self, trace: Any, span: Any, carrier: dict[str, str]) -> None:
        self._trace = trace
        self._token: Any = None
        self.span = span
        self.carrier = carrier

    def enter(self) -> Span:
        """Spans that user code makes are inside this one, from here on, in this task or thread."""
        from opentelemetry import context

        self._token = context.attach(self._trace.set_span_in_context(self.span))
        return self

    def end(self, error: BaseException | None = None, **attributes: Any) -> None:
        """Ends it; with an error, it has failed."""
        if attributes:
            self.span.set_attributes(attributes)
        if error is not None:
            self.span.record_exception(error)
            self.span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, f"{type(error).__name__}: {error}"))
        self.span.end()

    def leave(self) -> None:
        """The opposite of :meth:`enter`, in the same task."""
        if self._token is not None:
            from opentelemetry import context

            context.detach(self._token)
            self._token = None


class ProxyTracer:
    """Spans of HTTP requests."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def begin(self, ex: Exchange) -> tuple[Span, dict[str, str]]:
        """A request was routed: its span, and what goes with it to the replica."""
        route = ex.route
        assert route is not None
        attributes = {
            "http.request.method": ex.method,
            "http.route": route.view.prefix,
            "url.path": ex.target.path,
            "url.scheme": ex.scheme,
            "network.protocol.version": ex.http_version,
            "client.address": ex.client[0] if ex.client else "",
            "aktis.request_id": ex.request_id,
            "aktis.application": route.view.app,
            "aktis.deployment": route.view.deployment,
        }
        span = self._tracer.start(f"{ex.method} {route.view.prefix}", "SERVER", ex.trace, attributes)
        return span, span.carrier

    def end(self, ex: Exchange) -> None:
        """It was answered."""
        span: Span = ex.span
        span.span.set_attributes({"http.response.status_code": ex.status, "aktis.replica": ex.replica})
        if ex.status >= 500:
            trace = span._trace
            span.span.set_status(trace.Status(trace.StatusCode.ERROR))
        span.end()

    def close(self) -> None:
        self._tracer.close()


def call_span(component: str, name: str, kind: str, meta: RequestMeta) -> Span | None:
    """A span for the call that ``meta`` describes, in a replica (``kind`` "INTERNAL") or at a handle ("CLIENT"); None when
    tracing is off."""
    found = tracer(component)
    if found is None:
        return None
    attributes = {"aktis.request_id": meta.request_id, "aktis.application": meta.app, "aktis.method": meta.method}
    return found.start(name, kind, meta.trace, attributes)


def _processors(path: str, component: str) -> list[Any]:
    import importlib
    import inspect

    module, separator, name = path.partition(":")
    if not separator:
        module, _, name = path.rpartition(".")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ImportError(
            f'{_settings.TRACING_EXPORTER.full} must be "module:function", and {path!r} cannot be imported: {error}'
        ) from error
    made = function(component) if inspect.signature(function).parameters else function()
    return list(made) if isinstance(made, (list, tuple)) else [made]
