"""Calls that are sent ahead are neither stuck behind long ones nor run twice."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

import aktis

pytestmark = pytest.mark.usefixtures("session")


@aktis.remote
def wait_for(path: str) -> int:
    """Run until a file exists."""
    while path and not os.path.exists(path):
        time.sleep(0.005)
    return os.getpid()


@aktis.remote
def note(path: str) -> None:
    with open(path, "a") as file:
        file.write("x")


def test_short_calls_do_not_wait_behind_a_long_one(tmp_path: Path) -> None:
    aktis.get([wait_for.remote("") for _ in range(500)])  # teach the engine that the function is short
    gate = str(tmp_path / "gate")
    refs = [wait_for.remote("") for _ in range(50)]
    long = wait_for.remote(gate)  # now it is not
    refs += [wait_for.remote("") for _ in range(200)]
    aktis.get(refs, timeout=30)
    assert aktis.wait([long], timeout=0)[0] == []
    Path(gate).touch()
    aktis.get(long)


def test_short_calls_get_a_worker_of_their_own_when_the_only_one_runs_a_long_call(tmp_path: Path) -> None:
    aktis.get([wait_for.remote("") for _ in range(500)])
    gate = str(tmp_path / "gate")
    long = wait_for.remote(gate)
    deadline = time.monotonic() + 30
    while aktis.available_resources().get("CPU", 0) < 1:  # the worker that idles is kept for a moment
        assert time.monotonic() < deadline
        time.sleep(0.01)
    refs = [wait_for.remote("") for _ in range(5)]  # too little work for a second worker, were the first one free
    aktis.get(refs, timeout=30)
    Path(gate).touch()
    aktis.get(long)


def test_two_long_calls_run_side_by_side(tmp_path: Path) -> None:
    aktis.get([wait_for.remote("") for _ in range(500)])
    gates = [str(tmp_path / f"gate{i}") for i in range(2)]
    refs = [wait_for.remote(gate) for gate in gates]
    Path(gates[1]).touch()
    aktis.get(refs[1], timeout=30)
    Path(gates[0]).touch()
    aktis.get(refs[0], timeout=30)


def test_a_nested_call_is_not_stuck_behind_its_parent() -> None:
    @aktis.remote
    def parent(depth: int) -> int:
        return 1 if not depth else 1 + int(aktis.get(parent.remote(depth - 1)))

    assert aktis.get([parent.remote(6) for _ in range(4)], timeout=60) == [7] * 4


def test_every_call_runs_once(tmp_path: Path) -> None:
    paths = [str(tmp_path / str(i)) for i in range(300)]
    aktis.get([note.remote(path) for path in paths])
    assert [Path(path).read_text() for path in paths] == ["x"] * 300


def test_a_crash_charges_only_the_call_that_ran(tmp_path: Path) -> None:
    @aktis.remote(max_retries=1)
    def maybe_crash(i: int, path: str) -> int:
        if i == 100 and not os.path.exists(path):
            Path(path).touch()
            os._exit(1)
        return i

    path = str(tmp_path / "crashed")
    assert aktis.get([maybe_crash.remote(i, path) for i in range(200)], timeout=60) == list(range(200))


def test_calls_that_must_not_run_twice_survive_a_neighbours_crash(tmp_path: Path) -> None:
    @aktis.remote(max_retries=0)
    def crash_or_note(i: int, path: str) -> int:
        with open(path, "a") as file:
            file.write("x")
        if i == 20:
            os._exit(1)
        return i

    paths = [str(tmp_path / str(i)) for i in range(40)]
    refs = [crash_or_note.remote(i, path) for i, path in enumerate(paths)]
    for i, ref in enumerate(refs):
        if i == 20:
            with pytest.raises(aktis.exceptions.WorkerCrashedError):
                aktis.get(ref, timeout=30)
        else:
            assert aktis.get(ref, timeout=30) == i
    assert {Path(path).read_text() for path in paths} == {"x"}


def test_higher_priority_runs_first(tmp_path: Path) -> None:
    @aktis.remote
    def order(log: Any, name: str) -> None:
        aktis.get(log.append.remote(name))

    @aktis.remote
    class Log:
        def __init__(self) -> None:
            self.names: list[str] = []

        def append(self, name: str) -> None:
            self.names.append(name)

        def all(self) -> list[str]:
            return self.names

    log = Log.remote()
    aktis.get(log.all.remote())
    gate = tmp_path / "gate"
    busy = wait_for.options(num_cpus=2).remote(str(gate))  # nothing else starts until all have been submitted
    low = [order.options(num_cpus=2, priority=0).remote(log, "low") for _ in range(10)]
    high = [order.options(num_cpus=2, priority=5).remote(log, "high") for _ in range(3)]
    gate.touch()
    aktis.get([busy, *low, *high])
    names = aktis.get(log.all.remote())
    assert max(i for i, name in enumerate(names) if name == "high") < 8


def test_workers_go_back_when_others_want_their_cpus(tmp_path: Path) -> None:
    @aktis.remote(num_cpus=2)
    def hold(started: str, gate: str) -> None:
        Path(started).touch()
        while not os.path.exists(gate):
            time.sleep(0.005)

    started, gate = tmp_path / "started", tmp_path / "gate"
    holder = hold.remote(str(started), str(gate))
    while not started.exists():
        time.sleep(0.005)
    other = wait_for.options(num_cpus=0.5).remote("")
    assert aktis.wait([other], timeout=0.2)[0] == []
    gate.touch()
    aktis.get(holder)
    aktis.get(other, timeout=30)
