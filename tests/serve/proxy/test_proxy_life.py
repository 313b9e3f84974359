"""Time-outs, clients that leave, replicas that die, overload, and the end of a proxy."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from tests.serve.proxy.helpers import Proxy, Stage, make_application

import aktis
from aktis.serve._protocol import DeploymentID, RouteView
from aktis.serve._proxy.sockets import Listener, PortInUseError
from aktis.serve._state import state_directory

GOOD = b"GET /app/seen HTTP/1.1\r\nHost: h\r\n\r\n"


def seen(proxy: Proxy) -> list[str]:
    return list(json.loads(requests.get(f"{proxy.url}/app/seen", timeout=10).text))


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 10
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def test_a_request_that_takes_too_long_is_cancelled(world: Stage, proxy: Proxy) -> None:
    hasty = world.proxy(request_timeout_s=0.2)
    reply = requests.get(f"{hasty.url}/app/slow?late", timeout=10)
    assert reply.status_code == 408
    assert reply.headers["x-request-id"] in reply.text
    until(lambda: "cancelled late" in seen(proxy))
    # also while its body comes
    with hasty.connect() as connection:
        connection.send(b"POST /app/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 1_500_000)
        assert connection.reply().status == 408
    # and with the time-out of its application
    until(lambda: requests.get(f"{hasty.url}/app/seen", timeout=10).status_code == 200)


def test_a_route_has_its_own_time_out(world: Stage, proxy: Proxy) -> None:
    world.route(RouteView("/quick", "app", "main", timeout_s=0.2))
    until(lambda: "/quick" in requests.get(f"{proxy.url}/-/routes", timeout=10).json())
    assert requests.get(f"{proxy.url}/quick/slow?route", timeout=10).status_code == 408


def test_a_client_that_leaves_cancels_its_request(proxy: Proxy) -> None:
    with proxy.connect() as connection:
        connection.send(b"GET /app/slow?gone HTTP/1.1\r\nHost: h\r\n\r\n")
        until(lambda: "began gone" in seen(proxy))
    until(lambda: "cancelled gone" in seen(proxy))
    assert proxy.until(lambda stats: stats["ongoing"] == 0)["routes"][0]["statuses"][499]


def test_a_client_that_leaves_with_requests_behind_the_one_that_runs(proxy: Proxy) -> None:
    with proxy.connect() as connection:
        connection.send(b"".join(b"GET /app/slow?ahead%d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(4)))
        until(lambda: "began ahead0" in seen(proxy))
    until(lambda: "cancelled ahead0" in seen(proxy))
    assert "began ahead1" not in seen(proxy)


def test_clients_that_leave_quick_functions_cost_no_room(world: Stage, proxy: Proxy) -> None:
    def quick(request: Any) -> str:
        return "quick"

    view = world.replica("quick", quick, is_asgi=False)
    world.announce("quick")
    world.route(RouteView("/fast", "app", "quick"))
    until(lambda: "/fast" in requests.get(f"{proxy.url}/-/routes", timeout=10).json())
    for _ in range(300):
        with proxy.connect() as connection:
            connection.send(b"GET /fast HTTP/1.1\r\nHost: h\r\n\r\n")
    proxy.until(lambda stats: stats["ongoing"] == 0)
    until(lambda: aktis.get(view.actor.stats.remote()).ongoing == 0)


def test_a_client_that_leaves_during_a_stream(proxy: Proxy) -> None:
    with proxy.connect() as connection:
        connection.send(b"GET /app/stream?100000x100000 HTTP/1.1\r\nHost: h\r\n\r\n")
        connection.exactly(100_000)
    proxy.until(lambda stats: stats["ongoing"] == 0)


def test_a_client_that_leaves_in_the_middle_of_a_large_body(proxy: Proxy) -> None:
    with proxy.connect() as connection:
        connection.send(b"POST /app/x HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 2_000_000)
        proxy.until(lambda stats: stats["ongoing"] == 1)
    proxy.until(lambda stats: stats["ongoing"] == 0)
    assert requests.get(f"{proxy.url}/app/seen", timeout=10).status_code == 200


def test_requests_wait_for_room_and_too_many_are_turned_away(world: Stage, proxy: Proxy) -> None:
    world.replica("narrow", make_application(), most=1)
    world.announce("narrow", max_queued=1)
    world.route(RouteView("/narrow", "app", "narrow"))
    until(lambda: "/narrow" in requests.get(f"{proxy.url}/-/routes", timeout=10).json())
    with proxy.connect() as first, proxy.connect() as second, proxy.connect() as third:
        first.send(b"GET /narrow/slow?1 HTTP/1.1\r\nHost: h\r\n\r\n")
        proxy.until(lambda stats: stats["ongoing"] == 1)
        second.send(b"GET /narrow/seen HTTP/1.1\r\nHost: h\r\n\r\n")
        proxy.until(lambda stats: stats["ongoing"] == 2)
        third.send(b"GET /narrow/seen HTTP/1.1\r\nHost: h\r\n\r\n")
        reply = third.reply()
        assert reply.status == 503
        assert "retry-after" in reply.headers
        first.socket.close()
        assert second.reply().json() == ["began 1", "cancelled 1"]


def test_requests_that_other_callers_leave_no_room_for_are_turned_away(world: Stage, proxy: Proxy) -> None:
    replica = world.replica("full", make_application(), most=1)
    world.announce("full", max_queued=0, overload=(429, 1.5))
    world.route(RouteView("/full", "app", "full"))
    until(lambda: "/full" in requests.get(f"{proxy.url}/-/routes", timeout=10).json())
    other = world.proxy()
    with other.connect() as theirs, proxy.connect() as ours, proxy.connect() as upgrade:
        until(lambda: "/full" in requests.get(f"{other.url}/-/routes", timeout=10).json())
        theirs.send(b"GET /full/slow?1 HTTP/1.1\r\nHost: h\r\n\r\n")
        until(lambda: aktis.get(replica.actor.stats.remote()).ongoing == 1)
        ours.send(b"GET /full/seen HTTP/1.1\r\nHost: h\r\n\r\n")
        told = ours.reply()
        assert (told.status, told.headers["retry-after"]) == (429, "2")
        upgrade.send(
            b"GET /full/ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert upgrade.reply().status == 429


def test_a_replica_that_rejects_is_not_the_end(world: Stage, proxy: Proxy) -> None:
    view = world.replica("two", make_application())
    other = world.replica("two", make_application())
    world.announce("two")
    world.route(RouteView("/two", "app", "two"))
    until(lambda: "/two" in requests.get(f"{proxy.url}/-/routes", timeout=10).json())
    aktis.get(view.actor.drain.remote(0.0, 1.0))  # it rejects all from now on
    body = os.urandom(2_500_000)
    for _ in range(6):
        assert requests.post(f"{proxy.url}/two/x", data=body, timeout=10).json()["size"] == len(body)
    pids = {requests.get(f"{proxy.url}/two/pid", timeout=10).text for _ in range(10)}
    assert len(pids) == 1
    world.replicas[DeploymentID("app", "two")] = [other]
    world.announce("two")


def test_replicas_that_die(world: Stage, proxy: Proxy) -> None:
    for _ in range(3):
        world.replica("mortal", make_application())
    world.announce("mortal")
    world.route(RouteView("/mortal", "app", "mortal"))
    until(lambda: "/mortal" in requests.get(f"{proxy.url}/-/routes", timeout=10).json())
    reply = requests.post(f"{proxy.url}/mortal/die", timeout=10)
    assert reply.status_code == 502
    assert reply.headers["x-request-id"] in reply.text
    pid = int(requests.get(f"{proxy.url}/mortal/pid", timeout=10).text)
    failures: list[Any] = []

    def ask() -> None:
        with requests.Session() as session:
            for _ in range(150):
                found = session.get(f"{proxy.url}/mortal/seen", timeout=10)
                if found.status_code != 200:
                    failures.append((found.status_code, found.text))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: proxy.stats()["ongoing"] > 0)
    os.kill(pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert failures == []
    # an Idempotency-Key makes a POST one that may be run again: here until nobody is left
    world.announce("mortal", broken="its last replica died")
    reply = requests.post(f"{proxy.url}/mortal/die", headers={"Idempotency-Key": "1"}, timeout=10)
    assert reply.status_code == 503


def test_nobody_there(world: Stage, proxy: Proxy) -> None:
    world.announce("broken", broken="its constructor raised")
    world.route(RouteView("/broken", "app", "broken"))
    until(lambda: "/broken" in requests.get(f"{proxy.url}/-/routes", timeout=10).json())
    reply = requests.get(f"{proxy.url}/broken", timeout=10)
    assert reply.status_code == 503
    assert "its constructor raised" in reply.text and "retry-after" in reply.headers


def test_a_proxy_that_is_killed_comes_back_on_its_port(world: Stage) -> None:
    proxy = world.proxy()
    os.kill(proxy.stats()["pid"], signal.SIGKILL)

    def back() -> bool:
        try:
            return requests.get(f"{proxy.url}/app/seen", timeout=10).status_code == 200
        except requests.exceptions.ConnectionError:
            return False

    until(back)


def test_draining(world: Stage) -> None:
    proxy = world.proxy()
    with proxy.connect() as idle, proxy.connect() as busy:
        for connection in (idle, busy):
            connection.send(GOOD)
            connection.reply()
        busy.send(b"GET /app/stream?200x1000 HTTP/1.1\r\nHost: h\r\n\r\n")
        busy.line_end(b"\r\n\r\n")
        drained = proxy.actor.drain.remote(10)
        assert idle.rest() == b""
        assert b"199 ..." in busy.rest()
        assert aktis.get(drained) is True
    with pytest.raises(OSError):
        proxy.connect()


def test_draining_does_not_wait_for_ever(world: Stage) -> None:
    proxy = world.proxy()
    with proxy.connect() as connection:
        connection.send(b"GET /app/slow?drain HTTP/1.1\r\nHost: h\r\n\r\n")
        proxy.until(lambda stats: stats["ongoing"] == 1)
        assert aktis.get(proxy.actor.drain.remote(0.1)) is False
        assert connection.rest() == b""


def test_a_port_is_shared_with_our_own_proxies_only(world: Stage) -> None:
    first = Listener("127.0.0.1", 0, "ours")
    port = first.address[1]
    second = Listener("127.0.0.1", port, "ours")
    try:
        with pytest.raises(PortInUseError, match=f"Port {port} of 127.0.0.1 is taken by another Serve instance"):
            Listener("127.0.0.1", port, "theirs")
    finally:
        first.close()
        second.close()
    Listener("127.0.0.1", port, "theirs").close()
    assert not list(state_directory().glob(f"port-{port}.lock"))  # who leaves last takes the claim away
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        with socket.socket() as foreign:
            foreign.setsockopt(socket.SOL_SOCKET, option, 1)
            foreign.bind(("127.0.0.1", 0))
            foreign.listen()
            taken = foreign.getsockname()[1]
            with pytest.raises(PortInUseError, match=f"Port {taken} of 127.0.0.1 is taken by another program"):
                Listener("127.0.0.1", taken, "ours")
            with pytest.raises(Exception, match=f"Port {taken}"):
                world.proxy(port=taken)
