"""Keeps the proxies alive.

Core starts a proxy's process again when it dies, and the proxy then listens again by itself, also while the controller is
away. Beside that, each proxy has one task here that starts it, waits for its end, and sees to it that it listens at the address
that it had: a port that was free when the first one started (port 0) stays the port of all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from typing import Any

import aktis
from aktis.exceptions import ActorUnavailableError, AktisActorError, AktisError
from aktis.serve._controller.alive import RETRY_S, Ending, until_death, until_ending
from aktis.serve._controller.journal import Journal
from aktis.serve._controller.nodes import alive_nodes
from aktis.serve._controller.runner import Runner, text_of, within
from aktis.serve._protocol import NAMESPACE, PROXY_NAME
from aktis.serve.config import HTTPOptions, ProxyLocation, ProxyStatus, gRPCOptions

logger = logging.getLogger("aktis.serve")

CHECK_PERIOD_S = 10.0
CHECK_TIMEOUT_S = 30.0
FAILED_CHECKS = 3
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
DRAIN_GRACE_S = 2.0
STATS_TIMEOUT_S = 2.0

Address = tuple[str, int]


class Proxy:
    """One proxy: its handle and where it listens."""

    def __init__(self, index: int, place: str) -> None:
        self.index = index
        self.place = place  # the node where it has to be; "": anywhere
        self.node_id = place  # where it is
        self.handle: Any = None
        self.status = "STARTING"
        self.http: Address | None = None
        self.grpc: Address | None = None
        self.pid: int | None = None

    @property
    def name(self) -> str:
        """Its actor's name."""
        return f"{PROXY_NAME}#{self.index}"

    def public(self) -> ProxyStatus:
        """For users."""
        host, port = self.http or ("", 0)
        return ProxyStatus(name=self.name, status=self.status, node_id=self.node_id, host=host, port=port, pid=self.pid)


class Proxies:
    """All of them."""

    def __init__(self, runner: Runner, journal: Journal) -> None:
        self.all: dict[int, Proxy] = {}
        self.http: HTTPOptions | None = None
        self.grpc: gRPCOptions | None = None
        self._runner = runner
        self._journal = journal
        self._lock = asyncio.Lock()
        self._stopping = False

    async def start(self, http: HTTPOptions, grpc: gRPCOptions | None) -> dict[str, Any]:
        """Start them, unless they are. Returns where they listen.

        Raises what a proxy raised, for example because the port is taken.
        """
        async with self._lock:
            if not self.all and self._wanted(http, grpc):
                self.http, self.grpc = http, grpc
                await self._start_all(self._places())
            elif self.http is None:
                self.http, self.grpc = http, grpc
                self._write()
        return self.addresses()

    @property
    def on_every_node(self) -> bool:
        """Whether :meth:`follow_nodes` has anything to do."""
        return bool(self.all) and self.http is not None and self.http.location is ProxyLocation.EveryNode

    def addresses(self) -> dict[str, Any]:
        """Where they listen: one entry for each node's proxies."""
        https = dict.fromkeys(proxy.http for proxy in self.all.values() if proxy.http is not None)
        grpcs = dict.fromkeys(proxy.grpc for proxy in self.all.values() if proxy.grpc is not None)
        return {"http": list(https), "grpc": list(grpcs) or None}

    def recover(self, living: dict[str, Any]) -> None:
        """After a restart of the controller: adopt those that live, start the others again."""
        settings = self._journal.read("settings", "proxies")
        if settings is None:
            return
        self.http, self.grpc, places = settings
        for index, node_id, http, grpc, pid in places:
            proxy = self.all[index] = Proxy(index, node_id)
            proxy.http, proxy.grpc, proxy.pid = http, grpc, pid
            proxy.handle = living.get(proxy.name)
            self._runner.spawn(self._keep(proxy))
        if self.all:
            self._runner.spawn(self._check_all())

    async def stats(self) -> dict[str, dict[str, Any]]:
        """Their own numbers, by name; of one that does not answer, none."""

        async def ask(proxy: Proxy) -> tuple[str, dict[str, Any]]:
            found: dict[str, Any] = {}
            if proxy.handle is not None:
                with contextlib.suppress(AktisError, asyncio.TimeoutError):
                    found = await within(proxy.handle.stats.remote(), STATS_TIMEOUT_S)
            return proxy.name, found

        return dict(await asyncio.gather(*(ask(proxy) for proxy in self.all.values())))

    async def stop(self) -> None:
        """Let them finish what they have, and end them."""
        self._stopping = True
        async with self._lock:
            limit = self.http.drain_timeout_s if self.http is not None else 0.0
            for proxy in self.all.values():
                proxy.status = "DRAINING"
            await asyncio.gather(*(self._end(proxy, limit) for proxy in self.all.values()))
            self.all.clear()
            self.http = self.grpc = None
            self._journal.erase("settings", "proxies")
        self._stopping = False

    def follow_nodes(self) -> None:
        """Nodes came or went: with a proxy on each node, so do proxies."""
        if self._stopping or not self.on_every_node:
            return
        places = self._places()
        gone = [proxy for proxy in self.all.values() if proxy.place not in places]
        for proxy in gone:
            del self.all[proxy.index]
            self._kill(proxy)  # its task ends with it
        served = {proxy.place for proxy in self.all.values()}
        for node_id in places:
            if node_id not in served:
                index = next(index for index in range(len(self.all) + 1) if index not in self.all)
                proxy = Proxy(index, node_id)
                proxy.http = next((each.http for each in self.all.values() if each.http), None)
                proxy.grpc = next((each.grpc for each in self.all.values() if each.grpc), None)
                self.all[index] = proxy
                self._runner.spawn(self._keep(proxy))
        if gone or len(served) != len(self.all):
            self._write()

    # -- one proxy ----------------------------------------------------------------------------

    async def _start_all(self, places: list[str]) -> None:
        first_http = first_grpc = None
        try:
            for index, node_id in enumerate(places):
                proxy = self.all[index] = Proxy(index, node_id)
                proxy.http, proxy.grpc = first_http, first_grpc
                await self._begin(proxy)
                first_http, first_grpc = proxy.http, proxy.grpc
        except BaseException as error:
            for proxy in self.all.values():
                self._kill(proxy)
            self.all.clear()
            self.http = self.grpc = None
            raise (getattr(error, "cause", None) or error) from None
        self._write()
        for proxy in self.all.values():
            self._runner.spawn(self._keep(proxy))
        self._runner.spawn(self._check_all())

    async def _begin(self, proxy: Proxy) -> None:
        """Create the actor, and let it listen."""
        from aktis.serve._controller.proxy_host import ProxyHost

        if self.http is None:
            raise RuntimeError("proxies have no options yet")
        proxy.status = "STARTING"
        http, grpc = self.http, self.grpc
        if proxy.http is not None:
            http = dataclasses.replace(http, port=proxy.http[1])
        if proxy.grpc is not None and grpc is not None:
            grpc = dataclasses.replace(grpc, port=proxy.grpc[1])
        options: dict[str, Any] = {
            "name": proxy.name,
            "namespace": NAMESPACE,
            "lifetime": "detached",
            "num_cpus": http.num_cpus,
            "max_concurrency": 1_000_000,
            "max_restarts": -1,
        }
        if proxy.place:
            from aktis.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(proxy.place, soft=False)
        actor_class: Any = aktis.remote(ProxyHost)
        proxy.handle = actor_class.options(**options).remote(proxy.index, http, grpc)
        await self._listen(proxy)

    async def _listen(self, proxy: Proxy) -> None:
        """Wait until it listens, and note where."""
        where = await proxy.handle.start.remote()
        proxy.http = _address(where.get("http")) or proxy.http
        proxy.grpc = _address(where.get("grpc")) or proxy.grpc
        stats = await within(proxy.handle.stats.remote(), CHECK_TIMEOUT_S)
        proxy.pid, proxy.node_id = stats.get("pid"), stats.get("node_id") or proxy.node_id
        proxy.status = "HEALTHY"

    async def _keep(self, proxy: Proxy) -> None:
        """Until it is not wanted any more."""
        pause = FIRST_PAUSE_S
        while self._is_wanted(proxy):
            try:
                if proxy.handle is None:
                    await self._begin(proxy)
                    self._write()
                elif proxy.status != "HEALTHY":
                    await self._listen(proxy)
                    self._write()
                pause = FIRST_PAUSE_S
            except Exception as error:
                if isinstance(error, ActorUnavailableError):
                    await asyncio.sleep(RETRY_S)
                    continue
                proxy.status = "UNHEALTHY"
                logger.error("%s could not be started again: %s", proxy.name, text_of(error))
                await self._kill_and_wait(proxy)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
                continue
            ending, reason = await until_ending(proxy.handle)
            proxy.status = "STARTING"
            if ending is Ending.DEAD:
                proxy.handle = None
            if self._is_wanted(proxy):
                logger.warning("%s is started again: %s", proxy.name, reason)
        self._kill(proxy)

    async def _check_all(self) -> None:
        failures: dict[int, int] = {}
        while self.all and not self._stopping:
            await asyncio.sleep(CHECK_PERIOD_S)
            for proxy in list(self.all.values()):
                handle = proxy.handle
                if handle is None or proxy.status == "STARTING":
                    continue
                try:
                    await within(handle.stats.remote(), CHECK_TIMEOUT_S)
                    failures.pop(proxy.index, None)
                    proxy.status = "HEALTHY"
                except AktisActorError:
                    continue  # _keep has noticed
                except Exception as error:
                    failures[proxy.index] = failures.get(proxy.index, 0) + 1
                    proxy.status = "UNHEALTHY"
                    logger.warning("%s does not answer: %s", proxy.name, text_of(error))
                    if failures[proxy.index] >= FAILED_CHECKS:
                        failures.pop(proxy.index)
                        self._kill(proxy)

    async def _end(self, proxy: Proxy, limit_s: float) -> None:
        handle = proxy.handle
        if handle is not None:
            with contextlib.suppress(Exception):
                await within(handle.drain.remote(limit_s), limit_s + DRAIN_GRACE_S)
        await self._kill_and_wait(proxy)

    async def _kill_and_wait(self, proxy: Proxy) -> None:
        handle = proxy.handle
        self._kill(proxy)
        if handle is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(until_death(handle), DRAIN_GRACE_S)
        proxy.handle = None

    def _kill(self, proxy: Proxy) -> None:
        if proxy.handle is not None:
            with contextlib.suppress(AktisError, ValueError):
                aktis.kill(proxy.handle)

    def _is_wanted(self, proxy: Proxy) -> bool:
        return not self._stopping and self.all.get(proxy.index) is proxy

    def _write(self) -> None:
        places = [(each.index, each.place, each.http, each.grpc, each.pid) for each in self.all.values()]
        self._journal.keep("settings", "proxies", (self.http, self.grpc, places))

    @staticmethod
    def _wanted(http: HTTPOptions, grpc: gRPCOptions | None) -> bool:
        return http.enabled or bool(grpc is not None and grpc.enabled)

    def _places(self) -> list[str]:
        """A node for each proxy; "" for any, where there is only one."""
        if self.http is None:
            return []
        nodes = alive_nodes()
        location, each = self.http.location, self.http.num_proxies
        if location is ProxyLocation.EveryNode:
            return [node for node in nodes for _ in range(each)]
        if location is ProxyLocation.FixedNumber and len(nodes) > 1:
            import random

            seed = random.Random(self.http.fixed_number_selection_seed)
            chosen = seed.sample(nodes, min(self.http.fixed_number_replicas or 1, len(nodes)))
            return [node for node in chosen for _ in range(each)]
        head = nodes[0] if len(nodes) > 1 else ""
        return [head] * each


def _address(value: Any) -> Address | None:
    return (str(value[0]), int(value[1])) if value else None
