"""What the connections of one proxy share: limits, the clock of all time-outs, the date, and who is connected.

One timer per proxy looks at every connection twice a second, so that no request pays for setting and cancelling timers.
"""

from __future__ import annotations

import asyncio
import ipaddress
from email.utils import formatdate
from time import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.serve._observe.counters import Counters
    from aktis.serve._proxy.dispatch import Dispatcher
    from aktis.serve._proxy.protocol import EdgeProtocol

LOOK_EVERY = 0.5  # seconds
MOST_HEADERS = 128
LONGEST_TARGET = 16 * 1024


class Edge:
    """See the module's docstring.

    Args:
        options: HTTPOptions.
        dispatcher: gets the requests; None while there is none.
        counters: of the proxy.
        loop: of the proxy.
    """

    def __init__(
        self, options: Any, dispatcher: Dispatcher, counters: Counters, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.dispatcher = dispatcher
        self.counters = counters
        self.loop = loop
        self.max_body = options.max_body_bytes or 0
        self.max_header_bytes = options.max_header_bytes
        self.max_connections = options.max_connections or 0
        self.header_timeout = options.header_timeout_s
        self.body_timeout = options.body_timeout_s
        self.write_timeout = options.write_timeout_s
        self.keep_alive_timeout = options.keep_alive_timeout_s
        self.asgi = bool(options.middlewares)  # requests go through an ASGI application
        self.trusted = TrustedProxies(trusted_of(options))
        self.draining = False
        self.connections: set[EdgeProtocol] = set()
        self.opened = 0
        self.server_state: Any = None  # uvicorn's
        self.date_line = b""
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look at the clock."""
        self._look()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        date = formatdate(time(), usegmt=True).encode()
        self.date_line = b"date: " + date + b"\r\n"
        if self.server_state is not None:
            self.server_state.default_headers = [(b"date", date)]
        self._timer = self.loop.call_later(LOOK_EVERY, self._look)
        now = self.loop.time()
        for connection in list(self.connections):
            connection.check_time(now)


def trusted_of(options: Any) -> tuple[str, ...]:
    """The addresses whose X-Forwarded- headers count."""
    if not options.proxy_headers:
        return ()
    return tuple(options.trusted_proxies)


class TrustedProxies:
    """Who may say for whom a request is. Pure.

    Args:
        addresses: IP addresses and networks ("10.0.0.0/8"), or "*" for everybody.
    """

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self.everybody = "*" in addresses
        self.networks = [ipaddress.ip_network(each, strict=False) for each in addresses if each != "*"]
        self._known: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return self.everybody or bool(self.networks)

    def trusts(self, host: str) -> bool:
        if self.everybody:
            return True
        known = self._known.get(host)
        if known is None:
            if len(self._known) > 1000:
                self._known.clear()
            try:
                address = ipaddress.ip_address(host)
            except ValueError:
                known = False
            else:
                known = any(address in network for network in self.networks)
            self._known[host] = known
        return known

    def client_of(self, forwarded_for: str) -> str | None:
        """The nearest address in an X-Forwarded-For that is not one of ours; None if there is none that is an address."""
        hosts = [host.strip() for host in forwarded_for.split(",")]
        for host in reversed(hosts):
            bare = host[1 : host.index("]")] if host.startswith("[") and "]" in host else host
            if bare.count(":") == 1:
                bare = bare.partition(":")[0]
            try:
                ipaddress.ip_address(bare)
            except ValueError:
                return None
            if self.everybody:
                continue
            if not self.trusts(bare):
                return bare
        first = hosts[0]
        return first if first and ":" not in first else first.strip("[]") or None
