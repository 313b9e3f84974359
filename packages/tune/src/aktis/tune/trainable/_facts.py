"""What is filled into every result and hardly changes: worked out once, so that a report stays cheap."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

__all__ = ["HostFacts", "host_facts", "today"]


class HostFacts(NamedTuple):
    """Where this process runs."""

    pid: int
    hostname: str
    node_ip: str


_host: HostFacts | None = None
_today = (-1, "")


def host_facts() -> HostFacts:
    """Process, machine and address of this node."""
    global _host
    if _host is None or _host.pid != os.getpid():
        _host = HostFacts(os.getpid(), os.uname().nodename, _node_ip())
    return _host


def today(now: float) -> str:
    """``now`` as ``2024-01-31_12-00-00``, local time."""
    global _today
    second, text = _today
    if second != int(now):
        second = int(now)
        text = time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(second))
        _today = second, text
    return text


def _node_ip() -> str:
    import aktis

    if not aktis.is_initialized():
        return "127.0.0.1"
    from aktis.util import get_node_ip_address

    return get_node_ip_address()
