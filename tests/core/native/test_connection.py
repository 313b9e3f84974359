"""Framed streams between processes."""

from __future__ import annotations

import pickle
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from aktis._native.connection import Connection
from aktis._native.pump import Pump, Waiter


class End:
    """One end: what it received, and how to wait for more."""

    def __init__(self, sock: socket.socket) -> None:
        self.pump = Pump("connection-test")
        self.received: list[Any] = []
        self.closed = threading.Event()
        self._wanted = 0
        self._waiter: Waiter | None = None
        self.connection = Connection(self.pump, sock, self._on_messages, lambda _: self.closed.set())
        self.pump.start()

    def _on_messages(self, _: Connection, messages: list[Any]) -> None:
        self.received += messages
        if self._waiter is not None and len(self.received) >= self._wanted:
            self.pump.wake_waiter(self._waiter)

    def wait_for(self, count: int) -> list[Any]:
        self._wanted = count
        self._waiter = waiter = Waiter()
        if len(self.received) < count:
            assert self.pump.wait(waiter, 30)
        return self.received

    def stop(self) -> None:
        self.pump.stop()
        self.connection.sock.close()


@pytest.fixture
def ends() -> Iterator[tuple[End, End]]:
    a, b = socket.socketpair()
    first, second = End(a), End(b)
    yield first, second
    first.stop()
    second.stop()


@pytest.fixture
def raw() -> Iterator[tuple[socket.socket, End]]:
    a, b = socket.socketpair()
    end = End(b)
    yield a, end
    a.close()
    end.stop()


def frame(*messages: Any) -> bytes:
    data = pickle.dumps(list(messages))
    return struct.pack("<I", len(data)) + data


def test_messages_arrive_in_order(ends: tuple[End, End]) -> None:
    a, b = ends
    for i in range(1000):
        a.connection.post((i,))
    assert b.wait_for(1000) == [(i,) for i in range(1000)]


def test_many_producers_lose_nothing(ends: tuple[End, End]) -> None:
    a, b = ends

    def produce(who: int) -> None:
        for i in range(2000):
            a.connection.post((who, i))

    threads = [threading.Thread(target=produce, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    received = b.wait_for(8000)
    for thread in threads:
        thread.join()
    for who in range(4):
        assert [i for w, i in received if w == who] == list(range(2000))


def test_large_messages_both_ways_at_once(ends: tuple[End, End]) -> None:
    a, b = ends
    blob = bytes(range(256)) * 40_000  # 10 MB, more than the sockets' buffers hold
    a.connection.send_now((1, blob))
    b.connection.send_now((2, blob))
    assert b.wait_for(1) == [(1, blob)]
    assert a.wait_for(1) == [(2, blob)]


def test_frames_in_small_pieces(raw: tuple[socket.socket, End]) -> None:
    sock, end = raw
    data = frame((1, "x")) + frame((2, b"y" * 200_000)) + frame((3,), (4,))
    for position in range(40):
        sock.send(data[position : position + 1])
    sock.sendall(data[40:])
    assert [message[0] for message in end.wait_for(4)] == [1, 2, 3, 4]


def test_garbage_closes_the_connection(raw: tuple[socket.socket, End]) -> None:
    sock, end = raw
    sock.sendall(struct.pack("<I", 5) + b"hello")
    assert end.closed.wait(30)


def test_the_end_of_the_peer_is_noticed(raw: tuple[socket.socket, End]) -> None:
    sock, end = raw
    sock.close()
    assert end.closed.wait(30)


def test_what_lies_in_the_socket_of_a_dead_peer_is_read(raw: tuple[socket.socket, End]) -> None:
    sock, end = raw
    sock.sendall(frame((1,)) + frame((2,)))
    sock.close()
    assert end.closed.wait(30)
    assert end.received == [(1,), (2,)]
