"""A Serve of one replica and as many proxies as a test asks for, and clients that speak raw HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
from tests.helpers import shared_sessions

import aktis
from aktis import serve
from aktis.serve._protocol import (
    CONTROLLER_NAME,
    NAMESPACE,
    PROXY_NAME,
    REPLICAS,
    ROUTES,
    DeploymentID,
    DeploymentSpec,
    DeploymentView,
    ReplicaID,
    ReplicaView,
    RouteView,
)
from aktis.serve._proxy.actor import ProxyActor
from aktis.serve._replica.actor import ReplicaActor
from aktis.serve.config import DeploymentConfig, HTTPOptions


class Announcer:
    """Stands in for the controller: tells routers and proxies what the test says."""

    def __init__(self) -> None:
        self.topics: dict[Any, Any] = {}
        self.number = 0
        self.news = asyncio.Event()

    async def put(self, topic: Any, value: Any) -> None:
        self.number += 1
        self.topics[topic] = (self.number, value)
        self.news.set()
        self.news = asyncio.Event()

    async def attend(self, listener: str) -> None:
        await asyncio.Event().wait()

    async def listen(
        self, known: dict[Any, int], timeout_s: float, listener: str = "", presence: Any = ()
    ) -> dict[Any, Any]:
        deadline = time.monotonic() + timeout_s
        while True:
            found = {
                topic: self.topics[topic] for topic, seen in known.items() if self.topics.get(topic, (0,))[0] > seen
            }
            if found or time.monotonic() > deadline:
                return found
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.news.wait(), deadline - time.monotonic())

    async def report_waiting(self, caller: str, waiting: Any) -> None:
        return

    async def details(self) -> dict[str, Any]:
        return {"applications": {}, "proxies": {}}


def make_application() -> type:
    """An ASGI application that does what tests ask for. Made in a function, so that it travels by value."""

    class Application:
        def __init__(self) -> None:
            self.seen: list[str] = []

        async def app(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                while True:
                    message = await receive()
                    await send({"type": message["type"] + ".complete"})
                    if message["type"] == "lifespan.shutdown":
                        return
            what = scope["path"].removeprefix(scope["root_path"]).strip("/").split("/")[0] or "echo"
            await getattr(self, "do_" + what, self.do_echo)(scope, receive, send)

        async def body(self, receive: Any) -> bytes:
            parts = []
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ConnectionError
                parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    return b"".join(parts)

        async def reply(self, send: Any, body: bytes, status: int = 200, headers: Any = ()) -> None:
            start = [(b"content-type", b"application/octet-stream"), *headers]
            await send({"type": "http.response.start", "status": status, "headers": start})
            await send({"type": "http.response.body", "body": body})

        async def do_echo(self, scope: Any, receive: Any, send: Any) -> None:
            import hashlib
            import json

            body = await self.body(receive)
            shown = {key: scope[key] for key in ("method", "path", "root_path", "client", "scheme", "http_version")}
            shown["query"] = scope["query_string"].decode("latin-1")
            shown["raw_path"] = scope["raw_path"].decode("latin-1")
            shown["headers"] = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
            shown["size"] = len(body)
            shown["digest"] = hashlib.sha256(body).hexdigest()
            await self.reply(send, json.dumps(shown).encode(), 200, [(b"content-type", b"application/json")])

        async def do_early(self, scope: Any, receive: Any, send: Any) -> None:
            await self.reply(send, b"without the body")

        async def do_slow(self, scope: Any, receive: Any, send: Any) -> None:
            import asyncio

            name = scope["query_string"].decode()
            self.seen.append(f"began {name}")
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                self.seen.append(f"cancelled {name}")
                raise
            await self.reply(send, b"slow")

        async def do_seen(self, scope: Any, receive: Any, send: Any) -> None:
            import json

            await self.reply(send, json.dumps(self.seen).encode())

        async def do_stream(self, scope: Any, receive: Any, send: Any) -> None:
            import asyncio

            count, size = (int(number) for number in scope["query_string"].split(b"x"))
            headers = [(b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            for number in range(count):
                self.seen.append(f"chunk {number}")
                part = (b"%d " % number).ljust(size, b".")
                await send({"type": "http.response.body", "body": part, "more_body": True})
                await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": b""})

        async def do_break(self, scope: Any, receive: Any, send: Any) -> None:
            import asyncio

            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            await asyncio.sleep(0.01)
            raise RuntimeError("in the middle")

        async def do_header(self, scope: Any, receive: Any, send: Any) -> None:
            from urllib.parse import unquote_to_bytes

            name, _, value = unquote_to_bytes(scope["query_string"]).partition(b"=")
            await self.reply(send, b"body", 200, [(name, value)])

        async def do_status(self, scope: Any, receive: Any, send: Any) -> None:
            await self.reply(send, b"", int(scope["query_string"]))

        async def do_large(self, scope: Any, receive: Any, send: Any) -> None:
            await self.reply(send, b"x" * int(scope["query_string"]))

        async def do_raise(self, scope: Any, receive: Any, send: Any) -> None:
            raise ValueError("a secret of the application")

        async def do_pid(self, scope: Any, receive: Any, send: Any) -> None:
            import os

            await self.reply(send, str(os.getpid()).encode())

        async def do_die(self, scope: Any, receive: Any, send: Any) -> None:
            import os

            os.kill(os.getpid(), 9)

        async def do_ws(self, scope: Any, receive: Any, send: Any) -> None:
            await receive()
            protocols = scope["subprotocols"]
            await send({"type": "websocket.accept", "subprotocol": protocols[0] if protocols else None})
            while True:
                message = await receive()
                if message["type"] == "websocket.disconnect":
                    self.seen.append(f"left {message['code']}")
                    return
                if message.get("text") == "bye":
                    await send({"type": "websocket.close", "code": 4001, "reason": "as you say"})
                    return
                if message.get("text") == "fail":
                    raise RuntimeError("in a websocket")
                known = {key: message[key] for key in ("text", "bytes") if message.get(key) is not None}
                await send({"type": "websocket.send", **known})

    def build() -> Any:
        return Application().app

    class Ingress:
        pass

    return serve.ingress(build)(Ingress)


class Stage:
    """The session's replicas and proxies."""

    def __init__(self) -> None:
        actor = aktis.remote(Announcer).options(name=CONTROLLER_NAME, namespace=NAMESPACE, num_cpus=0)
        self.controller = actor.remote()
        self.replicas: dict[DeploymentID, list[ReplicaView]] = {}
        self.routes: list[RouteView] = []
        self.proxies: list[Any] = []
        self._number = 0
        self._proxies = -1

    def replica(self, name: str, target: Any, *, app: str = "app", is_asgi: bool = True, most: int = 100) -> Any:
        """One more replica of a deployment; returns its view. :meth:`announce` makes it known."""
        self._number += 1
        id = ReplicaID(app, name, f"r{self._number}")
        spec = DeploymentSpec(
            name=name,
            config=DeploymentConfig(max_ongoing_requests=most),
            callable=cloudpickle.dumps(target),
            init=cloudpickle.dumps(((), {})),
            version="1",
            is_ingress=True,
            is_asgi=is_asgi,
        )
        options = {"name": id.actor_name, "namespace": NAMESPACE, "num_cpus": 0, "max_concurrency": 10000}
        actor = aktis.remote(ReplicaActor).options(**options).remote(id, spec, app)
        aktis.get(actor.start.remote(None))
        view = ReplicaView(id, actor, most)
        self.replicas.setdefault(DeploymentID(app, name), []).append(view)
        return view

    def announce(self, name: str, *, app: str = "app", **options: Any) -> None:
        id = DeploymentID(app, name)
        view = DeploymentView(id, tuple(self.replicas.get(id, ())), **options)
        aktis.get(self.controller.put.remote((REPLICAS, *id), view))

    def route(self, *views: RouteView) -> None:
        self.routes += views
        aktis.get(self.controller.put.remote((ROUTES,), tuple(self.routes)))

    def proxy(self, **options: Any) -> Proxy:
        index = self._proxies = self._proxies + 1
        options = {"port": 0, "access_log": False, **options}
        actor_options = {"name": f"{PROXY_NAME}#{index}", "namespace": NAMESPACE, "num_cpus": 0, "max_restarts": -1}
        actor = aktis.remote(ProxyActor).options(**actor_options, max_concurrency=10000)
        proxy = Proxy(actor.remote(index, HTTPOptions(**options), None))
        self.proxies.append(proxy)
        return proxy


class Proxy:
    """One proxy, for tests."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.host, self.port = aktis.get(actor.start.remote())["http"]
        self.url = f"http://{self.host}:{self.port}"

    def stats(self) -> dict[str, Any]:
        return dict(aktis.get(self.actor.stats.remote()))

    def until(self, condition: Callable[[dict[str, Any]], bool], seconds: float = 10.0) -> dict[str, Any]:
        """Its numbers, once they are so."""
        deadline = time.monotonic() + seconds
        while True:
            stats = self.stats()
            if condition(stats):
                return stats
            assert time.monotonic() < deadline, {key: value for key, value in stats.items() if key != "routes"}
            time.sleep(0.01)

    def connect(self, timeout: float = 10.0) -> Connection:
        return Connection(socket.create_connection((self.host, self.port), timeout=timeout))

    def raw(self, data: bytes) -> bytes:
        """Everything that comes back for these bytes, until the proxy closes."""
        with self.connect() as connection:
            connection.send(data)
            return connection.rest()


class Connection:
    """A client that does exactly what it is told."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.buffer = b""

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def rest(self) -> bytes:
        """Everything until the end of the connection."""
        while True:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                found, self.buffer = self.buffer, b""
                return found
            self.buffer += data

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(self.buffer)
        self.buffer += data

    def line_end(self, separator: bytes) -> bytes:
        while separator not in self.buffer:
            self._more()
        found, self.buffer = self.buffer.split(separator, 1)
        return found

    def reply(self, *, head: bool = False) -> Reply:
        """The next reply."""
        lines = self.line_end(b"\r\n\r\n").split(b"\r\n")
        headers = [line.split(b": ", 1) for line in lines[1:]]
        named = {name.decode().lower(): value.decode("latin-1") for name, value in headers}
        status = int(lines[0].split(b" ")[1])
        body = b""
        if named.get("transfer-encoding") == "chunked":
            while size := int(self.line_end(b"\r\n"), 16):
                body += self.exactly(size)
                assert self.exactly(2) == b"\r\n"
            assert self.exactly(2) == b"\r\n"
        elif "content-length" in named and not head:
            body = self.exactly(int(named["content-length"]))
        return Reply(status, named, body)

    def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            self._more()
        found, self.buffer = self.buffer[:size], self.buffer[size:]
        return found


class Reply:
    """A reply, taken apart."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<{self.status} {self.headers} {self.body[:200]!r}>"


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """A session with one application, at "/app", a second deployment at "/app/inner", and nothing else."""
    shared_sessions.end()
    aktis.init(num_cpus=2)
    try:
        found = Stage()
        found.replica("main", make_application())
        found.announce("main")
        found.route(RouteView("/app", "app", "main"), RouteView("/app/inner", "app", "main"))
        yield found
    finally:
        aktis.shutdown()
