"""A crawler: workers take addresses from a queue, fetch pages, and put the links that they find back into it.

The queue is an actor that everybody shares, and so is the list of what has been seen. The work is waiting, not computing, so
the workers share the CPUs (``num_cpus=0``). The site is a small one that this program serves itself, on a free port: pages
that link to others in a circle, some of them slow, one of them missing.

Run: python examples/web_crawler.py
Needs: pip install aktis-core
Prints: how many pages each worker fetched, and what could not be fetched.
"""

from __future__ import annotations

import re
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import aktis
from aktis.util.queue import Queue

PAGES, WORKERS = 40, 6


class Site(BaseHTTPRequestHandler):
    """Page n links to 2n and 2n + 1, and back to the first; page 33 is not there."""

    def do_GET(self) -> None:
        number = int(self.path.strip("/"))
        time.sleep(0.05)  # as far away as the next country
        links = [link for link in (1, 2 * number, 2 * number + 1) if link <= PAGES]
        self.send_response(404 if number == 33 else 200)
        self.end_headers()
        self.wfile.write("".join(f'<a href="/{link}">page {link}</a>' for link in links).encode())

    def log_message(self, *_: Any) -> None:
        pass


@aktis.remote(num_cpus=0)
class Frontier:
    """What was seen, what is under way, and what came of it."""

    def __init__(self, queue: Queue) -> None:
        self.queue, self.seen, self.open = queue, set(), 0
        self.results: dict[str, str | int] = {}

    def add(self, paths: list[str]) -> None:
        new = sorted(set(paths) - self.seen)
        self.seen.update(new)
        self.open += len(new)
        self.queue.put_nowait_batch(new)

    def done(self, path: str, result: str | int, links: list[str]) -> None:
        self.results[path] = result
        self.add(links)
        self.open -= 1
        if not self.open:
            self.queue.put_nowait_batch([None] * WORKERS)  # everybody may go home

    def get_results(self) -> dict[str, str | int]:
        return self.results


@aktis.remote(num_cpus=0)
def crawl(site: str, queue: Queue, frontier: Any) -> int:
    fetched = 0
    while (path := queue.get()) is not None:
        try:
            with urllib.request.urlopen(site + path, timeout=10) as page:
                text = page.read().decode()
            result: str | int = len(text)
        except urllib.error.HTTPError as error:
            text, result = "", f"status {error.code}"
        fetched += 1
        frontier.done.remote(path, result, re.findall('href="([^"]+)"', text))
    return fetched


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with aktis.init():
            queue: Queue = Queue()
            frontier = Frontier.remote(queue)
            frontier.add.remote(["/1"])
            site = f"http://127.0.0.1:{server.server_port}"
            shares = aktis.get([crawl.remote(site, queue, frontier) for _ in range(WORKERS)])
            results = aktis.get(frontier.get_results.remote())
    finally:
        server.shutdown()
        server.server_close()
    broken = {path: result for path, result in results.items() if isinstance(result, str)}
    print(f"{len(results)} pages by {WORKERS} workers: {sorted(shares)}; not fetched: {broken}")
    assert set(results) == {f"/{number}" for number in range(1, PAGES + 1)}
    assert sum(shares) == PAGES and broken == {"/33": "status 404"}


if __name__ == "__main__":
    main()
