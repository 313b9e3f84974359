"""A real node daemon with a fake driver in the test, and fake workers (see fake_worker.py)."""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aktis._native import protocol as op
from aktis._native.frames import Decoder, encode
from aktis._native.protocol import ActorSpec, LeaseSpec
from aktis._node.launch import NodeHandle, NodeOptions, start_node

HERE = Path(__file__).parent
PATIENCE = 20.0


class Client:
    """A process that talks to the node in the way a test wants."""

    def __init__(self, handle: NodeHandle, kind: str = "driver", **info: Any) -> None:
        self.process_id = os.urandom(8)
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(handle.address.removeprefix("unix:"))
        self.sock.settimeout(PATIENCE)
        self.decoder = Decoder()
        self.inbox: list[tuple[Any, ...]] = []
        self.counter = 0
        self.send(op.HELLO, op.PROTOCOL_VERSION, kind, self.process_id, os.getpid(), "unix:/nowhere", info)
        self.welcome = self.expect(op.WELCOME)[1]
        self.job_id = self.welcome["job_id"]

    def send(self, *message: Any) -> None:
        self.sock.sendall(encode([message]))

    def expect(self, operation: int, match: Callable[[tuple[Any, ...]], bool] = lambda _: True) -> tuple[Any, ...]:
        """The next message of this kind; others stay in the inbox."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for index, message in enumerate(self.inbox):
                if message[0] == operation and match(message):
                    return self.inbox.pop(index)
            assert time.monotonic() < deadline, f"no message {operation}; there are {self.inbox}"
            data = self.sock.recv(1 << 16)
            assert data, f"the node closed the connection; there are {self.inbox}"
            self.inbox += self.decoder.feed(data)

    def settle(self) -> list[tuple[Any, ...]]:
        """What has come so far. A request goes once around, so that everything sent before has been handled."""
        self.request("nodes")
        return self.inbox

    def request(self, method: str, **arguments: Any) -> Any:
        self.counter += 1
        number = self.counter
        self.send(op.REQUEST, number, method, arguments)
        _, _, ok, value = self.expect(op.REPLY, lambda message: message[1] == number)
        if not ok:
            raise value if isinstance(value, BaseException) else RuntimeError(value)
        return value

    def demand(self, key_id: int, count: int, cpus: float = 1, **more: Any) -> None:
        resources = more.pop("resources", {"CPU": round(cpus * 10_000)})
        self.send(op.DEMAND, key_id, LeaseSpec(self.job_id, resources, **more), count)

    def grant(self, key_id: int) -> tuple[Any, ...]:
        """(GRANT, key, lease id, worker id, address, resources, device ids)."""
        return self.expect(op.GRANT, lambda message: message[1] == key_id)

    def actor(self, counter: int, **more: Any) -> ActorSpec:
        spec = ActorSpec(
            self.process_id + counter.to_bytes(8, "big"), self.job_id, self.process_id, "A", more.pop("payload", b""),
            more.pop("placement", {"CPU": 10_000}), more.pop("held", {}), **more,
        )  # fmt: skip
        self.counter += 1
        self.send(op.ACTOR_CREATE, self.counter, spec)
        return spec

    def state(self, spec: ActorSpec, state: str) -> Any:
        """The actor's view when it has this state."""
        message = self.expect(op.ACTOR_STATE, lambda m: m[1] == spec.actor_id and m[2].state == state)
        return message[2]

    def close(self) -> None:
        self.sock.close()


def order(address: str, *message: Any) -> Any:
    """Tell a fake worker to do something; its answer, or None when it dies of it."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(address.removeprefix("unix:"))
        sock.sendall(encode([message]))
        decoder = Decoder()
        while True:
            try:
                data = sock.recv(1 << 16)
            except ConnectionResetError:
                return None
            if not data:
                return None
            for answer in decoder.feed(data):
                return answer


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(pid: int, timeout: float) -> bool:
    """Wait until a process is dead, by its descriptor: no polling."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], timeout)[0]) or not alive(pid)
    finally:
        os.close(fd)


class Session:
    """Starts nodes and clients, and ends them all."""

    def __init__(self) -> None:
        self.handles: list[NodeHandle] = []
        self.clients: list[Client] = []
        self.order = order
        self.alive = alive
        self.gone = gone

    def node(self, **options: Any) -> NodeHandle:
        handle = start_node(NodeOptions(**{"num_cpus": 2, "num_gpus": 0, "runtime": "fake_worker", **options}))
        self.handles.append(handle)
        return handle

    def driver(self, **info: Any) -> Client:
        return self.client("driver", **{"sys_path": sys.path, "cwd": os.getcwd(), **info})

    def client(self, kind: str, **info: Any) -> Client:
        if not self.handles:
            self.node()
        client = Client(self.handles[-1], kind, **info)
        self.clients.append(client)
        return client

    def log(self) -> str:
        return Path(self.handles[-1].session_dir, "logs", "node.log").read_text()

    def pids(self) -> list[int]:
        """Everything that runs for the session."""
        handle = self.handles[-1]
        rows = self.clients[-1].request("state", kind="workers", limit=None)
        return [handle.node_pid, handle.zygote_pid] + [row["pid"] for row in rows if row["worker_type"] == "WORKER"]


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    outer = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *([outer] if outer else [])]))
    session = Session()
    yield session
    for client in session.clients:
        client.close()
    for handle in session.handles:
        assert handle.wait(5.0), "the session did not end"
        handle.close()
        assert not os.path.exists(handle.store_dir)
        if os.path.exists(handle.session_dir):
            assert not [name for name in os.listdir(handle.session_dir) if name.endswith(".sock")]
