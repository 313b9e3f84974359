"""The actor that is the HTTP edge of one node. See docs/internals-serve.md.

The controller imports this module: what a proxy needs (uvicorn and all) is imported in the proxy's own process.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aktis.serve._loops import new_event_loop


class ProxyActor:
    """Takes HTTP connections and passes requests to replicas.

    Args:
        index: which one: "SERVE_PROXY#<index>".
        http_options: HTTPOptions.
        grpc_options: gRPCOptions, or None.
    """

    def __init__(self, index: int, http_options: Any, grpc_options: Any = None) -> None:
        from aktis.serve._proxy.host import ProxyHost

        self._host = ProxyHost(index, http_options, grpc_options)

    @staticmethod
    def __aktis_event_loop__() -> asyncio.AbstractEventLoop:
        return new_event_loop()

    async def start(self) -> dict[str, Any]:
        """Listens. Returns the addresses: ``{"http": (host, port), "grpc": (host, port), "pid": pid}``. May be called again.

        Raises:
            PortInUseError: somebody else has the port.
        """
        return await self._host.start()

    async def stats(self) -> dict[str, Any]:
        """Numbers for the controller, the page and the REST API."""
        return await self._host.stats()

    async def check_health(self) -> None:
        """Returns when the loop answers."""

    async def drain(self, timeout: float | None = None) -> bool:
        """Takes no more connections, finishes what it has. True: everything was finished within ``timeout`` seconds."""
        return await self._host.drain(timeout)
