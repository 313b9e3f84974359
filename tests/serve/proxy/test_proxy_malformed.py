"""Clients that speak HTTP badly, slowly or with bad intentions."""

from __future__ import annotations

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serve.proxy.helpers import Proxy, Stage

GOOD = b"GET /app/seen HTTP/1.1\r\nHost: h\r\n\r\n"


def post(*headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join(["POST /app/x HTTP/1.1", "Host: h", *headers]).encode() + b"\r\n\r\n" + body


MALFORMED = {
    "no HTTP": b"hello\r\n\r\n",
    "CONNECT": b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n",
    "CONNECT and a path": b"CONNECT /app/x HTTP/1.1\r\nHost: h\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/3.0": b"GET / HTTP/3.0\r\nHost: h\r\n\r\n",
    "both lengths": post("Content-Length: 3", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "both lengths, the other way": post("Transfer-Encoding: chunked", "Content-Length: 3", body=b"0\r\n\r\n"),
    "two lengths": post("Content-Length: 3", "Content-Length: 4", body=b"abcd"),
    "the same length twice": post("Content-Length: 3", "Content-Length: 3", body=b"abc"),
    "a list of lengths": post("Content-Length: 3, 3", body=b"abc"),
    "a signed length": post("Content-Length: +3", body=b"abc"),
    "a negative length": post("Content-Length: -3", body=b"abc"),
    "a hexadecimal length": post("Content-Length: 0x3", body=b"abc"),
    "an overflowing length": post("Content-Length: 99999999999999999999999999", body=b"abc"),
    "an unknown coding": post("Transfer-Encoding: gzip", body=b"abc"),
    "codings": post("Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "chunked twice": post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunked, dressed up": post("Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "chunked as a name with a blank": post("Transfer-Encoding : chunked", body=b"0\r\n\r\n"),
    "a chunk size with a sign": post("Transfer-Encoding: chunked", body=b"+3\r\nabc\r\n0\r\n\r\n"),
    "a chunk size that is none": post("Transfer-Encoding: chunked", body=b"xyz\r\nabc\r\n0\r\n\r\n"),
    "chunked in HTTP/1.0": b"POST /app/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no host": b"GET /app/seen HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /app/seen HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "another host in the target": b"GET http://other/app/seen HTTP/1.1\r\nHost: h\r\n\r\n",
    "a proxy's method": b"CONNECT other:80 HTTP/1.1\r\nHost: other:80\r\n\r\n",
    "a file as target": b"GET file:///etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n",
    "no path": b"GET app/seen HTTP/1.1\r\nHost: h\r\n\r\n",
    "a fragment": b"GET /app/seen#x HTTP/1.1\r\nHost: h\r\n\r\n",
    "a control character in the target": b"GET /app/\x01seen HTTP/1.1\r\nHost: h\r\n\r\n",
    "a blank in the target": b"GET /app/ seen HTTP/1.1\r\nHost: h\r\n\r\n",
    "a zero byte in a header": b"GET /app/seen HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n",
    "a bare carriage return": b"GET /app/seen HTTP/1.1\r\nHost: h\r\nX: a\rY: b\r\n\r\n",
    "a folded header": b"GET /app/seen HTTP/1.1\r\nHost: h\r\nX: a\r\n  b\r\n\r\n",
    "a header without a name": b"GET /app/seen HTTP/1.1\r\nHost: h\r\n: a\r\n\r\n",
    "a header without a colon": b"GET /app/seen HTTP/1.1\r\nHost: h\r\nabc\r\n\r\n",
    "a method in small letters": b"get /app/seen HTTP/1.1\r\nHost: h\r\n\r\n",
    "an unknown method": b"STEAL /app/seen HTTP/1.1\r\nHost: h\r\n\r\n",
    "an upgrade with a body": post("Connection: upgrade", "Upgrade: h2c", "Content-Length: 3", body=b"abc"),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_requests_end_the_connection(proxy: Proxy, what: str) -> None:
    with proxy.connect() as connection:
        connection.send(MALFORMED[what] + GOOD)
        reply = connection.reply()
        assert reply.status in (400, 405, 505), reply
        assert reply.headers["connection"] == "close"
        assert connection.rest() == b"", "a second reply: what followed was taken for a request"


def test_requests_before_a_malformed_one_are_answered(proxy: Proxy) -> None:
    with proxy.connect() as connection:
        connection.send(GOOD + GOOD + b"nonsense\r\n\r\n" + GOOD)
        assert [connection.reply().status for _ in range(3)] == [200, 200, 400]
        assert connection.rest() == b""


def test_an_upgrade_that_we_do_not_know_is_ignored(proxy: Proxy) -> None:
    with proxy.connect() as connection:
        connection.send(b"GET /app/seen HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n" + GOOD)
        reply = connection.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert connection.rest() == b""


@pytest.mark.parametrize("trailer", ["Authorization: mine", "Content-Length: 5", "Host: other", "X-Request-ID: other"])
def test_trailers_do_not_become_headers(proxy: Proxy, trailer: str) -> None:
    with proxy.connect() as connection:
        body = f"3\r\nabc\r\n0\r\n{trailer}\r\n\r\n".encode()
        connection.send(post("Transfer-Encoding: chunked", "X-Request-ID: ours", body=body) + GOOD)
        reply = connection.reply()
        if reply.status == 400:  # the parser has seen to it
            return
        seen = reply.json()
        assert seen["size"] == 3
        assert [name for name, _ in seen["headers"]] == ["host", "transfer-encoding", "x-request-id"]
        assert reply.headers["x-request-id"] == "ours"
        assert connection.reply().status == 200


def test_the_absolute_form_of_our_own_host(proxy: Proxy) -> None:
    with proxy.connect() as connection:
        connection.send(b"GET http://H/app/x?y HTTP/1.1\r\nHost: h\r\n\r\n")
        seen = connection.reply().json()
        assert (seen["path"], seen["query"]) == ("/app/x", "y")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /app/seen HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /app/seen HTTP/1.1\r\nHost: h\r\n" + b"X: x\r\n" * 200 + b"\r\n", 431),
        (b"GET /app/seen HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 2_000_000, 431),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
        (post("Content-Length: 9000000"), 413),
        (post("Content-Length: 9000000", "Expect: 100-continue"), 413),
        (post("Transfer-Encoding: chunked", body=b"900000\r\n" + b"x" * 9_000_000), 413),
        (post("Content-Length: 9000000", body=b"x" * 9_000_000), 413),
    ],
    ids=[
        "a long header",
        "many headers",
        "a header without end",
        "a long target",
        "large",
        "asks first",
        "grows",
        "sent",
    ],
)
def test_limits(proxy: Proxy, request_: bytes, status: int) -> None:
    with proxy.connect() as connection:
        try:
            connection.send(request_)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it did not want the rest
        reply = connection.reply()
        assert reply.status == status
        assert reply.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("beginning", "drip", "status"),
    [
        (b"GET /app/seen HTTP/1.1\r\nHost: h\r\n", b"X: y\r\n", 408),
        (b"GET /app/", b"x", 408),
        (post("Content-Length: 100", body=b"abc"), b"", 408),
        (post("Content-Length: 100000"), b"x", 408),
        (post("Content-Length: 3000000", body=b"x" * 1_500_000), b"", 408),
    ],
    ids=["headers", "target", "body", "a body in drops", "large body"],
)
def test_slow_clients(proxy: Proxy, beginning: bytes, drip: bytes, status: int) -> None:
    with proxy.connect() as connection:
        connection.send(beginning)
        connection.socket.settimeout(0.1)
        for _ in range(100):
            try:
                if drip:
                    connection.send(drip)
                assert connection.reply().status == status
                return
            except TimeoutError:
                continue
        raise AssertionError("it was never told to leave")


def test_idle_connections_are_closed(proxy: Proxy) -> None:
    with proxy.connect() as silent, proxy.connect() as used:
        used.send(GOOD)
        assert used.reply().status == 200
        assert silent.rest() == b""
        assert used.rest() == b""


def test_a_reader_that_never_reads_loses_its_connection(world: Stage) -> None:
    proxy = world.proxy(write_timeout_s=0.5)
    with proxy.connect() as connection:
        connection.send(b"GET /app/stream?1000x100000 HTTP/1.1\r\nHost: h\r\n\r\n")
        proxy.until(lambda stats: stats["ongoing"] == 1)
        stats = proxy.until(lambda stats: stats["ongoing"] == 0)
        assert stats["connections"] == 0
    with proxy.connect() as connection:  # pipelined, and none of the replies is read
        connection.socket.settimeout(0.5)
        try:
            while True:
                connection.send(b"GET /app/large?100000 HTTP/1.1\r\nHost: h\r\n\r\n" * 100)
        except (TimeoutError, ConnectionError):
            pass
        assert proxy.stats()["routes"][0]["requests"] < 1000
        proxy.until(lambda stats: stats["connections"] == 0)


def test_the_number_of_connections_is_limited(world: Stage) -> None:
    proxy = world.proxy(max_connections=2)
    with proxy.connect() as one, proxy.connect() as two:
        for connection in (one, two):
            connection.send(GOOD)
            assert connection.reply().status == 200
        with proxy.connect() as third:
            assert third.reply().status == 503
            assert third.rest() == b""
    proxy.until(lambda stats: stats["connections"] == 0)
    assert requests.get(f"{proxy.url}/app/seen", timeout=10).status_code == 200


def test_what_was_refused_is_counted(proxy: Proxy) -> None:
    before = proxy.stats()["refused"].get(400, 0)
    proxy.raw(MALFORMED["no HTTP"])
    assert proxy.stats()["refused"][400] == before + 1


def test_bytes_of_chance_do_no_harm(world: Stage, proxy: Proxy) -> None:
    lines = b"""GET /app/seen HTTP/1.1|POST /app/x HTTP/1.1|HEAD / HTTP/1.0|OPTIONS * HTTP/1.1|Host: h|Content-Length: 3
        Transfer-Encoding: chunked|Connection: close|Expect: 100-continue|Connection: upgrade|Upgrade: websocket|"""
    others = [b"abc", b"\n", b"0\r\n\r\n", b"3\r\nabc\r\n", b"\x00", b"\xff\xfe"]
    pieces = st.sampled_from([line.strip() + b"\r\n" for line in lines.replace(b"\n", b"|").split(b"|")] + others)

    @given(st.lists(st.one_of(pieces, st.binary(max_size=20)), max_size=12), st.booleans())
    @settings(max_examples=150, deadline=None, database=None)
    def send(parts: list[bytes], slowly: bool) -> None:
        with proxy.connect() as connection:
            try:
                for part in parts if slowly else [b"".join(parts)]:
                    connection.send(part)
            except OSError:
                pass
            connection.socket.settimeout(0.02)
            try:
                answer = connection.rest()
            except TimeoutError:
                answer = connection.buffer
            assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
            assert b" 500 " not in answer.split(b"\r\n")[0]

    send()
    proxy.until(lambda stats: stats["ongoing"] == 0 and stats["connections"] == 0 and stats["websockets"] == 0)
    assert requests.get(f"{proxy.url}/app/seen", timeout=10).status_code == 200
