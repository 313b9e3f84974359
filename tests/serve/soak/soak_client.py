"""Requests over connections that stay open: ``python soak_client.py PORT SECONDS RATE CONNECTIONS``; RATE 0 is as fast as it goes.

With a rate, every second 20 seconds have a tenth of it, so that there is something to scale. Prints what came of it as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

REQUEST = b"GET /soak HTTP/1.1\r\nHost: localhost\r\n\r\n"
WAVE_S = 20.0


async def one_connection(port: int, end: float, interval: float, found: dict[str, Any]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
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
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        body = await reader.readexactly(length)
        found["longest_s"] = max(found["longest_s"], time.perf_counter() - sent)
        found["requests"] += 1
        if not head.startswith(b"HTTP/1.1 200"):
            found["failed"] += 1
            found["errors"].append((head + body).decode(errors="replace")[:500])
            del found["errors"][10:]
    writer.close()


async def main(port: int, seconds: float, rate: float, connections: int) -> None:
    found: dict[str, Any] = {"requests": 0, "failed": 0, "errors": [], "longest_s": 0.0}
    end = time.perf_counter() + seconds
    interval = connections / rate if rate else 0.0
    results = await asyncio.gather(
        *[one_connection(port, end, interval, found) for _ in range(connections)], return_exceptions=True
    )
    for result in results:
        if result is not None:
            found["failed"] += 1
            found["errors"].append(repr(result))
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
