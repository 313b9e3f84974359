"""Replies that the proxy makes by itself."""

from __future__ import annotations

import json
from math import ceil
from typing import Any, NamedTuple

TEXT = (b"content-type", b"text/plain; charset=utf-8")
JSON = (b"content-type", b"application/json")
RETRY_AFTER = (b"retry-after", b"1")
CLOSE = (b"connection", b"close")

CLIENT_GONE = 499  # for logs and metrics: nobody gets this reply
TIMED_OUT = 408


class Reply(NamedTuple):
    """A whole reply, and what it is called in metrics."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def text(status: int, message: str, *headers: tuple[bytes, bytes]) -> Reply:
    return Reply(status, (TEXT, *headers), message.encode())


def as_json(value: Any, status: int = 200) -> Reply:
    return Reply(status, (JSON, (b"cache-control", b"no-store")), json.dumps(value, default=str).encode())


def not_found(path: str) -> Reply:
    """No application has this path."""
    shown = path if len(path) <= 200 else path[:200] + "..."
    return text(404, f"Path '{shown}' not found. Ping http://.../-/routes for available routes.")


def unavailable(why: str, status: int = 503, retry_after_s: float | None = None) -> Reply:
    after = RETRY_AFTER if retry_after_s is None else (b"retry-after", str(ceil(retry_after_s)).encode())
    return text(status, why, after)


def died(request_id: str, attempts: int = 1) -> Reply:
    """The replica died, and the request may have had effects; ``attempts``: it was run again, and they all died."""
    if attempts > 1:
        return text(502, f"The {attempts} replicas that worked on request {request_id}, one after the other, died.")
    return text(
        502,
        f"The replica that worked on request {request_id} died. It was not run again, because it may have had effects. "
        "Requests with an Idempotency-Key header, and GET, HEAD, OPTIONS, PUT and DELETE, are run again.",
    )


def timed_out(request_id: str, seconds: float | None) -> Reply:
    """``seconds``: the request's limit; None: it had none, but its client was too slow."""
    after = "while its body came" if seconds is None else f"after {seconds:g} s"
    return text(TIMED_OUT, f"Request {request_id} timed out {after}.", CLOSE)


def too_large(limit: int) -> Reply:
    return text(413, f"The body of the request is larger than {limit} bytes, the most that is taken here.", CLOSE)


def failed(request_id: str, detail: str = "") -> Reply:
    message = f"Internal Server Error (request {request_id})"
    return text(500, f"{message}\n\n{detail}" if detail else message)
