"""gRPC of Ray 2.3: a deployment that listens for gRPC itself.

>>> class Driver(MyServiceServicer, gRPCIngress):        # doctest: +SKIP
...     def __init__(self, handle):
...         self.handle = handle
...         super().__init__(port=9000)
...     async def MyMethod(self, request, context):
...         return await (await self.handle.remote(request))

Newer programs leave that to the proxy: see ``gRPCOptions.grpc_servicer_functions``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from aktis.serve._grpc import messages
from aktis.serve.deployment import Deployment

DEFAULT_PORT = 9000
GRACE = 60.0  # seconds that calls may take at the end; graceful_shutdown_timeout_s ends it earlier


def _grpc() -> Any:
    try:
        import grpc
        import grpc.aio
    except ImportError as error:
        raise ImportError('gRPC drivers need grpcio: pip install "aktis-serve[grpc]"') from error
    return grpc


class gRPCIngress:
    """Base of drivers: a class that also derives from a ``...Servicer`` that grpcio generated. Listens when it is made.

    Args:
        port: where to listen; 0: any that is free, which ``self.port`` then has.
        host: of which address; all networks with "0.0.0.0".
    """

    def __init__(self, port: int = DEFAULT_PORT, host: str = "127.0.0.1") -> None:
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
            raise ValueError(f"port must be a number from 0 to 65535, and it is {port!r}")
        grpc = _grpc()
        self.host = host
        # An update has the new replica beside the old one for a moment, on the same port.
        self.server = grpc.aio.server(options=[("grpc.so_reuseport", 1)])
        self._attach_grpc_server_with_schema()
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            self.port = int(self.server.add_insecure_port(address))
        except RuntimeError as error:
            raise OSError(
                f"gRPC cannot listen on {address}: the port is taken, or the address is not of this machine"
            ) from error
        self._running = asyncio.ensure_future(self.run())

    async def run(self) -> None:
        """Serves until the replica ends."""
        await self.server.start()
        await self.server.wait_for_termination()

    def _attach_grpc_server_with_schema(self) -> None:
        """Add this object to its server, by the function that was generated with its ``...Servicer``."""
        for base in type(self).__mro__:
            add = _adder(base)
            if add is not None:
                add(self, self.server)
                return
        raise TypeError(
            f"{type(self).__name__} must also derive from a class ...Servicer that grpcio generated, with its function "
            "add_...Servicer_to_server in the same module"
        )

    def __del__(self) -> Any:
        server = self.__dict__.get("server")
        return None if server is None else _Stop(server)


class _Stop:
    """What the replica awaits at its end. Not a coroutine: the garbage collector awaits nothing."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def __await__(self) -> Any:
        return self._server.stop(GRACE).__await__()


def _adder(base: type) -> Callable[[Any, Any], None] | None:
    """``add_<name>_to_server`` of a generated class."""
    module = sys.modules.get(base.__module__)
    found = getattr(module, f"add_{base.__name__}_to_server", None) if base.__name__.endswith("Servicer") else None
    return found if callable(found) else None


class PredictAPIsServiceServicer:
    """``ray.serve.PredictAPIsService``: Predict takes a map of names to bytes, and gives bytes."""

    async def Predict(self, request: Any, context: Any) -> Any:
        """To be given by drivers."""
        context.set_code(_grpc().StatusCode.UNIMPLEMENTED)
        raise AttributeError(f"{type(self).__name__} has no method Predict")


def add_PredictAPIsServiceServicer_to_server(servicer: Any, server: Any) -> None:
    """Adds the service to a server of grpcio."""
    server.add_generic_rpc_handlers((messages.handler("PredictAPIsService", {"Predict": servicer.Predict}),))


class DefaultgRPCDriverCode(PredictAPIsServiceServicer, gRPCIngress):
    """The code of :data:`DefaultgRPCDriver`. The graph's input is a dict of bytes, its result bytes.

    Args:
        dag: handle of a bound deployment or graph.
        port: where to listen.
    """

    def __init__(self, dag: Any, port: int = DEFAULT_PORT) -> None:
        self.dag = dag
        super().__init__(port)

    async def Predict(self, request: Any, context: Any) -> Any:
        """Calls the graph."""
        result = self.dag.remote(dict(request.input))
        while hasattr(type(result), "__await__"):  # handles of Ray 2.3 are awaited twice
            result = await result
        if not isinstance(result, (bytes, bytearray, memoryview)):
            raise TypeError(f"the graph must give bytes to Predict, and it gave {type(result).__name__}")
        return messages.messages("PredictAPIsService")["PredictResponse"](prediction=bytes(result))


DefaultgRPCDriver = Deployment.of(DefaultgRPCDriverCode, "DefaultgRPCDriver").options(is_driver_deployment=True)
"""Serves a graph as ``ray.serve.PredictAPIsService``: ``serve.run(DefaultgRPCDriver.bind(graph))``."""

__all__ = ["DefaultgRPCDriver", "gRPCIngress"]
