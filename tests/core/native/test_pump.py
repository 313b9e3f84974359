"""The pump: whoever waits reads, nobody is forgotten."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from time import monotonic

import pytest

from aktis._native.pump import Pump, Waiter


@pytest.fixture
def pump() -> Iterator[Pump]:
    pump = Pump("test-pump")
    pump.start()
    yield pump
    pump.stop()


class Pipe:
    """A descriptor that the pump watches; each byte runs ``action`` in the leader."""

    def __init__(self, pump: Pump, action: object) -> None:
        self.read_fd, self.write_fd = os.pipe()
        self.threads: list[str] = []
        self.action = action
        pump.register(self.read_fd, self._on_event)

    def _on_event(self, _: int) -> None:
        os.read(self.read_fd, 1)
        self.threads.append(threading.current_thread().name)
        self.action()  # type: ignore[operator]

    def poke(self) -> None:
        os.write(self.write_fd, b"x")

    def close(self, pump: Pump) -> None:
        pump.unregister(self.read_fd)
        os.close(self.read_fd)
        os.close(self.write_fd)


def test_the_waiting_thread_reads(pump: Pump) -> None:
    waiter = Waiter()
    pipe = Pipe(pump, lambda: pump.wake_waiter(waiter))
    timer = threading.Timer(0.2, pipe.poke)  # later than the deputy's nap: it must not have taken the lead
    timer.start()
    assert pump.wait(waiter, 30)
    assert pipe.threads == [threading.current_thread().name]
    timer.join()
    pipe.close(pump)


def test_the_deputy_reads_when_nobody_waits(pump: Pump) -> None:
    done = threading.Event()
    pipe = Pipe(pump, done.set)
    pipe.poke()
    assert done.wait(30)
    assert pipe.threads == ["test-pump"]
    pipe.close(pump)


def test_a_wait_takes_the_lead_back_from_the_deputy(pump: Pump) -> None:
    done = threading.Event()
    pipe = Pipe(pump, done.set)
    pipe.poke()
    assert done.wait(30)  # now the deputy leads
    waiter = Waiter()
    pipe.action = lambda: pump.wake_waiter(waiter)
    timer = threading.Timer(0.2, pipe.poke)
    timer.start()
    assert pump.wait(waiter, 30)
    assert pipe.threads[-1] == threading.current_thread().name
    timer.join()
    pipe.close(pump)


def test_a_timeout_ends_the_wait(pump: Pump) -> None:
    began = monotonic()
    assert not pump.wait(Waiter(), 0.05)
    assert monotonic() - began >= 0.05


def test_a_waiter_woken_before_it_waits_does_not_wait(pump: Pump) -> None:
    waiter = Waiter()
    pump.wake_waiter(waiter)
    assert pump.wait(waiter, 0)


def test_many_waiting_threads_all_wake(pump: Pump) -> None:
    waiters = [Waiter() for _ in range(20)]
    results: list[bool] = []
    threads = [threading.Thread(target=lambda w=w: results.append(pump.wait(w, 30))) for w in waiters]
    for thread in threads:
        thread.start()
    remaining = iter(reversed(waiters))  # the leader is likely the first: it must hand over
    pipe = Pipe(pump, lambda: pump.wake_waiter(next(remaining)))
    for _ in waiters:
        pipe.poke()
    for thread in threads:
        thread.join(30)
    assert results == [True] * 20
    pipe.close(pump)


def test_timers_run_in_order_without_anybody_waiting(pump: Pump) -> None:
    order: list[int] = []
    done = threading.Event()
    pump.call_later(0.03, lambda: (order.append(3), done.set()))
    pump.call_later(0.01, lambda: order.append(1))
    pump.call_later(0.02, lambda: order.append(2))
    assert done.wait(30)
    assert order == [1, 2, 3]


def test_an_earlier_timer_cuts_a_sleep_short(pump: Pump) -> None:
    waiter = Waiter()
    thread = threading.Timer(0.1, lambda: pump.call_soon(lambda: pump.wake_waiter(waiter)))
    thread.start()
    assert pump.wait(waiter, 30)
    thread.join()


def test_stop_ends_the_deputy() -> None:
    pump = Pump("short-lived")
    pump.start()
    pump.stop()
    assert all(thread.name != "short-lived" for thread in threading.enumerate())
