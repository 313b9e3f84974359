"""Many, deep, and one after another: nothing recursive, nothing that is never let go."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import aktis


@pytest.mark.timeout(120)
def test_a_chain_of_ten_thousand_tasks(session):
    session()

    @aktis.remote
    def increment(number):
        return number + 1

    ref = aktis.put(0)
    for _ in range(10_000):
        ref = increment.remote(ref)
    assert aktis.get(ref, timeout=60) == 10_000


def test_recursive_tasks_on_one_cpu(session):
    session(num_cpus=1)

    @aktis.remote
    def fibonacci(n):
        if n < 2:
            return n
        return sum(aktis.get([fibonacci.remote(n - 1), fibonacci.remote(n - 2)]))

    assert aktis.get(fibonacci.remote(7), timeout=50) == 13


def test_a_deep_recursion_on_one_cpu(session):
    session(num_cpus=1)

    @aktis.remote
    def down(depth):
        return depth if depth == 0 else 1 + aktis.get(down.remote(depth - 1))

    assert aktis.get(down.remote(25), timeout=50) == 25


@pytest.mark.timeout(120)
def test_fifty_thousand_queued_tasks(session):
    session()

    @aktis.remote
    def number(value):
        return value

    refs = [number.remote(value) for value in range(50_000)]
    assert aktis.get(refs, timeout=90) == list(range(50_000))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_million_queued_tasks(session):
    session()

    @aktis.remote
    def number(value):
        return value

    before = resident()
    refs = [number.remote(value) for value in range(1_000_000)]
    per_task = (resident() - before) / 1_000_000
    print(f"{per_task:.0f} bytes of memory per queued task")
    assert per_task < 3000
    for start in range(0, 1_000_000, 100_000):
        assert aktis.get(refs[start : start + 100_000], timeout=600) == list(range(start, start + 100_000))


def resident(pid="self"):
    return int(Path("/proc", str(pid), "statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def footprint():
    """(open files, threads, resident bytes) of this process."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")), threading.active_count(), resident()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_actors_one_after_another_leave_nothing(session, count):
    session()

    @aktis.remote
    class Actor:
        def pid(self):
            return os.getpid()

    def one():
        return aktis.get(Actor.remote().pid.remote(), timeout=20)

    for _ in range(20):
        one()
    wait_for_workers(4)
    files, threads, memory = footprint()
    pids = {one() for _ in range(count)}
    assert len(pids) > count // 2
    wait_for_workers(4)
    files_after, threads_after, memory_after = footprint()
    assert files_after <= files + 5
    assert threads_after <= threads + 1
    assert memory_after < memory + 8_000_000 + count * 4000


def wait_for_workers(count):
    """Until no more than so many processes of the session are left beside node and zygote."""
    from .conftest import descendants, wait_until

    wait_until(lambda: len(descendants(os.getpid())) <= count + 2, 20, lambda: descendants(os.getpid()))


@pytest.mark.timeout(120)
def test_tasks_leave_nothing(session):
    session()

    @aktis.remote
    def echo(value):
        return value

    def many(count):
        for _ in range(count):
            aktis.get([echo.remote(bytes(2000)) for _ in range(100)], timeout=60)

    many(60)
    _, threads, memory = footprint()
    many(100)
    _, threads_after, memory_after = footprint()
    assert threads_after <= threads + 1
    assert memory_after < memory + 6_000_000  # 10,000 results of 2,000 bytes would be 20 MB


def test_get_from_many_threads(session):
    session()

    @aktis.remote
    def square(number):
        return number * number

    shared = [square.remote(number) for number in range(200)]
    failures = []

    def work(seed):
        try:
            own = [square.remote(seed * 1000 + number) for number in range(50)]
            assert aktis.get(shared, timeout=40) == [number * number for number in range(200)]
            ready, rest = aktis.wait(own, num_returns=50, timeout=40)
            assert not rest
            assert aktis.get(ready, timeout=40) == [(seed * 1000 + number) ** 2 for number in range(50)]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert not [thread for thread in threads if thread.is_alive()]


# fork in user code ----------------------------------------------------------------------------


def test_a_task_may_fork(session):
    session()

    @aktis.remote
    def fork():
        pid = os.fork()
        if pid == 0:
            os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert aktis.get([fork.remote() for _ in range(8)], timeout=20) == [7] * 8


def test_a_forked_child_may_end_like_a_program(session):
    """Its exit handlers must not take the worker's connections along."""
    session(num_cpus=1)

    @aktis.remote
    def fork():
        pid = os.fork()
        if pid == 0:
            sys.exit(0)
        os.waitpid(pid, 0)
        return os.getpid()

    assert aktis.get([fork.remote() for _ in range(4)], timeout=20)


def test_a_task_may_use_subprocess_and_multiprocessing(session):
    session()

    @aktis.remote
    def run():
        import multiprocessing

        text = subprocess.run([sys.executable, "-c", "print(6*7)"], capture_output=True, text=True, check=True).stdout
        with multiprocessing.get_context("fork").Pool(2) as pool:
            return int(text), pool.map(abs, [-1, -2, -3])

    assert aktis.get(run.remote(), timeout=40) == (42, [1, 2, 3])


def test_the_driver_may_fork(session):
    session()

    @aktis.remote
    def fine():
        return 1

    assert aktis.get(fine.remote(), timeout=20) == 1
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert aktis.get([fine.remote() for _ in range(20)], timeout=20) == [1] * 20


def test_children_of_a_killed_worker_are_ended(session, tmp_path):
    session()
    pid_file = tmp_path / "pid"

    @aktis.remote(max_retries=0)
    def start():
        child = subprocess.Popen(["sleep", "1000"])
        pid_file.write_text(str(child.pid))
        os.kill(os.getpid(), 9)

    with pytest.raises(aktis.exceptions.WorkerCrashedError):
        aktis.get(start.remote(), timeout=20)
    child = int(pid_file.read_text())
    deadline = time.monotonic() + 5
    while Path("/proc", str(child)).exists() and Path("/proc", str(child), "stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.02)
