"""What travels in parts: bodies of requests, bodies of replies, messages of websockets. All on the replica's loop.

::

    proxy ── push(messages) ──► Inbox ── receive() ──► the user's ASGI application, or starlette's Request
    proxy ◄── http_rest() ◄── Outbox ◄── send() ── the application, or the user's generator

- Both are bounded: ``push`` returns when there is room for more, ``put`` waits while the reader is slow. So a slow client
  makes the user's generator wait, and does not fill the memory.
- When the client goes, the Inbox says so to whoever receives, and the Outbox raises ClientGone to whoever puts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

Message = dict[str, Any]

HIGH = 256 * 1024  # bytes that may wait in one direction of one request
ITEM = 128  # bytes that a chunk or message is taken for beside its content


class ClientGone(OSError):
    """The client has left: nobody reads what is sent. Starlette knows OSError from ``send`` as this."""


class _Waiters:
    """Futures of who waits for one thing."""

    __slots__ = ("_futures",)

    def __init__(self) -> None:
        self._futures: deque[asyncio.Future[None]] = deque()

    async def wait(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._futures.append(future)
        await future

    def wake(self) -> None:
        while self._futures:
            future = self._futures.popleft()
            if not future.done():
                future.set_result(None)


class Inbox:
    """Messages from the client. After the last one, and once the reply is done, everybody who receives is told that it left."""

    __slots__ = ("_farewell", "_has", "_messages", "_room", "_size", "gone")

    def __init__(self, first: Message | None, farewell: Message) -> None:
        self._messages: deque[Message] = deque()
        self._size = 0  # of what was pushed
        self._farewell = farewell
        self._has: _Waiters | None = None  # most requests never wait: made when somebody does
        self._room: _Waiters | None = None
        self.gone = False
        if first is not None:
            self._messages.append(first)
            self._size = ITEM + len(first.get("body", b""))

    def _add(self, message: Message) -> None:
        self._messages.append(message)
        self._size += _size_of(message)

    async def receive(self) -> Message:
        """The next message, as ASGI's ``receive``."""
        while not self._messages:
            if self.gone:
                return dict(self._farewell)
            if self._has is None:
                self._has = _Waiters()
            await self._has.wait()
        message = self._messages.popleft()
        self._size -= _size_of(message)
        if self._room is not None:
            self._room.wake()
        return message

    async def push(self, messages: list[Message]) -> int:
        """Messages of the client, in order. Returns when there is room for more: how many were taken; -1: nobody reads."""
        for message in messages:
            if self.gone:
                return -1
            if message["type"] in ("http.disconnect", "websocket.disconnect"):
                self.leave(message)
            else:
                self._add(message)
        if self._has is not None:
            self._has.wake()
        while self._size > HIGH and not self.gone:
            if self._room is None:
                self._room = _Waiters()
            await self._room.wait()
        return len(messages)

    def leave(self, farewell: Message | None = None) -> None:
        """The client has gone, or the reply is done."""
        if not self.gone:
            self.gone = True
            self._farewell = farewell or self._farewell
            for waiters in (self._has, self._room):
                if waiters is not None:
                    waiters.wake()


def _size_of(message: Message) -> int:
    return ITEM + len(message.get("body") or b"") + len(message.get("bytes") or b"") + len(message.get("text") or "")


class Outbox:
    """What goes to the client: chunks of bytes, or messages of a websocket. One reader."""

    __slots__ = ("_error", "_has", "_items", "_room", "_size", "closed", "ended")

    def __init__(self) -> None:
        self._items: list[Any] = []
        self._size = 0
        self._has: asyncio.Future[None] | None = None
        self._room = _Waiters()
        self._error: BaseException | None = None
        self.ended = False  # nothing more will be put
        self.closed = False  # nobody reads any more

    def add(self, item: Any, size: int) -> None:
        """Put without waiting."""
        if self.closed:
            raise ClientGone("the client has gone")
        self._items.append(item)
        self._size += size + ITEM
        self._wake()

    async def put(self, item: Any, size: int) -> None:
        """Put, and wait while there is too much."""
        self.add(item, size)
        while self._size > HIGH:
            await self._room.wait()
            if self.closed:
                raise ClientGone("the client has gone")

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more comes; with ``error`` the reader gets that in the end."""
        if not self.ended:
            self.ended, self._error = True, error
            self._wake()

    def close(self) -> None:
        """The reader has gone."""
        if not self.closed:
            self.closed = True
            self._items.clear()
            self._size = 0
            self._room.wake()
            self._wake()

    def _wake(self) -> None:
        if self._has is not None and not self._has.done():
            self._has.set_result(None)

    def take(self) -> list[Any]:
        """All that is there, without waiting."""
        items, self._items = self._items, []
        self._size = 0
        self._room.wake()
        return items

    @property
    def spent(self) -> bool:
        """Whether the reader has got everything."""
        return self.ended and not self._items

    async def get(self) -> list[Any]:
        """All that is there, at least one item; empty at the end. Raises what the producer raised."""
        while not self._items:
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            if self.ended or self.closed:
                return []
            self._has = asyncio.get_running_loop().create_future()
            await self._has
        return self.take()
