"""The actor of a proxy, as the controller sees it: what it takes to serve HTTP is imported where it runs, and only there."""

from __future__ import annotations

import asyncio
from typing import Any

from aktis.serve._loops import new_event_loop


class ProxyHost:
    """Holds a ProxyActor; see docs/internals-serve.md for what its methods mean to their callers."""

    def __init__(self, index: int, http_options: Any, grpc_options: Any = None) -> None:
        from aktis.serve._proxy.actor import ProxyActor

        self._proxy = ProxyActor(index, http_options, grpc_options)

    @staticmethod
    def __aktis_event_loop__() -> asyncio.AbstractEventLoop:
        return new_event_loop()

    async def start(self) -> dict[str, Any]:
        """Listen. Returns the addresses; may be called again."""
        return await self._proxy.start()

    async def stats(self) -> dict[str, Any]:
        """Its numbers."""
        return await self._proxy.stats()

    async def drain(self, timeout: float) -> bool:
        """Take no more connections, finish what there is."""
        return await self._proxy.drain(timeout)
