"""Servers as processes, and load on them: wrk, and a client that asks now and then."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from _measure import memory_mb, processes_naming

HERE = Path(__file__).resolve().parent
PROGRAMS_FILE = HERE / "_serve_programs.py"
HOST = "127.0.0.1"
START_LIMIT_S = 60
CONNECTIONS = 16
GET = b"GET /?q=hello HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b'POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"q":"hello"}'
POST_SCRIPT = """wrk.method = "POST"
wrk.body = '{"q":"hello"}'
wrk.headers["Content-Type"] = "application/json"
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A server to measure."""

    library: str  # aktis, ray, fastapi or litserve
    app: str = "plain"  # or "fastapi": an ingress
    form: str = "async"  # or "def"
    replicas: int = 1
    throughput: bool = False  # Ray's mode for throughput

    @property
    def request(self) -> bytes:
        return POST if self.library == "litserve" else GET


@dataclass(slots=True)
class Server:
    """One that runs."""

    kind: Kind
    port: int
    marker: str
    start_s: float  # from the start of the process to the first answer

    def memory(self) -> tuple[float, float]:
        """RSS and PSS of all its processes, in MB."""
        return memory_mb(processes_naming(self.marker))

    def wrk(self, seconds: float) -> float:
        """Requests per second on CONNECTIONS connections that stay open. RuntimeError for any that failed."""
        program = shutil.which("wrk")
        if program is None:
            raise RuntimeError("wrk is missing: apt-get install wrk, brew install wrk, or build github.com/wg/wrk")
        command = [program, "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s"]
        url = f"http://{HOST}:{self.port}/?q=hello"
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            if self.kind.library == "litserve":
                script.write(POST_SCRIPT)
                script.flush()
                command += ["-s", script.name]
                url = f"http://{HOST}:{self.port}/predict"
            text = subprocess.run(
                [*command, url], capture_output=True, text=True, check=True, timeout=seconds + 30
            ).stdout
        failed = re.search(r"(Non-2xx.*|Socket errors.*)", text)
        found = re.search(r"Requests/sec:\s+([\d.]+)", text)
        if failed or found is None:
            raise RuntimeError(f"{self.kind}: {failed.group(1) if failed else text[-200:]}")
        return float(found.group(1))


class Client:
    """One connection that stays open. Blocking sockets: nothing of the client's own comes into the latency."""

    def __init__(self, server: Server) -> None:
        self._request = server.kind.request
        self._socket = socket.create_connection((HOST, server.port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self) -> float:
        """Seconds from the request to the whole answer."""
        begin = time.perf_counter()
        self._socket.sendall(self._request)
        data = b""
        while True:
            data += self._socket.recv(65_536)
            head, found, body = data.partition(b"\r\n\r\n")
            if not data:
                raise RuntimeError("the server closed the connection")
            if found:
                if not head.startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(head.decode(errors="replace")[:200])
                if _whole(head, body):
                    return time.perf_counter() - begin

    def close(self) -> None:
        self._socket.close()


def _whole(head: bytes, body: bytes) -> bool:
    """Whether the body has come. Ray sends texts in chunks."""
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    return body.endswith(b"\r\n0\r\n\r\n") if length is None else len(body) >= int(length.group(1))


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


@contextmanager
def served(kind: Kind, python: str = sys.executable) -> Iterator[Server]:
    """A server that answers; ended, with all its processes, afterwards."""
    port = free_port()
    marker = f"bench-serve-{uuid.uuid4().hex}"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "BENCH_SERVE": marker}
    if kind.throughput:
        environment["RAY_SERVE_THROUGHPUT_OPTIMIZED"] = "1"
    command = [python, str(PROGRAMS_FILE), "server", kind.library, kind.app, kind.form, str(kind.replicas), str(port)]
    with tempfile.TemporaryFile() as errors:
        begin = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors, env=environment
        )
        server = Server(kind, port, marker, 0.0)
        try:
            if not _answers(process, server):
                errors.seek(0)
                last = errors.read().decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
                raise RuntimeError(f"{kind.library} did not serve: {last[0][:300]}")
            server.start_s = time.perf_counter() - begin
            yield server
        finally:
            _end(process, marker)


def _answers(process: subprocess.Popen[bytes], server: Server) -> bool:
    deadline = time.perf_counter() + START_LIMIT_S
    while process.poll() is None and time.perf_counter() < deadline:
        try:
            client = Client(server)
        except OSError:
            time.sleep(0.002)
            continue
        try:
            client.ask()
            return True
        except (OSError, RuntimeError):  # it listens, and has no route yet
            time.sleep(0.002)
        finally:
            client.close()
    return False


def _end(process: subprocess.Popen[bytes], marker: str) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    deadline = time.perf_counter() + 10
    while (left := processes_naming(marker)) and time.perf_counter() < deadline:
        time.sleep(0.05)
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def latencies(servers: Sequence[Server], seconds: float, per_second: float = 100.0) -> list[list[float]]:
    """Latencies of single requests, each server's at ``per_second``, in turns: what the machine does meanwhile hits all alike."""
    clients = [Client(server) for server in servers]
    for client in clients:
        for _ in range(50):
            client.ask()
    found: list[list[float]] = [[] for _ in clients]
    step = 1.0 / per_second / len(clients)
    due = time.perf_counter()
    end = due + seconds
    while due < end:
        for client, samples in zip(clients, found):
            due += step
            pause = due - time.perf_counter()
            if pause > 0:
                time.sleep(pause)
            samples.append(client.ask())
    for client in clients:
        client.close()
    return found
