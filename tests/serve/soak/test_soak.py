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


def application(version: int) -> Any:
    @serve.deployment(
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
    async def soak(request: Any) -> str:
        return f"{os.getpid()} {version}"

    return soak.bind()


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


def memory_mb() -> dict[str, float]:
    """Private memory of the processes that stay: not of replicas, which come and go, nor of the client."""
    found: dict[str, float] = {}
    for pid in descendants(os.getpid()):
        try:
            title = Path(f"/proc/{pid}/comm").read_text().strip()
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        if (title.startswith("aktis") and "Replica" not in title and title != "aktis-worker") or pid == os.getpid():
            kilobytes = sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_"))
            found[f"{title} {pid}"] = kilobytes / 1024
    return found


class Trouble:
    """What is done to it meanwhile."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.kills = 0
        self.updates = 0
        self.replicas: set[int] = set()
        self.memory: dict[str, list[float]] = {}
        self.errors: list[BaseException] = []
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._each, args=(KILL_EACH_S, self._kill)),
            threading.Thread(target=self._each, args=(UPDATE_EACH_S, self._update)),
            threading.Thread(target=self._each, args=(SAMPLE_EACH_S, self._look)),
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

    def _look(self) -> None:
        self.replicas.add(sum(serve.status().applications["soak"].deployments["soak"].replica_states.values()))
        for name, megabytes in memory_mb().items():
            self.memory.setdefault(name, []).append(megabytes)


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
    report += (
        f", longest {found['longest_s']:.2f} s, memory { ({k: (v[0], v[-1]) for k, v in trouble.memory.items()}) }"
    )
    print(report)
    assert not trouble.errors, trouble.errors
    assert not found["failed"], (report, found)
    assert trouble.kills >= SECONDS / KILL_EACH_S / 2
    assert trouble.updates >= 1
    if SECONDS >= 300:  # the first minutes warm up
        for name, samples in trouble.memory.items():
            if len(samples) > 0.8 * SECONDS / SAMPLE_EACH_S:
                third = len(samples) // 3
                assert median(samples[-third:]) < 1.1 * median(samples[third : 2 * third]) + 3, (name, samples)
