"""An async actor serves many calls at once in one process: a cache in front of something slow.

Calls that ask for the same key while it is being fetched share one fetch; the driver awaits references like any awaitable.

Run: python examples/async_actor.py
Needs: pip install aktis-core
Prints: how few fetches many calls need, and the seconds for all of them.
"""

from __future__ import annotations

import asyncio
import time

import aktis


@aktis.remote
class Cache:
    def __init__(self) -> None:
        self.fetches = 0
        self.values: dict[str, asyncio.Future[str]] = {}

    async def get(self, key: str) -> str:
        if key not in self.values:
            self.values[key] = asyncio.ensure_future(self.fetch(key))
        return await self.values[key]

    async def fetch(self, key: str) -> str:
        self.fetches += 1
        await asyncio.sleep(0.1)  # a slow service
        return key.upper()

    def count(self) -> int:
        return self.fetches


async def main() -> None:
    with aktis.init():
        cache = Cache.remote()
        start = time.perf_counter()
        keys = ["alpha", "beta", "gamma", "delta"] * 25
        values = await asyncio.gather(*(cache.get.remote(key) for key in keys))
        took = time.perf_counter() - start
        fetches = await cache.count.remote()
        print(f"{len(values)} calls, {fetches} fetches of 0.1 s each, {took:.2f} s in all")
        assert values == [key.upper() for key in keys]
        assert fetches == 4


if __name__ == "__main__":
    asyncio.run(main())
