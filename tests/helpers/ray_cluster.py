"""A real Ray cluster of several nodes on this machine, for tests and benchmarks of the Ray engine.

Every node is a ``ray start --block`` of its own session of processes, so that it can be killed alone and nothing of it
outlives us. The nodes' interpreter need not have Aktis, and doesn't find ours: what Aktis needs there must travel.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

_libc = ctypes.CDLL(None)
START_S = 300.0  # a busy machine takes minutes for what a quiet one does in seconds
STORE_BYTES = 150 << 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end_with_parent() -> None:
    """The kernel tells a node to stop when we die, be it by kill -9."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def processes_of_session(leader: int) -> dict[int, str]:
    """Living processes of the session that ``leader`` leads, or led: command lines by pid."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # it ended while we looked
            continue
        if int(session) == leader and state != "Z":
            found[int(entry.name)] = command
    return found


@dataclass(slots=True)
class RayNode:
    """A node's ``ray start --block``."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def processes(self) -> dict[int, str]:
        return processes_of_session(self.pid)

    def find(self, text: str) -> list[int]:
        """Processes of this node whose command line has this text: "raylet/raylet", "ray::task_name", ..."""
        return [pid for pid, command in self.processes().items() if text in command]

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self) -> None:
        """Politely first: Ray then removes what it has in shared memory."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def kill(self) -> None:
        """As when the machine's power fails: all of the node at once."""
        deadline = time.monotonic() + 20
        while (pids := self.processes()) and time.monotonic() < deadline:
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            if self.process.poll() is None:
                self.process.wait(20)
            time.sleep(0.02)
        self.process.wait(20)


@dataclass(slots=True)
class RayCluster:
    """A head and further nodes. ``with RayCluster.start() as cluster``.

    ``environment`` is what a driver (and a node that is added) needs to find the cluster and to be let in: RAY_ADDRESS and
    the token.
    """

    python: str
    folder: Path
    environment: dict[str, str]
    port: int
    client_port: int
    store_bytes: int
    nodes: list[RayNode] = field(default_factory=list)

    @classmethod
    def start(
        cls, python: str = sys.executable, nodes: int = 2, cpus: int = 2, store_bytes: int = STORE_BYTES
    ) -> RayCluster:
        folder = Path(tempfile.mkdtemp(prefix="rc", dir="/tmp"))  # sockets' paths must be short
        port, client_port = free_port(), free_port()
        environment = {
            "RAY_ADDRESS": f"127.0.0.1:{port}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        cluster = cls(python, folder, environment, port, client_port, store_bytes)
        try:
            cluster.add_node(cpus)
            for _ in range(nodes - 1):
                cluster.add_node(cpus)
        except BaseException:
            cluster.stop()
            raise
        return cluster

    @property
    def address(self) -> str:
        return self.environment["RAY_ADDRESS"]

    @property
    def client_address(self) -> str:
        return f"ray://127.0.0.1:{self.client_port}"

    def add_node(self, cpus: int = 2, resources: Mapping[str, float] | None = None) -> RayNode:
        """Start a node and wait until the cluster has it. Each has a resource ``node-N``; the first is the head, with widgets."""
        number = len(self.nodes)
        command = [self.python, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        if number == 0:
            command += ["--head", f"--port={self.port}", f"--ray-client-server-port={self.client_port}"]
            command += ["--include-dashboard=false", f"--temp-dir={self.folder / 'ray'}"]
        else:
            command += [f"--address={self.address}"]
        command += [f"--num-cpus={cpus}", f"--object-store-memory={self.store_bytes}"]
        command += [
            "--resources",
            json.dumps({f"node-{number}": 1} | ({} if number else {"widget": 2}) | dict(resources or {})),
        ]
        log = self.folder / f"node-{number}.log"
        environment = self._environment_of_nodes()
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment,
                cwd=self.folder, start_new_session=True, preexec_fn=_end_with_parent,
            )  # fmt: skip
        node = RayNode(process, log)
        self.nodes.append(node)
        deadline = time.monotonic() + START_S
        while "Ray runtime started" not in (said := node.said()):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"node {number} of the Ray cluster did not start:\n{said}")
            time.sleep(0.05)
        return node

    def _environment_of_nodes(self) -> dict[str, str]:
        """Ours without what leads to Aktis: a node is another machine."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AKTIS_", "RAY_", "PYTEST_"))}
        kept.pop("PYTHONPATH", None)
        kept.pop("PYTHONSAFEPATH", None)
        environment = kept | self.environment
        environment.pop("RAY_ADDRESS")
        environment["RAY_raylet_start_wait_time_s"] = str(int(START_S))  # Ray gives up after 30 s otherwise
        environment["RAY_health_check_period_ms"] = "500"  # a dead node is noticed in seconds, not in half a minute
        environment["RAY_health_check_failure_threshold"] = "3"
        return environment

    def processes(self) -> dict[int, str]:
        return {pid: command for node in self.nodes for pid, command in node.processes().items()}

    def gone(self) -> list[RayNode]:
        """Nodes that have ended."""
        return [node for node in self.nodes if node.process.poll() is not None]

    def stop(self) -> None:
        for node in reversed(self.nodes):
            node.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def run(self, code: str, address: str = "ray", limit_s: float = 120, **variables: str) -> str:
        """What a driver prints that has this code; it finds the cluster through AKTIS_ADDRESS."""
        return self._run(["-c", code], address, limit_s, variables)

    def run_file(
        self, path: Path, *arguments: str, address: str = "ray", limit_s: float = 120, **variables: str
    ) -> str:
        return self._run([str(path), *arguments], address, limit_s, variables)

    def _run(self, arguments: list[str], address: str, limit_s: float, variables: Mapping[str, str]) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], env=self.environment_of_driver(address, **variables), capture_output=True,
            text=True, timeout=limit_s, check=False,
        )  # fmt: skip
        if done.returncode:
            raise AssertionError(f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def environment_of_driver(self, address: str = "ray", **variables: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        return kept | self.environment | {"AKTIS_ADDRESS": address} | variables


@contextmanager
def environment_set(values: Mapping[str, str]) -> Iterator[None]:
    """Variables of this process, as long as the block lasts."""
    before: dict[str, Any] = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
