"""Requests as they should be."""

from __future__ import annotations

import hashlib
import json
import time

import pytest
import requests
from tests.serve.proxy.helpers import Proxy, Stage


def get(path: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: h", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def test_a_request_reaches_the_application_as_it_is(proxy: Proxy) -> None:
    reply = requests.post(
        f"{proxy.url}/app/x%2Fy?q=%20&r", data=b"abc", headers={"X-One": "1", "x-request-id": "mine-1"}, timeout=10
    )
    seen = reply.json()
    assert seen["method"] == "POST"
    assert (seen["path"], seen["root_path"], seen["raw_path"]) == ("/app/x/y", "/app", "/app/x%2Fy")
    assert seen["query"] == "q=%20&r"
    assert ["x-one", "1"] in seen["headers"]
    assert seen["size"] == 3
    assert seen["client"][0] == "127.0.0.1"
    assert reply.headers["x-request-id"] == "mine-1"
    assert "date" in reply.headers


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a\x01b", "ü", "<script>"])
def test_a_request_id_that_is_not_plain_is_replaced(proxy: Proxy, given: str) -> None:
    with proxy.connect() as connection:
        connection.send(get("/app/seen", f"X-Request-ID: {given}"))
        try:
            reply = connection.reply()
        except (EOFError, ConnectionResetError):
            return  # it was no HTTP
    if reply.status == 200:
        assert len(reply.headers["x-request-id"]) == 32


def test_nested_prefixes_and_unknown_paths(proxy: Proxy) -> None:
    assert requests.get(f"{proxy.url}/app/inner/x", timeout=10).json()["root_path"] == "/app/inner"
    assert requests.get(f"{proxy.url}/app/innerx", timeout=10).json()["root_path"] == "/app"
    assert requests.get(f"{proxy.url}/app/", timeout=10).json()["path"] == "/app/"
    missing = requests.get(f"{proxy.url}/apple", timeout=10)
    assert missing.status_code == 404
    assert "/apple" in missing.text and "/-/routes" in missing.text
    routes = requests.get(f"{proxy.url}/-/routes", timeout=10).json()
    assert (routes["/app"], routes["/app/inner"]) == ("main", "main")
    assert requests.get(f"{proxy.url}/-/healthz", timeout=10).text == "success"
    assert requests.post(f"{proxy.url}/-/healthz", timeout=10).status_code == 405


def test_keep_alive_and_pipelining_in_order(proxy: Proxy) -> None:
    with proxy.connect() as connection:
        for number in range(3):
            connection.send(get(f"/app/{number}"))
            assert connection.reply().json()["path"] == f"/app/{number}"
        connection.send(b"".join(get(f"/app/{number}") for number in range(200)) + get("/nowhere") + get("/app/last"))
        for number in range(200):
            assert connection.reply().json()["path"] == f"/app/{number}"
        assert connection.reply().status == 404
        assert connection.reply().json()["path"] == "/app/last"


def test_pipelined_requests_that_are_answered_without_a_replica(proxy: Proxy) -> None:
    with proxy.connect() as connection:
        connection.send(get("/nowhere") * 5000 + get("/app/seen", "Connection: close"))
        replies = [connection.reply().status for _ in range(5001)]
        assert replies == [404] * 5000 + [200]
        assert connection.rest() == b""


def test_old_http(proxy: Proxy) -> None:
    with proxy.connect() as connection:
        connection.send(b"GET /app/x HTTP/1.0\r\n\r\n")
        assert connection.reply().json()["http_version"] == "1.0"
        assert connection.rest() == b""
    with proxy.connect() as connection:
        for _ in range(2):
            connection.send(get("/app/x", "Connection: keep-alive", version="1.0"))
            assert connection.reply().headers["connection"] == "keep-alive"
    streamed = proxy.raw(get("/app/stream?3x10", version="1.0"))
    head, _, body = streamed.partition(b"\r\n\r\n")
    assert b"chunked" not in head and body == b"0 ........1 ........2 ........"


def test_connection_close_is_honoured(proxy: Proxy) -> None:
    found = proxy.raw(get("/app/seen", "Connection: close"))
    assert b"connection: close" in found
    assert b"connection: close" in proxy.raw(get("/app/header?connection=close"))


def test_head_and_replies_without_a_body(proxy: Proxy) -> None:
    with proxy.connect() as connection:
        connection.send(get("/app/large?1000", method="HEAD"))
        reply = connection.reply(head=True)
        assert reply.headers["content-length"] == "1000"
        connection.send(get("/app/stream?3x10", method="HEAD"))
        assert connection.reply(head=True).status == 200
        for status in (204, 304):
            connection.send(get(f"/app/status?{status}"))
            assert connection.reply().status == status
        connection.send(get("/app/seen"))
        assert connection.reply().status == 200


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 5 * 1024 * 1024])
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_of_all_sizes(proxy: Proxy, size: int, chunked: bool) -> None:
    body = bytes(range(256)) * (size // 256) + b"e" * (size % 256)

    def parts():
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]

    seen = requests.post(f"{proxy.url}/app/x", data=parts() if chunked else body, timeout=20).json()
    assert seen["size"] == size
    assert seen["digest"] == hashlib.sha256(body).hexdigest()


def test_an_answer_before_the_body_is_there(proxy: Proxy) -> None:
    with proxy.connect() as connection:
        connection.send(b"POST /app/early HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 1_500_000)
        reply = connection.reply()
        assert reply.body == b"without the body"
        assert reply.headers["connection"] == "close"


def test_expect_continue(proxy: Proxy) -> None:
    with proxy.connect() as connection:
        connection.send(b"POST /app/x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert connection.line_end(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
        connection.send(b"abc")
        assert connection.reply().json()["size"] == 3
        # and behind another request
        waits = b"POST /app/x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        connection.send(get("/app/seen") + waits)
        assert connection.reply().status == 200
        assert connection.line_end(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
        connection.send(b"abc")
        assert connection.reply().json()["size"] == 3


def test_streams_arrive_whole(proxy: Proxy) -> None:
    with requests.get(f"{proxy.url}/app/stream?500x1000", stream=True, timeout=20) as reply:
        assert reply.headers["transfer-encoding"] == "chunked"
        body = reply.content
    assert len(body) == 500_000
    assert [int(body[start : start + 10].split(b" ")[0]) for start in range(0, 500_000, 1000)] == list(range(500))


def test_a_slow_reader_holds_the_application_back(proxy: Proxy) -> None:
    before = len(json.loads(requests.get(f"{proxy.url}/app/seen", timeout=10).text))
    with proxy.connect() as connection:
        connection.send(get("/app/stream?400x100000", "Connection: close"))
        connection.line_end(b"\r\n\r\n")
        made = -1
        while True:  # until it makes no more
            now = len(json.loads(requests.get(f"{proxy.url}/app/seen", timeout=10).text)) - before
            if now == made and now:
                break
            made = now
            time.sleep(0.2)
        assert made < 300
        size = 0
        while data := connection.socket.recv(1 << 20):
            size += len(data)
        assert size > 39_000_000


def test_a_stream_that_fails_is_not_taken_for_a_whole_one(proxy: Proxy) -> None:
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(f"{proxy.url}/app/break", timeout=10)


def test_errors_tell_the_request_and_no_secrets(proxy: Proxy, world: Stage) -> None:
    reply = requests.get(f"{proxy.url}/app/raise", timeout=10)
    assert reply.status_code == 500
    assert "secret" not in reply.text and reply.headers["x-request-id"] in reply.text


def test_a_reply_cannot_smuggle_headers(proxy: Proxy) -> None:
    reply = requests.get(f"{proxy.url}/app/header?x=a%0d%0aset-cookie: b=1", timeout=10)
    assert reply.status_code == 500
    assert "set-cookie" not in reply.headers
    assert requests.get(f"{proxy.url}/app/header?x%0d%0ay: z=1", timeout=10).status_code == 500
    assert requests.get(f"{proxy.url}/app/header?content-length=99", timeout=10).status_code == 500
    fine = requests.get(f"{proxy.url}/app/header?transfer-encoding=gzip", timeout=10)
    assert fine.status_code == 200 and "transfer-encoding" not in fine.headers
    assert requests.get(f"{proxy.url}/app/status?101", timeout=10).status_code == 500
