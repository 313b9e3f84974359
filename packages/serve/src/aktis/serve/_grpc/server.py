"""The gRPC edge of one proxy: user-defined services, health, reflection and Ray's API service, on the proxy's loop.

::

    client ──► grpc.aio server ──► Services (which method is it?) ──► Exchange ──► Router ──► Replica.call / stream
                                                                         └─ requests of a stream ──► Replica.push

A method is found in the services of ``grpc_servicer_functions``, its application by the metadata ``application``, and the method of
the deployment has its name. Statuses: NOT_FOUND no such application, RESOURCE_EXHAUSTED the queue is full, DEADLINE_EXCEEDED the
request's time is over, UNAVAILABLE no replica, UNIMPLEMENTED no such method, INTERNAL user code raised (without its traceback).
A client that leaves cancels the user's code.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable
from typing import Any

from aktis.serve._grpc import messages
from aktis.serve._grpc.calls import Exchanges  # it says what to install where grpc is not
from aktis.serve._protocol import RouteView

import grpc  # isort: skip
import grpc.aio  # isort: skip

logger = logging.getLogger("aktis.serve")

HEALTH_SERVICE = "grpc.health.v1.Health"
KEEPALIVE_MS = 60_000


class PortTakenError(OSError):
    """Somebody else has the port."""


class GrpcServer:
    """Serves what ``gRPCOptions`` say.

    Args:
        options: gRPCOptions.
        table: routes that are known already: anything with ``views``, or None.
        port: where to listen; 0: any that is free. None: the options' port.
        dispatcher: of the proxy: has the counters and the access log, in which calls of gRPC are, too.
    """

    def __init__(self, options: Any, table: Any = None, *, port: int | None = None, dispatcher: Any = None) -> None:
        self._options = options
        self._port = options.port if port is None else port
        self._exchanges = Exchanges(options.request_timeout_s, dispatcher)
        self._server: Any = None
        self._health: Any = None
        self._services: list[str] = []
        views = getattr(table, "views", None)
        if views:
            self.set_routes(tuple(views))

    async def start(self) -> tuple[str, int]:
        """Listen; where. Raises PortTakenError, and what the servicer functions raise when they are imported."""
        options = self._options
        collected = collect(options.grpc_servicer_functions)
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", options.max_message_bytes),
                ("grpc.max_send_message_length", options.max_message_bytes),
                ("grpc.keepalive_time_ms", KEEPALIVE_MS),
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ]
        )
        self._services = [*collected.names, messages.API_SERVICE]
        self._server.add_generic_rpc_handlers((Services(collected.handlers, self._exchanges), self._api_service()))
        await self._add_health()
        if options.reflection:
            self._add_reflection()
        port = self._listen()
        await self._server.start()
        logger.info(
            "gRPC listens on %s:%d: %s", options.host, port, ", ".join(collected.names) or "no service of users"
        )
        return options.host, port

    def set_routes(self, views: Iterable[RouteView]) -> None:
        """What the controller says."""
        self._exchanges.set_routes(views)

    async def stop(self, grace: float) -> None:
        """Take no more calls; those that run have ``grace`` seconds."""
        if self._server is None:
            return
        if self._health is not None:
            await self._health.enter_graceful_shutdown()
        await self._server.stop(grace)

    def _listen(self) -> int:
        options = self._options
        host = f"[{options.host}]" if ":" in options.host else options.host
        address = f"{host}:{self._port}"
        try:
            if options.ssl_certfile:
                port = self._server.add_secure_port(address, _credentials(options))
            else:
                port = self._server.add_insecure_port(address)
        except RuntimeError:
            port = 0
        if not port:
            raise PortTakenError(
                f"gRPC cannot listen on {address}: the port is taken, or the address is not of this machine"
            )
        return int(port)

    async def _add_health(self) -> None:
        try:
            from grpc_health.v1 import health, health_pb2, health_pb2_grpc
        except ImportError as error:
            raise ImportError('gRPC needs grpcio-health-checking: pip install "aktis-serve[grpc]"') from error
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        for name in ("", *self._services, HEALTH_SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    def _add_reflection(self) -> None:
        try:
            from grpc_reflection.v1alpha import reflection
        except ImportError as error:
            raise ImportError('gRPC reflection needs grpcio-reflection: pip install "aktis-serve[grpc]"') from error
        names = [*self._services, HEALTH_SERVICE, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(names, self._server)

    def _api_service(self) -> Any:
        classes = messages.messages("RayServeAPIService")

        async def list_applications(_request: Any, _context: Any) -> Any:
            return classes["ListApplicationsResponse"](application_names=self._exchanges.applications)

        async def healthz(_request: Any, _context: Any) -> Any:
            return classes["HealthzResponse"](message="success")

        return messages.handler("RayServeAPIService", {"ListApplications": list_applications, "Healthz": healthz})


def _credentials(options: Any) -> Any:
    with open(options.ssl_keyfile, "rb") as key, open(options.ssl_certfile, "rb") as certificate:
        pair = (key.read(), certificate.read())
    authorities = None
    if options.ssl_ca_certs:
        with open(options.ssl_ca_certs, "rb") as file:
            authorities = file.read()
    return grpc.ssl_server_credentials([pair], authorities, require_client_auth=authorities is not None)


# Services of users ---------------------------------------------------------------------------------------------------


class _Collector:
    """Stands for a server: keeps what ``add_...Servicer_to_server`` adds to it."""

    def __init__(self) -> None:
        self.handlers: list[Any] = []
        self.names: list[str] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        for each in handlers:
            self.handlers.append(each)
            name = getattr(each, "service_name", None)
            if name is not None:
                self.names.append(name())

    def add_registered_method_handlers(self, _service: str, _handlers: Any) -> None:
        """The same once more, for newer servers."""


class _AnyServicer:
    """Has each method that a servicer function asks for: the code is in replicas."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def method(_request: Any, _context: Any) -> Any:
            raise AssertionError("calls go to replicas")

        return method


def collect(functions: Iterable[Any]) -> _Collector:
    """The services of ``add_...Servicer_to_server`` functions, or of where to import them from."""
    collector = _Collector()
    for each in functions:
        function = _import(each) if isinstance(each, str) else each
        try:
            function(_AnyServicer(), collector)
        except Exception as error:
            raise TypeError(
                f"grpc_servicer_functions: {each!r} is no function as grpcio generates them "
                f"(add_...Servicer_to_server): {type(error).__name__}: {error}"
            ) from error
    twice = {name for name in collector.names if collector.names.count(name) > 1}
    if twice:
        raise ValueError(f"grpc_servicer_functions: {sorted(twice)[0]!r} is there twice")
    return collector


def _import(path: str) -> Any:
    module, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ImportError(f"grpc_servicer_functions: {path!r} cannot be imported: {error}") from error


class Services(grpc.GenericRpcHandler):  # type: ignore[misc,unused-ignore]
    """The users' services with their methods in replicas."""

    def __init__(self, handlers: list[Any], exchanges: Exchanges) -> None:
        self._handlers = handlers
        self._exchanges = exchanges
        self._known: dict[str, Any] = {}

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a method; None when no service has it."""
        method = handler_call_details.method
        if method not in self._known:
            found = next((each for each in (h.service(handler_call_details) for h in self._handlers) if each), None)
            if found is None:
                return None  # unknown names are not kept: a client may send any
            self._known[method] = self._wrapped(method, found)
        return self._known[method]

    def _wrapped(self, method: str, handler: Any) -> Any:
        kind = ("s" if handler.request_streaming else "u") + ("s" if handler.response_streaming else "u")
        make = {
            "uu": grpc.unary_unary_rpc_method_handler,
            "us": grpc.unary_stream_rpc_method_handler,
            "su": grpc.stream_unary_rpc_method_handler,
            "ss": grpc.stream_stream_rpc_method_handler,
        }[kind]
        behavior = self._exchanges.behavior(method, kind)
        return make(behavior, handler.request_deserializer, handler.response_serializer)
