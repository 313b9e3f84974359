"""WebSockets, TLS, middlewares, forwarded headers."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from tests.serve.proxy.helpers import Connection, Proxy, Stage

import aktis
from aktis.serve._protocol import RouteView
from aktis.serve._proxy.edge import TrustedProxies

websockets = pytest.importorskip("websockets.sync.client")


def connect(proxy: Proxy, path: str, **options: Any) -> Any:
    return websockets.connect(f"ws://{proxy.host}:{proxy.port}{path}", **options)


def test_websocket_messages_go_both_ways(proxy: Proxy) -> None:
    with connect(proxy, "/app/ws?x", subprotocols=["a", "b"]) as client:
        assert client.subprotocol == "a"
        for message in ["text", b"bytes", "x" * 100_000, "ü"]:
            client.send(message)
            assert client.recv(timeout=10) == message
        for number in range(300):
            client.send(str(number))
        assert [client.recv(timeout=10) for _ in range(300)] == [str(number) for number in range(300)]
        assert proxy.stats()["websockets"] == 1
    proxy.until(lambda stats: stats["websockets"] == 0 and stats["ongoing"] == 0)
    assert "left 1000" in requests.get(f"{proxy.url}/app/seen", timeout=10).json()


def test_a_websocket_that_the_application_closes(proxy: Proxy) -> None:
    from websockets.exceptions import ConnectionClosed

    for word, code in (("bye", 4001), ("fail", 1011)):
        with connect(proxy, "/app/ws") as client:
            client.send(word)
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(timeout=10)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == code
    proxy.until(lambda stats: stats["websockets"] == 0)


def test_a_websocket_client_that_vanishes(proxy: Proxy) -> None:
    def vanished() -> int:
        seen = requests.get(f"{proxy.url}/app/seen", timeout=10).json()
        return sum(seen.count(f"left {code}") for code in (1005, 1006))

    before = vanished()
    with connect(proxy, "/app/ws") as client:
        client.send("x")
        client.recv(timeout=10)
        client.socket.shutdown(socket.SHUT_RDWR)
        proxy.until(lambda stats: stats["websockets"] == 0)
    assert vanished() == before + 1


def test_a_websocket_to_nowhere(proxy: Proxy) -> None:
    from websockets.exceptions import InvalidStatus

    with pytest.raises(InvalidStatus) as refused:
        connect(proxy, "/nowhere")
    assert refused.value.response.status_code == 404


def test_a_websocket_whose_replica_dies(world: Stage, proxy: Proxy) -> None:
    from tests.serve.proxy.helpers import make_application
    from websockets.exceptions import ConnectionClosed

    world.replica("brittle", make_application())
    world.announce("brittle")
    world.route(RouteView("/brittle", "app", "brittle"))
    deadline = time.monotonic() + 10
    while "/brittle" not in requests.get(f"{proxy.url}/-/routes", timeout=10).json():
        assert time.monotonic() < deadline
    with connect(proxy, "/brittle/ws") as client:
        client.send("x")
        client.recv(timeout=10)
        requests.post(f"{proxy.url}/brittle/die", timeout=10)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1012
    world.announce("brittle", broken="it died")


def test_websockets_are_told_when_a_proxy_drains(world: Stage) -> None:
    from websockets.exceptions import ConnectionClosed

    proxy = world.proxy()
    with connect(proxy, "/app/ws") as client:
        client.send("x")
        client.recv(timeout=10)
        drained = proxy.actor.drain.remote(10)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1001
        assert aktis.get(drained) is True


def test_two_proxies_share_a_port(world: Stage) -> None:
    first = world.proxy()
    second = world.proxy(port=first.port)
    assert first.stats()["pid"] != second.stats()["pid"]
    deadline = time.monotonic() + 10
    while not all(proxy.stats()["opened"] for proxy in (first, second)):
        assert requests.get(f"{first.url}/app/seen", timeout=10).status_code == 200
        assert time.monotonic() < deadline
    aktis.get(first.actor.drain.remote(1.0))
    assert requests.get(f"{second.url}/app/seen", timeout=10).status_code == 200


def test_in_development_clients_see_tracebacks(world: Stage) -> None:
    proxy = world.proxy(development=True)
    reply = requests.get(f"{proxy.url}/app/raise", timeout=10)
    assert reply.status_code == 500
    assert "a secret of the application" in reply.text and "Traceback" in reply.text


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-made certificate for 127.0.0.1."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    key_file, certificate_file = folder / "key.pem", folder / "certificate.pem"
    plain = serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    certificate_file.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    return key_file, certificate_file


def test_tls(world: Stage, tmp_path: Path) -> None:
    key, made = certificate(tmp_path)
    proxy = world.proxy(ssl_keyfile=str(key), ssl_certfile=str(made))
    url = f"https://127.0.0.1:{proxy.port}/app"
    with requests.Session() as session:
        session.trust_env, session.verify = False, str(made)
        seen = session.post(f"{url}/x", data=b"x" * 2_000_000, timeout=10).json()
        assert (seen["scheme"], seen["size"]) == ("https", 2_000_000)
        assert len(session.get(f"{url}/stream?50x1000", timeout=10).content) == 50_000
    context = ssl.create_default_context(cafile=str(made))
    with websockets.connect(f"wss://127.0.0.1:{proxy.port}/app/ws", ssl=context) as client:
        client.send("secret")
        assert client.recv(timeout=10) == "secret"
    with context.wrap_socket(socket.create_connection(("127.0.0.1", proxy.port)), server_hostname="127.0.0.1") as sock:
        connection = Connection(sock)
        connection.send(b"GET /app/x HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n")
        assert connection.reply().status == 400
    assert proxy.raw(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n") == b""


def test_clients_without_a_certificate_are_refused(world: Stage, tmp_path: Path) -> None:
    key, made = certificate(tmp_path)
    proxy = world.proxy(ssl_keyfile=str(key), ssl_certfile=str(made), ssl_ca_certs=str(made))
    url = f"https://127.0.0.1:{proxy.port}/app/seen"
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(url, verify=str(made), timeout=10)
    assert requests.get(url, verify=str(made), cert=(str(made), str(key)), timeout=10).status_code == 200


def make_middlewares() -> list[Any]:
    from starlette.middleware import Middleware
    from starlette.middleware.cors import CORSMiddleware

    class Stamp:
        def __init__(self, app: Any, text: str) -> None:
            self.app = app
            self.text = text

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def stamped(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], (b"x-stamp", self.text.encode())]
                await send(message)

            if scope["type"] == "http" and scope["path"] == "/forbidden":
                await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
                await send({"type": "http.response.body", "body": b""})
                return
            await self.app(scope, receive, stamped)

    return [Middleware(Stamp, text="outer"), Middleware(CORSMiddleware, allow_origins=["https://a.example"])]


def test_middlewares(world: Stage) -> None:
    proxy = world.proxy(middlewares=make_middlewares(), request_timeout_s=2.0, max_body_bytes=4_000_000)
    reply = requests.get(f"{proxy.url}/app/x", headers={"Origin": "https://a.example"}, timeout=10)
    assert reply.headers["x-stamp"] == "outer"
    assert reply.headers["access-control-allow-origin"] == "https://a.example"
    assert reply.json()["root_path"] == "/app"
    assert requests.get(f"{proxy.url}/forbidden", timeout=10).status_code == 403
    assert requests.get(f"{proxy.url}/nowhere", timeout=10).headers["x-stamp"] == "outer"
    assert requests.get(f"{proxy.url}/-/healthz", timeout=10).text == "success"
    assert requests.post(f"{proxy.url}/app/x", data=b"x" * 3_000_000, timeout=10).json()["size"] == 3_000_000
    assert requests.post(f"{proxy.url}/app/x", data=b"x" * 5_000_000, timeout=10).status_code == 413
    assert len(requests.get(f"{proxy.url}/app/stream?50x1000", timeout=10).content) == 50_000
    assert requests.get(f"{proxy.url}/app/slow?inside", timeout=10).status_code == 408
    assert requests.get(f"{proxy.url}/app/raise", timeout=10).status_code == 500
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(f"{proxy.url}/app/break", timeout=10)
    assert b" 400 " in proxy.raw(b"GET /app/x HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n")
    with proxy.connect() as connection:
        connection.send(b"GET /app/seen HTTP/1.1\r\nHost: h\r\n\r\n" * 50)
        assert [connection.reply().status for _ in range(50)] == [200] * 50
    with proxy.connect() as connection:
        connection.send(b"GET /app/slow?leaves HTTP/1.1\r\nHost: h\r\n\r\n")
        proxy.until(lambda stats: stats["ongoing"] == 1)
    proxy.until(lambda stats: stats["ongoing"] == 0)
    with connect(proxy, "/app/ws") as client:
        client.send("x")
        assert client.recv(timeout=10) == "x"


def make_failing() -> Any:
    class Failing:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                await receive()
                await send({"type": "lifespan.startup.failed", "message": "no"})

    return Failing


def test_a_middleware_that_does_not_start(world: Stage) -> None:
    with pytest.raises(Exception, match="A middleware did not start"):
        world.proxy(middlewares=[make_failing()])
    with pytest.raises(Exception, match="a middleware must be"):
        world.proxy(middlewares=[7])


def test_failures_are_logged(world: Stage, proxy: Proxy) -> None:
    path = Path(aktis.get_runtime_context().get_session_dir()) / "logs" / "serve" / "proxy_0.log"
    reply = requests.get(f"{proxy.url}/app/header?content-length=99", timeout=10)
    assert f"request {reply.headers['x-request-id']} (GET /app/header) failed" in path.read_text()


def test_forwarded_headers_count_only_from_those_we_trust(world: Stage, proxy: Proxy) -> None:
    headers = {"X-Forwarded-For": "10.1.1.1, 203.0.113.9, 127.0.0.1", "X-Forwarded-Proto": "https"}
    seen = requests.get(f"{proxy.url}/app/x", headers=headers, timeout=10).json()
    assert (seen["client"][0], seen["scheme"]) == ("127.0.0.1", "http")
    trusting = world.proxy(proxy_headers=True)
    seen = requests.get(f"{trusting.url}/app/x", headers=headers, timeout=10).json()
    assert (seen["client"][0], seen["scheme"]) == ("203.0.113.9", "https")
    headers = {"X-Forwarded-For": "not an address", "X-Forwarded-Proto": "javascript"}
    seen = requests.get(f"{trusting.url}/app/x", headers=headers, timeout=10).json()
    assert (seen["client"][0], seen["scheme"]) == ("127.0.0.1", "http")


@pytest.mark.parametrize(
    ("trusted", "forwarded", "client"),
    [
        (("127.0.0.1",), "203.0.113.9", "203.0.113.9"),
        (("10.0.0.0/8", "127.0.0.1"), "203.0.113.9, 10.2.3.4", "203.0.113.9"),
        (("127.0.0.1",), "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        (("*",), "203.0.113.9, 1.1.1.1", "203.0.113.9"),
        (("127.0.0.1",), "[2001:db8::1]:80", "2001:db8::1"),
        (("127.0.0.1",), "203.0.113.9:5000", "203.0.113.9"),
        (("127.0.0.1",), "unknown", None),
        (("127.0.0.1",), "", None),
    ],
)
def test_the_client_is_the_nearest_address_that_is_not_ours(trusted: Any, forwarded: str, client: str | None) -> None:
    assert TrustedProxies(trusted).client_of(forwarded) == client


@given(st.text(max_size=40))
def test_any_forwarded_for_gives_an_address_or_none(forwarded: str) -> None:
    found = TrustedProxies(("127.0.0.1",)).client_of(forwarded)
    if found is not None:
        ipaddress.ip_address(found)


def test_the_root_path_of_a_proxy_in_front(world: Stage) -> None:
    proxy = world.proxy(root_path="/public")
    for path in ("/app/x", "/public/app/x"):
        seen = requests.get(f"{proxy.url}{path}", timeout=10).json()
        assert (seen["path"], seen["root_path"]) == ("/public/app/x", "/public/app")
    assert requests.get(f"{proxy.url}/public/-/healthz", timeout=10).text == "success"


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("host", "fastapi starlette pydantic numpy pandas grpc torch prometheus_client opentelemetry"),
        ("actor", "uvicorn httptools anyio uvloop websockets fastapi starlette pydantic"),  # the controller imports it
    ],
)
def test_what_is_imported(module: str, heavy: str) -> None:
    """Memory is a bar."""
    code = f"import sys, aktis.serve._proxy.{module}; print(*[name for name in {heavy.split()} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
