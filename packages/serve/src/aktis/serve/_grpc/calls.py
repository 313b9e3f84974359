"""Calls of gRPC, from the client's message to the replica and back. All on the proxy's loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from aktis.exceptions import AktisActorError, AktisError, AktisTaskError
from aktis.serve._grpc.replica import PREFIX, Ending, GrpcFailure, Reply
from aktis.serve._protocol import DeploymentID, RequestMeta, RouteView
from aktis.serve._routing.calls import Call, new_call_id, new_request_id
from aktis.serve._routing.responses import Response, StreamResponse
from aktis.serve._routing.router import Router
from aktis.serve._routing.streams import StreamCall
from aktis.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RequestCancelledError,
    RequestTimeoutError,
)

try:
    import grpc
except ImportError as error:  # pragma: no cover - an environment without it
    raise ImportError('gRPC needs grpcio and others: pip install "aktis-serve[grpc]"') from error
from aktis.serve.grpc_util import CallFacts, Outcome

logger = logging.getLogger("aktis.serve")

MOST_ID = 256  # characters of a request's id, or a model's, that a client may choose
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class _Refused(Exception):
    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class Exchanges:
    """Runs calls. Knows the applications."""

    def __init__(self, timeout_s: float | None, dispatcher: Any = None) -> None:
        self._timeout_s = timeout_s
        self._dispatcher = dispatcher
        self._routes: dict[str, RouteView] = {}

    @property
    def applications(self) -> list[str]:
        """Names of those that can be called."""
        return sorted(self._routes)

    def set_routes(self, views: Iterable[RouteView]) -> None:
        """What the controller says."""
        self._routes = {view.app: view for view in views}

    def behavior(self, method: str, kind: str) -> Callable[..., Any]:
        """The function that answers calls of a method ("/package.Service/Method") of a kind ("uu", "us", "su", "ss")."""

        async def unary(request: Any, context: Any) -> Any:
            return await _Exchange(self, method, kind, context).unary(request)

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            exchange = _Exchange(self, method, kind, context)
            async for item in exchange.stream(request):
                yield item

        async def single(request: Any, context: Any) -> Any:
            result = None
            async for item in _Exchange(self, method, kind, context).stream(request):
                result = item
            return result

        return {"uu": unary, "su": single}.get(kind, stream)

    def route(self, application: str) -> RouteView:
        """Where calls of an application go; without a name, when there is one only."""
        if application:
            view = self._routes.get(application)
            if view is not None:
                return view
            known = ", ".join(self.applications) or "none"
            raise _Refused(grpc.StatusCode.NOT_FOUND, f"there is no application {application!r}; there are: {known}")
        if len(self._routes) == 1:
            return next(iter(self._routes.values()))
        if "default" in self._routes:
            return self._routes["default"]
        known = ", ".join(self.applications) or "none"
        raise _Refused(
            grpc.StatusCode.NOT_FOUND,
            f"say which application is meant with the metadata 'application'; there are: {known}",
        )

    def ended(self, exchange: _Exchange, code: grpc.StatusCode) -> None:
        """Counts a call that has ended, and writes it down. Its route in the counters is its method."""
        dispatcher = self._dispatcher
        if dispatcher is None:
            return
        view = exchange.route
        counters = None if view is None else dispatcher.counters.route(exchange.method, view.app, view.deployment)
        seconds = dispatcher.counters.ended(counters, _AS_HTTP.get(code, 500), exchange.began)
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and counters is not None:
            counters.dropped += 1
        if dispatcher.access_log is not None:
            dispatcher.access_log.add(_Entry(exchange, code), seconds)

    def limit(self, view: RouteView) -> float | None:
        """Seconds that a request may take."""
        return self._timeout_s if view.timeout_s is None else view.timeout_s


_AS_HTTP = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.DEADLINE_EXCEEDED: 408,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 503,
}  # the counters of the proxy know statuses of HTTP


class _Path(NamedTuple):
    raw_path: bytes


class _Viewed(NamedTuple):
    view: RouteView


class _Entry:
    """A call, as the access log takes requests."""

    __slots__ = (
        "body_bytes",
        "client",
        "http_version",
        "method",
        "replica",
        "request_id",
        "route",
        "sent",
        "status",
        "target",
    )

    def __init__(self, exchange: _Exchange, code: grpc.StatusCode) -> None:
        self.request_id = exchange.request_id
        self.client = (exchange.peer, 0)
        self.method = "gRPC"
        self.target = _Path(exchange.method.encode())
        self.route = _Viewed(exchange.route) if exchange.route is not None else None
        self.replica = ""
        self.status = code.name
        self.sent = self.body_bytes = 0
        self.http_version = "2"


class _FedCall(StreamCall):
    """A call whose requests stream: they are sent on when a replica has taken it, and then it cannot begin again elsewhere."""

    __slots__ = ("taken",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.taken = asyncio.Event()

    def settle(self, ref: Any, value: Any) -> None:
        super().settle(ref, value)
        if self.streaming is not None:
            self.taken.set()

    def may_run_again(self) -> bool:
        return not self.taken.is_set() and super().may_run_again()


class _Exchange:
    """One call."""

    def __init__(self, owner: Exchanges, method: str, kind: str, context: Any) -> None:
        self._owner = owner
        self.method = method
        self._kind = kind
        self._context = context
        self._metadata = tuple(
            (key, value) for key, value in context.invocation_metadata() or () if not key.startswith(":")
        )
        self.request_id = self._said("request_id") or self._said("x-request-id") or new_request_id()
        self.began = time.perf_counter()
        self._response: Any = None
        self.route: RouteView | None = None
        self._limit: float | None = None

    def _said(self, key: str) -> str:
        value = next((value for name, value in self._metadata if name == key), "")
        return value if isinstance(value, str) and len(value) <= MOST_ID and value.isprintable() else ""

    # the two ways -----------------------------------------------------------------------------------------------------

    async def unary(self, request: Any) -> Any:
        """One message for one."""
        try:
            self._find_route()
            self._response = Response(self._start(Call, request))
            reply = await self._within(self._response, self._limit)
        except BaseException as error:
            await self._end_with(error)
            raise
        assert isinstance(reply, Reply)
        await self._finish(reply.outcome)
        return reply.message

    async def stream(self, request: Any) -> AsyncIterator[Any]:
        """Many messages on one side or both."""
        feeder: asyncio.Task[None] | None = None
        outcome: Outcome | None = None
        try:
            self._find_route()
            streaming = self._kind[0] == "s"
            call = self._start(_FedCall if streaming else StreamCall, None if streaming else request)
            self._response = items = StreamResponse(call)
            if streaming:
                feeder = asyncio.create_task(self._feed(call, request))
            deadline = None if self._limit is None else self.began + self._limit
            iterator = items.__aiter__()
            while True:
                left = None if deadline is None else deadline - time.perf_counter()
                try:
                    item = await self._within(iterator.__anext__(), left)
                except StopAsyncIteration:
                    break
                if type(item) is Ending:
                    outcome = item.outcome
                    continue
                yield item
        except GeneratorExit:
            self._cancel()
            raise
        except BaseException as error:
            await self._end_with(error)
            raise
        finally:
            if feeder is not None:
                feeder.cancel()
        await self._finish(outcome)

    def _find_route(self) -> None:
        self.route = view = self._owner.route(self._said("application"))
        self._limit = self._owner.limit(view)

    def _start(self, kind: type[Any], request: Any) -> Any:
        view = self.route
        assert view is not None
        limits = [each for each in (self._limit, self._context.time_remaining()) if each is not None]
        deadline = time.time() + min(limits) if limits else 0.0
        name = self.method.rpartition("/")[2]
        model_id = self._said("multiplexed_model_id")
        trace = {key: value for key in ("traceparent", "tracestate") if (value := self._said(key))}
        meta = RequestMeta(
            self.request_id,
            new_call_id(),
            f"{PREFIX}{self._kind}:{name}",
            view.app,
            self.method,
            model_id,
            bool(self._said("idempotency-key")),
            deadline,
            trace or None,
        )
        facts = CallFacts(self._metadata, self._context.peer(), self.request_id, view.app, model_id, self._auth())
        call = kind(Router.of(DeploymentID(view.app, view.deployment)), meta, (request, facts), {})
        call.start()
        return call

    def _auth(self) -> dict[str, Any] | None:
        context = dict(self._context.auth_context() or {})
        if "transport_security_type" not in context:
            return None
        return {
            "context": context,
            "identities": self._context.peer_identities(),
            "key": self._context.peer_identity_key(),
        }

    async def _within(self, work: Awaitable[Any], left: float | None) -> Any:
        """The result, or RequestTimeoutError when the request's time is over."""
        if left is None:
            return await work
        try:
            return await asyncio.wait_for(work, max(left, 0.0))
        except asyncio.TimeoutError:
            raise RequestTimeoutError(self.request_id, self._limit) from None

    # requests that stream ---------------------------------------------------------------------------------------------

    async def _feed(self, call: Any, requests: AsyncIterator[Any]) -> None:
        """Passes the client's requests on, once a replica has taken the call, and no faster than it takes them."""
        await call.taken.wait()
        lease = call.streaming
        actor, call_id = lease.replica.actor, call.meta.call_id
        try:
            async for request in requests:
                if await actor.push.remote(call_id, [{"type": "grpc.message", "message": request}]) < 0:
                    return
            await actor.push.remote(call_id, [{"type": "grpc.end"}])
        except (AktisError, grpc.aio.UsageError):  # the call has ended, or its replica has: the replies say so
            return

    # the end ----------------------------------------------------------------------------------------------------------

    def _cancel(self) -> None:
        if self._response is not None:
            self._response.cancel()

    async def _finish(self, outcome: Outcome | None) -> None:
        """What user code said with its context goes to the client."""
        trailing: tuple[tuple[str, Any], ...] = (("request_id", self.request_id),)
        code = grpc.StatusCode.OK
        if outcome is not None:
            trailing += outcome.trailing
            code = _CODES.get(outcome.code or 0, grpc.StatusCode.UNKNOWN)
            if outcome.compression is not None:
                with suppress(Exception):
                    self._context.set_compression(grpc.Compression(outcome.compression))
        self._ended(code)
        if code is not grpc.StatusCode.OK:
            await self._context.abort(code, outcome.details if outcome else "", trailing)
        self._context.set_trailing_metadata(trailing)

    async def _end_with(self, error: BaseException) -> None:
        """The status for what went wrong. Does not return, but for cancelled calls."""
        self._cancel()
        if isinstance(error, asyncio.CancelledError):
            self._ended(grpc.StatusCode.CANCELLED)
            return
        if isinstance(error, grpc.aio.AbortError):
            return
        code, details, trailing = self._status(error)
        self._ended(code)
        await self._context.abort(code, details, (("request_id", self.request_id), *trailing))

    def _status(self, error: BaseException) -> tuple[grpc.StatusCode, str, tuple[tuple[str, Any], ...]]:
        status = grpc.StatusCode
        if isinstance(error, _Refused):
            return error.code, error.details, ()
        if isinstance(error, BackPressureError):
            return status.RESOURCE_EXHAUSTED, str(error), ()
        if isinstance(error, RequestTimeoutError):
            return status.DEADLINE_EXCEEDED, str(error), ()
        if isinstance(error, DeploymentUnavailableError):
            return status.UNAVAILABLE, str(error), ()
        if isinstance(error, RequestCancelledError):
            return status.CANCELLED, str(error), ()
        if isinstance(error, AktisActorError) and not isinstance(error, AktisTaskError):
            return status.UNAVAILABLE, f"the replica that had the request died (request id {self.request_id})", ()
        failure = error if isinstance(error, GrpcFailure) else getattr(error, "cause", None)
        outcome = failure.outcome if isinstance(failure, GrpcFailure) else None
        if outcome is not None and outcome.code:
            return _CODES.get(outcome.code, status.UNKNOWN), outcome.details, outcome.trailing
        if not isinstance(failure, GrpcFailure):
            logger.error("request %s (%s) failed", self.request_id, self.method, exc_info=error)
        return status.INTERNAL, f"internal error (request id {self.request_id})", outcome.trailing if outcome else ()

    @property
    def peer(self) -> str:
        """The client's address."""
        return str(self._context.peer())

    def _ended(self, code: grpc.StatusCode) -> None:
        self._owner.ended(self, code)
