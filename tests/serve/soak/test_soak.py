"""Half of the most that it can do, for minutes, while replicas are killed, updated and scaled: no request fails, memory stays flat.

``AKTIS_SOAK_SECONDS=600`` runs it for ten minutes; the default is one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

import aktis
from aktis import serve

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("AKTIS_SOAK_SECONDS", "60"))
KILL_EACH_S = 10.0
UPDATE_EACH_S = 60.0 if SECONDS > 120 else 15.0
SAMPLE_EACH_S = 2.0
CONNECTIONS = 16
CLIENT = Path(__file__).with_name("soak_client.py")


def make_ingress(version: int) -> Any:
    """An ASGI application that answers, streams and talks; and a method for handles. Made here, so that it travels by value."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        import asyncio

        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"]})
            return
        body = b"%d %d" % (os.getpid(), version)
        if scope["method"] == "POST":
            size, more = 0, True
            while more:
                message = await receive()
                size += len(message.get("body", b""))
                more = message.get("more_body", False)
            body = b"%d %d" % (size, version)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        if scope["path"].endswith("/stream"):
            for number in range(10):
                await send({"type": "http.response.body", "body": b"%d\n" % number, "more_body": True})
                await asyncio.sleep(0.005)
            body = b""
        await send({"type": "http.response.body", "body": body})

    class Ingress:
        async def add(self, one: int, other: int) -> int:
            return one + other

    return serve.ingress(lambda: app)(Ingress)


def application(version: int) -> Any:
    deployment = serve.deployment(
        name="soak",
        version=str(version),
        max_ongoing_requests=50,
        autoscaling_config={
            "min_replicas": 2,
            "max_replicas": 4,
            "target_ongoing_requests": 1.0,
            "upscale_delay_s": 1.0,
            "downscale_delay_s": 5.0,
        },
        ray_actor_options={"num_cpus": 0},
    )
    return deployment(make_ingress(version)).bind()


@pytest.fixture
def port(own_session: None) -> Iterator[int]:
    aktis.init(num_cpus=2, log_to_driver=False)
    try:
        client = serve.start(http_options={"port": 0})
        serve.run(application(0), name="soak", route_prefix="/soak")
        yield int(client.http[0][1])
    finally:
        serve.shutdown()
        aktis.shutdown()


def client(port: int, seconds: float, rate: float) -> subprocess.Popen[str]:
    command = [sys.executable, str(CLIENT), str(port), str(seconds), str(rate), str(CONNECTIONS)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(process.communicate()[0])
    return found


def a_replica(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/soak", timeout=30) as reply:
        return int(reply.read().split()[0])


def descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it ended meanwhile
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def usage() -> dict[str, dict[str, float]]:
    """Private memory, threads and descriptors of the processes that stay: not of replicas, which come and go, nor of the client."""
    found: dict[str, dict[str, float]] = {}
    for pid in descendants(os.getpid()):
        process = Path(f"/proc/{pid}")
        try:
            title = (process / "comm").read_text().strip()
            rollup = (process / "smaps_rollup").read_text()
            threads, files = (len(list((process / folder).iterdir())) for folder in ("task", "fd"))
        except OSError:
            continue
        if (title.startswith("aktis") and "Replica" not in title and title != "aktis-worker") or pid == os.getpid():
            kilobytes = sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_"))
            found[f"{title} {pid}"] = {"MB": kilobytes / 1024, "threads": threads, "files": files}
    return found


class Trouble:
    """What is done to it meanwhile."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.kills = 0
        self.updates = 0
        self.replicas: set[int] = set()
        self.usage: dict[str, list[dict[str, float]]] = {}
        self.handle_calls = 0
        self.errors: list[BaseException] = []
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._each, args=(KILL_EACH_S, self._kill)),
            threading.Thread(target=self._each, args=(UPDATE_EACH_S, self._update)),
            threading.Thread(target=self._each, args=(SAMPLE_EACH_S, self._look)),
            threading.Thread(target=self._each, args=(0.02, self._call)),
        ]

    def __enter__(self) -> Trouble:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _each(self, seconds: float, action: Any) -> None:
        while not self._end.wait(seconds):
            try:
                action()
            except BaseException as error:
                self.errors.append(error)
                return

    def _kill(self) -> None:
        try:
            os.kill(a_replica(self.port), signal.SIGKILL)
        except ProcessLookupError:
            return  # an update was quicker
        self.kills += 1

    def _update(self) -> None:
        self.updates += 1
        serve.run(application(self.updates), name="soak", route_prefix="/soak")

    def _call(self) -> None:
        self.handle_calls += 1
        handle = serve.get_app_handle("soak").options(method_name="add", idempotent=True)
        responses = [handle.remote(self.handle_calls, number) for number in range(5)]
        assert [each.result(timeout_s=30) for each in responses] == [self.handle_calls + number for number in range(5)]

    def _look(self) -> None:
        self.replicas.add(sum(serve.status().applications["soak"].deployments["soak"].replica_states.values()))
        for name, used in usage().items():
            self.usage.setdefault(name, []).append(used)


@pytest.mark.timeout(int(SECONDS) + 180)
def test_no_request_fails_and_memory_stays_flat(port: int) -> None:
    most = answer(client(port, 3.0, 0))
    assert not most["failed"], most
    rate = most["requests"] / 3.0 / 2
    with Trouble(port) as trouble:
        load = client(port, SECONDS, rate)
        found = answer(load)
    report = (
        f"{found['requests']} requests, {trouble.kills} kills, {trouble.updates} updates, replicas {trouble.replicas}"
    )
    used = {name: (samples[0], samples[-1]) for name, samples in trouble.usage.items()}
    report += (
        f", longest {found['longest_s']:.2f} s, {trouble.handle_calls} rounds of handle calls, {found}, used {used}"
    )
    print(report)
    assert not trouble.errors, (report, trouble.errors)
    assert not found["failed"], report
    assert trouble.kills >= SECONDS / KILL_EACH_S / 2
    assert trouble.updates >= 1
    assert found["broken"] <= 4 * trouble.kills, report  # of streams and websockets: those that the dead had begun
    if SECONDS >= 300:  # the first minutes warm up
        for name, samples in trouble.usage.items():
            if len(samples) > 0.8 * SECONDS / SAMPLE_EACH_S:
                assert_flat(name, samples)


def assert_flat(name: str, samples: list[dict[str, float]]) -> None:
    """The last third is no more than the one before."""
    third = len(samples) // 3
    for what, room in (("MB", 3.0), ("threads", 4.0), ("files", 10.0)):
        before, after = (
            median(sample[what] for sample in part) for part in (samples[third : 2 * third], samples[-third:])
        )
        assert after < 1.1 * before + room, (name, what, [sample[what] for sample in samples])
