"""Who may talk to the REST API."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest
from starlette.testclient import TestClient

from aktis.serve._rest import RestServer, create_app, is_loopback, peer_uid

NOBODY = cast(Any, None)  # these requests do not get as far as the administration
HEALTH = "/api/serve/health"


def _client(host: str = "127.0.0.1", token: str = "", base: str = "http://127.0.0.1:1") -> TestClient:
    return TestClient(create_app(NOBODY, host=host, token=token), base_url=base)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            yield client, accepted


def test_a_token_must_be_sent() -> None:
    client = _client(token="secret")
    answer = client.get(HEALTH)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert client.get(HEALTH, headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert client.get(HEALTH, headers={"Authorization": "Bearer secret"}).json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("host", "asked", "status"),
    [
        ("127.0.0.1", "localhost:9", 200),
        ("127.0.0.1", "[::1]:9", 200),
        ("127.0.0.1", "10.0.0.1", 403),
        ("127.0.0.1", "evil.example:52365", 403),
        ("127.0.0.1", "127.0.0.1.evil.example", 403),
        ("0.0.0.0", "10.0.0.1:9", 200),
        ("0.0.0.0", socket.gethostname(), 200),
        ("0.0.0.0", "evil.example", 403),
    ],
)
def test_hosts(host: str, asked: str, status: int) -> None:
    assert (
        _client(host, token="t").get(HEALTH, headers={"Host": asked, "Authorization": "Bearer t"}).status_code == status
    )


def test_pages_of_other_sites_are_refused() -> None:
    client = _client(token="t", base="http://127.0.0.1:9")
    allowed = {"Authorization": "Bearer t"}
    assert client.get(HEALTH, headers={**allowed, "Origin": "http://127.0.0.1:9"}).status_code == 200
    for headers in ({"Origin": "http://127.0.0.1:8"}, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}):
        assert client.get(HEALTH, headers={**allowed, **headers}).status_code == 403


def test_errors_are_json() -> None:
    client = _client(token="t")
    assert client.get("/nothing").json() == {"error": "Not Found"}
    assert client.post(HEALTH).json() == {"error": "Method Not Allowed"}


def test_whose_connection_it_is(pair: tuple[socket.socket, socket.socket]) -> None:
    client, accepted = pair
    assert peer_uid(accepted.getpeername(), accepted.getsockname()) == os.getuid()
    assert peer_uid(("10.0.0.1", 1), accepted.getsockname()) is None
    assert peer_uid(("127.0.0.1", 1), accepted.getsockname()) is None


def test_the_network_needs_a_token() -> None:
    assert not is_loopback("0.0.0.0")
    with pytest.raises(PermissionError, match="not opened on 0.0.0.0 without a token: set AKTIS_SERVE_TOKEN"):
        RestServer(NOBODY, "0.0.0.0", 0)


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            RestServer(NOBODY, port=port)


def test_it_serves_until_it_is_closed() -> None:
    import urllib.request

    server = RestServer(NOBODY, port=0)
    with urllib.request.urlopen(server.url + HEALTH, timeout=10) as answer:
        assert answer.read() == b'{"status":"ok"}'
    server.close()
    with pytest.raises(OSError):
        socket.create_connection((server.host, server.port), 1)
