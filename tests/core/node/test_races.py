"""Deaths at the moments that matter: between a worker's HELLO and its becoming an actor, and before its exit status is there.

Stopping the node, or the zygote, puts several events into one round of the node's loop, in an order that is known.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aktis._native import protocol as op


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    _await(lambda: _state(pid) == "S")  # it waits for events: one that it has just handled would else come out first
    os.kill(pid, signal.SIGSTOP)
    _await(lambda: _state(pid) == "T")
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _worker_that_waits(session: Any, driver: Any) -> int:
    """Opens the FIFO on which a worker waits that is connected and has not said HELLO."""
    fd = os.open(Path(session.handles[-1].session_dir, "hold"), os.O_WRONLY)  # returns when the worker opens it, too
    driver.settle()
    driver.settle()  # its connection is accepted
    return fd


def _new_socket(session: Any, known: set[Path]) -> str:
    (path,) = set(Path(session.handles[-1].session_dir).glob("p-*.sock")) - known
    return f"unix:{path}"


@pytest.mark.parametrize("end", ["killed by its caller", "its process is killed"])
def test_an_actor_whose_worker_ends_in_the_moment_that_it_comes(session: Any, end: str) -> None:
    handle = session.node(num_cpus=1)
    driver = session.driver()
    driver.demand(1, 1)
    driver.grant(1)  # the worker that was started ahead has something to do
    folder = Path(handle.session_dir)
    known = set(folder.glob("p-*.sock"))
    os.mkfifo(folder / "hold")
    spec = driver.actor(1, placement={}, max_restarts=1)
    fifo = _worker_that_waits(session, driver)
    address = _new_socket(session, known)
    with stopped(handle.node_pid):
        os.unlink(folder / "hold")
        os.close(fifo)
        pid = int(session.order(address, "pid"))  # it has said HELLO
        if end == "killed by its caller":
            driver.send(op.ACTOR_KILL, spec.actor_id, False)
        else:
            os.kill(pid, signal.SIGKILL)
            _await(
                lambda: not Path(f"/proc/{pid}").exists() and _state(handle.zygote_pid) == "S"
            )  # and the node is told
    assert driver.state(spec, "ALIVE").epoch == 1
    assert "Traceback" not in session.log()


def test_a_lease_of_a_dead_worker_is_returned_while_others_wait_for_workers(session: Any) -> None:
    handle = session.node(num_cpus=2)
    driver = session.driver()
    driver.demand(1, 1)
    grant = driver.grant(1)
    with stopped(handle.zygote_pid):  # nobody is told of exits, and nothing is forked
        driver.demand(2, 1)
        driver.settle()
        session.order(grant[4], "crash")
        driver.settle()  # the end of its connection is known
        driver.send(op.LEASE_RETURN, grant[2], True)
        driver.settle()
    driver.grant(2)
    assert "Traceback" not in session.log()


def test_the_death_of_a_zygote_is_one_failure_however_many_workers_it_was_starting(session: Any) -> None:
    handle = session.node(num_cpus=4)
    driver = session.driver()
    driver.demand(1, 1)
    driver.grant(1)
    with stopped(handle.zygote_pid):
        driver.demand(2, 3)
        specs = [driver.actor(number, placement={}) for number in range(3)]
        driver.settle()
        os.kill(handle.zygote_pid, signal.SIGKILL)
    for _ in range(3):
        driver.grant(2)
    for spec in specs:
        driver.state(spec, "ALIVE")
