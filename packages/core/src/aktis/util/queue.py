"""A first-in first-out queue that tasks, actors and the driver share.

The queue is an async actor: a ``get`` that waits is a coroutine there, not a thread. Whoever holds the
:class:`Queue` object can use it; it can be passed to tasks and actors, and pickled.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterable
from typing import Any

import aktis

__all__ = ["Empty", "Full", "Queue"]

# Waiting calls occupy the actor's concurrency: with Ray's default of 1,000, a thousand waiting consumers lock
# the producers out. Coroutines are cheap, so the limit is set where nobody meets it.
_MAX_CONCURRENCY = 1_000_000


class Empty(queue.Empty):
    """The queue had no item (in time)."""


class Full(queue.Full):
    """The queue had no room (in time)."""


class Queue:
    """A queue with the interface of :class:`queue.Queue`, for the whole session.

    ``maxsize`` bounds the number of items (0: no bound). ``actor_options`` are options of the actor that
    holds the items, as in ``Queue(actor_options={"num_cpus": 1, "name": "jobs"})``.
    An item that is an :class:`~aktis.ObjectRef` is replaced by its value, as arguments of calls are.
    """

    def __init__(self, maxsize: int = 0, actor_options: dict[str, Any] | None = None) -> None:
        options: dict[str, Any] = {"max_concurrency": _MAX_CONCURRENCY, **(actor_options or {})}
        self.maxsize = maxsize
        self.actor: Any = aktis.remote(_QueueActor).options(**options).remote(maxsize)

    def __len__(self) -> int:
        return self.size()

    def size(self) -> int:
        """The number of items in the queue; it may have changed when you look at it."""
        return int(aktis.get(self.actor.qsize.remote()))

    def qsize(self) -> int:
        """The same as :meth:`size`."""
        return self.size()

    def empty(self) -> bool:
        """Whether the queue holds no item."""
        return self.size() == 0

    def full(self) -> bool:
        """Whether the queue is bounded and holds ``maxsize`` items."""
        return self.maxsize > 0 and self.size() >= self.maxsize

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an item. With ``block``, wait for room, up to ``timeout`` seconds. Raises :class:`Full`."""
        if not aktis.get(self.actor.put.remote(item, _patience(block, timeout))):
            raise Full(f"the queue holds {self.maxsize} items, which is its maxsize")

    async def put_async(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """:meth:`put` for coroutines."""
        if not await self.actor.put.remote(item, _patience(block, timeout)):
            raise Full(f"the queue holds {self.maxsize} items, which is its maxsize")

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the oldest item. With ``block``, wait for one, up to ``timeout`` seconds. Raises :class:`Empty`."""
        found, item = aktis.get(self.actor.get.remote(_patience(block, timeout)))
        if not found:
            raise Empty("the queue is empty")
        return item

    async def get_async(self, block: bool = True, timeout: float | None = None) -> Any:
        """:meth:`get` for coroutines."""
        found, item = await self.actor.get.remote(_patience(block, timeout))
        if not found:
            raise Empty("the queue is empty")
        return item

    def put_nowait(self, item: Any) -> None:
        """``put(item, block=False)``."""
        self.put(item, block=False)

    def put_nowait_batch(self, items: Iterable[Any]) -> None:
        """Add all of ``items``, or none: raises :class:`Full` when there is no room for all."""
        if not isinstance(items, Iterable):
            raise TypeError(f"items must be iterable, not {type(items).__name__}")
        batch = list(items)
        if not aktis.get(self.actor.put_batch.remote(batch)):
            raise Full(f"the queue has no room for {len(batch)} more items; its maxsize is {self.maxsize}")

    def get_nowait(self) -> Any:
        """``get(block=False)``."""
        return self.get(block=False)

    def get_nowait_batch(self, num_items: int) -> list[Any]:
        """Take the ``num_items`` oldest items, or none: raises :class:`Empty` when there are fewer."""
        if not isinstance(num_items, int):
            raise TypeError(f"num_items must be an int, not {num_items!r}")
        if num_items < 0:
            raise ValueError(f"num_items must not be negative, got {num_items}")
        found, items = aktis.get(self.actor.get_batch.remote(num_items))
        if not found:
            raise Empty(f"the queue holds fewer than {num_items} items")
        return list(items)

    def shutdown(self, force: bool = False, grace_period_s: int = 5) -> None:
        """End the actor and throw its items away. Calls that wait get an :class:`~aktis.exceptions.ActorDiedError`.

        Without ``force``, calls that were made before may finish, for up to ``grace_period_s`` seconds.
        """
        if self.actor is None:
            return
        if not force:
            # Waiting gets would keep the actor from ever being idle, so finishing is bounded by the grace period.
            farewell = self.actor.qsize.remote()
            aktis.wait([farewell], num_returns=1, timeout=grace_period_s)
        aktis.kill(self.actor, no_restart=True)
        self.actor = None


def _patience(block: bool, timeout: float | None) -> float | None:
    """How long the actor may wait: 0 not at all, None for ever."""
    if not block:
        return 0.0
    if timeout is not None and timeout < 0:
        raise ValueError(f"timeout must not be negative, got {timeout!r}")
    return timeout


class _QueueActor:
    """Holds the items. Methods answer with a flag instead of raising, which is cheaper and pickles for sure."""

    def __init__(self, maxsize: int) -> None:
        self._maxsize = maxsize
        self._items: asyncio.Queue[Any] = asyncio.Queue(maxsize)

    async def qsize(self) -> int:
        return self._items.qsize()

    async def put(self, item: Any, patience: float | None) -> bool:
        try:
            if patience is None:
                await self._items.put(item)
            elif patience == 0 or not self._items.full():
                self._items.put_nowait(item)
            else:
                await asyncio.wait_for(self._items.put(item), patience)
        except (asyncio.QueueFull, asyncio.TimeoutError):
            return False
        return True

    async def get(self, patience: float | None) -> tuple[bool, Any]:
        try:
            if patience is None:
                return True, await self._items.get()
            if patience == 0 or not self._items.empty():
                return True, self._items.get_nowait()
            return True, await asyncio.wait_for(self._items.get(), patience)
        except (asyncio.QueueEmpty, asyncio.TimeoutError):
            return False, None

    async def put_batch(self, items: list[Any]) -> bool:
        if self._maxsize > 0 and self._items.qsize() + len(items) > self._maxsize:
            return False
        for item in items:
            self._items.put_nowait(item)
        return True

    async def get_batch(self, num_items: int) -> tuple[bool, list[Any]]:
        if self._items.qsize() < num_items:
            return False, []
        return True, [self._items.get_nowait() for _ in range(num_items)]
