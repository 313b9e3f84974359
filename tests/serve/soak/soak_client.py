"""Clients of all kinds over connections that stay open: ``python soak_client.py PORT SECONDS RATE CONNECTIONS``; RATE 0 is as
fast as it goes, and GETs alone.

With a rate, every second 20 seconds have a tenth of it, so that there is something to scale; and there are also POSTs with an
Idempotency-Key, streams and websockets. Prints what came of it as JSON. Streams and websockets that end too early are counted
by themselves (``broken``): a replica that dies takes those with it that it had begun.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

WAVE_S = 20.0
ITEMS = 10  # of a stream
POST_BODY = b"p" * 3000


class Client:
    """One connection, which is opened again where something has broken."""

    def __init__(self, port: int, found: dict[str, Any]) -> None:
        self.port = port
        self.found = found

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)

    async def head(self, request: bytes) -> tuple[int, bytes]:
        self.writer.write(request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        return int(head.split(b" ", 2)[1]), head

    async def whole(self, request: bytes) -> bytes:
        status, head = await self.head(request)
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        body = await self.reader.readexactly(length)
        if status != 200:
            self.failed((head + body).decode(errors="replace")[:500])
        return body

    def failed(self, what: str) -> None:
        self.found["failed"] += 1
        self.found["errors"].append(what)
        del self.found["errors"][10:]


class Get(Client):
    async def once(self) -> None:
        await self.whole(b"GET /soak HTTP/1.1\r\nHost: localhost\r\n\r\n")


class Post(Client):
    number = 0

    async def once(self) -> None:
        self.number += 1
        head = f"POST /soak/post HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: {id(self)}-{self.number}\r\n"
        body = await self.whole(head.encode() + b"Content-Length: %d\r\n\r\n" % len(POST_BODY) + POST_BODY)
        if not body.startswith(b"%d " % len(POST_BODY)):
            self.failed(f"POST: {body!r}")


class Stream(Client):
    async def once(self) -> None:
        status, head = await self.head(b"GET /soak/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        if status != 200:
            self.failed(head.decode(errors="replace"))
            raise ConnectionError
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        if body.split() != [b"%d" % number for number in range(ITEMS)]:
            self.failed(f"stream: {body!r}")


class WebSocket(Client):
    """Talks for a second or so over each connection."""

    def __init__(self, port: int, found: dict[str, Any]) -> None:
        super().__init__(port, found)
        self.socket: Any = None
        self.number = 0

    async def open(self) -> None:
        import websockets

        if self.socket is not None:
            await self.socket.close()
        self.socket = await websockets.connect(f"ws://127.0.0.1:{self.port}/soak/ws", open_timeout=30)

    async def once(self) -> None:
        import websockets

        self.number += 1
        try:
            await self.socket.send(str(self.number))
            answer = await self.socket.recv()
        except websockets.ConnectionClosed:
            raise ConnectionError from None
        if answer != str(self.number):
            self.failed(f"websocket: {answer!r}, not {self.number}")
        if not self.number % 20:
            await self.open()


async def run(client: Client, name: str, end: float, interval: float) -> None:
    found = client.found
    await client.open()
    begin = due = time.perf_counter()
    while due < end:
        now = time.perf_counter()
        if interval:
            slow = int((now - begin) / WAVE_S) % 2
            due = max(due, now - 1.0) + interval * (10 if slow else 1)
            if due > now:
                await asyncio.sleep(due - now)
        else:
            due = now
        sent = time.perf_counter()
        try:
            await client.once()
        except (OSError, asyncio.IncompleteReadError) as error:
            if name in ("Get", "Post"):
                client.failed(f"{name}: {error!r}")
            else:
                found["broken"] += 1
            await client.open()
        found["longest_s"] = max(found["longest_s"], time.perf_counter() - sent)
        found["requests"] += 1
        found[name] = found.get(name, 0) + 1


async def main(port: int, seconds: float, rate: float, connections: int) -> None:
    found: dict[str, Any] = {"requests": 0, "failed": 0, "broken": 0, "errors": [], "longest_s": 0.0}
    end = time.perf_counter() + seconds
    interval = connections / rate if rate else 0.0
    clients: list[tuple[type[Client], float]] = [(Get, interval)] * connections
    if rate:
        clients += [(Post, 0.05), (Post, 0.05), (Stream, 0.1), (Stream, 0.1), (WebSocket, 0.05), (WebSocket, 0.05)]
    results = await asyncio.gather(
        *[run(kind(port, found), kind.__name__, end, pause) for kind, pause in clients], return_exceptions=True
    )
    for result in results:
        if result is not None:
            found["failed"] += 1
            found["errors"].append(repr(result))
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
