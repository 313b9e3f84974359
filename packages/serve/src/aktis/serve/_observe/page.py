"""The page at ``/-/aktis``: what it shows, gathered from the controller and the proxies, and the page itself.

The page is one file without anything from elsewhere; it asks for ``/-/aktis/data`` each second. Texts of users get into it as text
only (``textContent``), and its Content-Security-Policy allows no other script than its own.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import re
from pathlib import Path
from time import time
from typing import Any

from aktis.serve._observe.latency import percentile
from aktis.serve._observe.observer import HISTORY, RECENT
from aktis.serve._protocol import CONTROLLER_NAME, NAMESPACE

ANSWER_WITHIN_S = 2.0  # of the controller
LONGEST_MESSAGE = 300
_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


@functools.cache
def html() -> bytes:
    """The page."""
    return Path(__file__).with_name("page.html").read_bytes()


@functools.cache
def headers() -> tuple[tuple[bytes, bytes], ...]:
    """The headers of the page: nothing runs in it but what it came with."""
    allowed: dict[str, list[str]] = {"script": [], "style": []}
    for kind, text in _INLINE.findall(html().decode()):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        allowed[kind].append(f"'sha256-{digest}'")
    policy = (
        f"default-src 'none'; script-src {' '.join(allowed['script'])}; style-src {' '.join(allowed['style'])}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return (
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-store"),
    )


async def gather(own: dict[str, Any], development: bool) -> dict[str, Any]:
    """What the page shows.

    Args:
        own: stats() of the proxy that is asked: known also while the controller is away.
        development: messages are shown whole, with the tracebacks of user code.
    """
    details = await _details()
    proxies = [entry.get("stats") or {} for entry in (details or {}).get("proxies", {}).values()]
    proxies = [own, *(stats for stats in proxies if stats and stats.get("index") != own["index"])]
    return {
        "time": time(),
        "controller": (details or {}).get("controller_info"),
        "seconds": HISTORY,
        "recent": RECENT,
        "proxies": [{key: value for key, value in stats.items() if key != "routes"} for stats in proxies],
        "routes": merge([route for stats in proxies for route in stats.get("routes", ())]),
        "applications": [
            _application(app, development) for app in (details or {}).get("applications", {}).values()
        ],
    }  # fmt: skip


async def _details() -> dict[str, Any] | None:
    """What the controller says; None while it is away."""
    import aktis
    from aktis.exceptions import AktisError

    async def ask() -> dict[str, Any]:
        controller: Any = aktis.get_actor(CONTROLLER_NAME, namespace=NAMESPACE)
        return dict(await controller.details.remote())

    try:
        return await asyncio.wait_for(ask(), ANSWER_WITHIN_S)
    except (AktisError, ValueError, asyncio.TimeoutError):
        return None


def merge(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Routes of several proxies, with the numbers of the same one added up. Pure."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for entry in entries:
        key = (entry["route"], entry["app"], entry["deployment"])
        known = found.get(key)
        if known is None:
            found[key] = {name: entry[name] for name in ("route", "app", "deployment", *_SUMS, *_LISTS, "statuses")}
            continue
        for name in _SUMS:
            known[name] += entry[name]
        for name in _LISTS:
            known[name] = _add(known[name], entry[name])
        statuses = dict(known["statuses"])
        for status, count in entry["statuses"].items():
            statuses[status] = statuses.get(status, 0) + count
        known["statuses"] = statuses
    for entry in found.values():
        recent = entry.pop("recent")
        entry.update({name: percentile(recent, share) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))})
    return sorted(found.values(), key=lambda entry: (not entry["deployment"], entry["route"]))


_SUMS = ("requests", "errors", "dropped", "lost")
_LISTS = ("requests_by_second", "errors_by_second", "recent")


def _add(one: list[int], other: list[int]) -> list[int]:
    if not one or not other:
        return list(one or other)
    return [a + b for a, b in zip(one, other)]


def _application(app: dict[str, Any], development: bool) -> dict[str, Any]:
    return {
        "name": app.get("name", ""),
        "status": app.get("status", ""),
        "message": shown(app.get("message"), development),
        "route": app.get("route_prefix"),
        "docs_path": app.get("docs_path"),
        "deployments": [_deployment(each, development) for each in (app.get("deployments") or {}).values()],
    }


def _deployment(deployment: dict[str, Any], development: bool) -> dict[str, Any]:
    return {
        "name": deployment.get("name", ""),
        "status": deployment.get("status", ""),
        "message": shown(deployment.get("message"), development),
        "wanted": deployment.get("target_num_replicas"),
        "queued": deployment.get("queued"),
        "limit": (deployment.get("deployment_config") or {}).get("max_ongoing_requests"),
        "replicas": [_replica(each, development) for each in deployment.get("replicas") or ()],
    }


def _replica(replica: dict[str, Any], development: bool) -> dict[str, Any]:
    stats = replica.get("stats")

    def number(name: str) -> Any:
        return stats.get(name) if isinstance(stats, dict) else getattr(stats, name, None)

    return {
        "id": replica.get("replica_id", ""),
        "state": replica.get("state", ""),
        "pid": replica.get("pid"),
        "node": (replica.get("node_id") or "")[:8],
        "since": replica.get("start_time_s"),
        "message": shown(replica.get("message"), development),
        "ongoing": number("ongoing"),
        "processed": number("processed"),
        "errors": number("errors"),
        "latencies": number("latencies") or [],
    }


def shown(message: str | None, development: bool) -> str:
    """What of a message is for everybody who can see the page: its first line, because the others may be a traceback."""
    if not message or development:
        return message or ""
    line, _, more = message.strip().partition("\n")
    if len(line) > LONGEST_MESSAGE:
        line, more = line[:LONGEST_MESSAGE] + "…", "more"
    return f"{line} [`serve status` shows the rest]" if more else line
