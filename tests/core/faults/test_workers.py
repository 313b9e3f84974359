"""Workers that die in a task."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys

import pytest

import aktis
from aktis import exceptions


def count_lines(path):
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_a_task_whose_worker_was_killed_runs_again(session, tmp_path):
    session()
    attempts = tmp_path / "attempts"

    @aktis.remote
    def fragile(value):
        with open(attempts, "a") as file:
            file.write("x\n")
        if attempts.stat().st_size < 6:  # two lines have been written before
            os.kill(os.getpid(), signal.SIGKILL)
        return value

    assert aktis.get(fragile.remote(7), timeout=20) == 7
    assert count_lines(attempts) == 3


def test_after_its_retries_the_error_names_the_signal_and_the_last_output(session, tmp_path):
    session()
    attempts = tmp_path / "attempts"

    @aktis.remote(max_retries=2)
    def fragile():
        with open(attempts, "a") as file:
            file.write("x\n")
        print("these were its last words", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(exceptions.WorkerCrashedError) as caught:
        aktis.get(fragile.remote(), timeout=20)
    assert count_lines(attempts) == 3
    assert "SIGKILL" in str(caught.value)
    assert "these were its last words" in str(caught.value)
    assert caught.value.signal == signal.SIGKILL


def test_an_exit_of_the_process_is_named_with_its_code(session):
    session()

    @aktis.remote(max_retries=0)
    def leave():
        os._exit(17)

    with pytest.raises(exceptions.WorkerCrashedError, match="17") as caught:
        aktis.get(leave.remote(), timeout=20)
    assert caught.value.exit_code == 17


def test_a_crash_in_native_code_is_named(session):
    session()

    @aktis.remote(max_retries=0)
    def crash():
        ctypes.string_at(0)

    with pytest.raises(exceptions.WorkerCrashedError, match="SIGSEGV"):
        aktis.get(crash.remote(), timeout=20)


def test_sys_exit_in_a_task_is_the_end_of_its_worker(session):
    session()

    @aktis.remote(max_retries=0)
    def leave():
        sys.exit(3)

    with pytest.raises(exceptions.AktisError):
        aktis.get(leave.remote(), timeout=20)

    @aktis.remote
    def fine():
        return 1

    assert aktis.get(fine.remote(), timeout=20) == 1


def test_other_tasks_do_not_notice(session):
    session()

    @aktis.remote(max_retries=0)
    def crash():
        os.kill(os.getpid(), signal.SIGKILL)

    @aktis.remote(max_retries=-1)
    def square(number):
        return number * number

    crashes, squares = [], []
    for number in range(60):
        squares.append(square.remote(number))
        if number % 10 == 0:
            crashes.append(crash.remote())
    assert aktis.get(squares, timeout=40) == [number * number for number in range(60)]
    for ref in crashes:
        with pytest.raises(exceptions.WorkerCrashedError):
            aktis.get(ref, timeout=20)


def test_an_exception_of_the_user_is_not_retried_unless_asked(session, tmp_path):
    session()

    @aktis.remote
    def fail(path, until):
        with open(path, "a") as file:
            file.write("x\n")
        if os.path.getsize(path) < 2 * until:
            raise KeyError("not yet")
        return "done"

    with pytest.raises(KeyError):
        aktis.get(fail.remote(tmp_path / "a", 3), timeout=20)
    assert count_lines(tmp_path / "a") == 1
    retried = fail.options(retry_exceptions=[KeyError], max_retries=5)
    assert aktis.get(retried.remote(tmp_path / "b", 3), timeout=20) == "done"
    assert count_lines(tmp_path / "b") == 3


def test_the_tasks_that_wait_for_a_crashed_one_fail_without_running(session, tmp_path):
    session()

    @aktis.remote(max_retries=0)
    def crash():
        os.kill(os.getpid(), signal.SIGKILL)

    @aktis.remote
    def after(value):
        (tmp_path / "ran").touch()

    ref = after.remote(crash.remote())
    with pytest.raises(exceptions.WorkerCrashedError):
        aktis.get(ref, timeout=20)
    assert not (tmp_path / "ran").exists()


def test_a_worker_killed_from_outside_while_its_task_waits_for_another(session, tmp_path):
    session()
    pids = tmp_path / "pids"

    @aktis.remote
    def inner():
        return 1

    @aktis.remote
    def outer():
        with open(pids, "a") as file:
            file.write(f"{os.getpid()}\n")
        value = aktis.get(inner.remote())
        if count_lines_of(pids) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return value + 1

    def count_lines_of(path):
        return len(path.read_text().splitlines())

    assert aktis.get(outer.remote(), timeout=20) == 2
    assert count_lines(pids) == 2


def test_a_streaming_generator_continues_after_a_crash(session, tmp_path):
    session()
    marker = tmp_path / "marker"

    @aktis.remote
    def numbers():
        for number in range(6):
            if number == 3 and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield number

    values = [aktis.get(ref, timeout=20) for ref in numbers.remote()]
    assert values == list(range(6))


def test_a_generator_that_waits_for_its_consumer_continues_after_a_crash(session, tmp_path):
    """The new worker makes the items again that were taken from the old one: it must not wait for them to be taken."""
    session()
    marker = tmp_path / "marker"

    @aktis.remote(_generator_backpressure_num_objects=2)
    def numbers():
        for number in range(12):
            if number == 8 and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield number

    values = [aktis.get(ref, timeout=20) for ref in numbers.remote()]
    assert values == list(range(12))


def test_a_cancelled_task_finishes_the_import_that_it_is_in(session, tmp_path):
    """An import that is cut off leaves modules half initialised, for all later tasks of the worker."""
    (tmp_path / "slow_to_import.py").write_text(
        "from pathlib import Path\nimport time\n"
        f"with open({str(tmp_path / 'begun')!r}, 'a') as file:\n    file.write('x')\n"
        "for _ in range(20):\n    time.sleep(0.05)\n"
        "value = 7\n"
    )
    session(num_cpus=1)

    @aktis.remote(max_retries=0)
    def use():
        import sys
        import time

        sys.path.insert(0, str(tmp_path))
        import slow_to_import

        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:  # is interrupted here
            time.sleep(0.01)
        return slow_to_import.value

    @aktis.remote
    def value():
        import slow_to_import

        return slow_to_import.value

    running = use.remote()
    while not (tmp_path / "begun").exists():
        assert not aktis.wait([running], timeout=0.01)[0]
    aktis.cancel(running)
    with pytest.raises(aktis.exceptions.TaskCancelledError):
        aktis.get(running, timeout=15)
    assert aktis.get(value.remote(), timeout=10) == 7
    assert (tmp_path / "begun").read_text() == "x"


def test_a_generator_that_waits_for_its_consumer_lends_its_cpu(session):
    session(num_cpus=1)

    @aktis.remote(_generator_backpressure_num_objects=1)
    def numbers():
        yield from range(5)

    @aktis.remote
    def double(number):
        return 2 * number

    assert [aktis.get(double.remote(ref), timeout=20) for ref in numbers.remote()] == [0, 2, 4, 6, 8]


def test_large_arguments_survive_the_crash_of_their_reader(session, tmp_path):
    numpy = pytest.importorskip("numpy")
    session()
    marker = tmp_path / "marker"

    @aktis.remote
    def total(array):
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return int(array.sum())

    array = numpy.arange(1_000_000)
    assert aktis.get(total.remote(array), timeout=20) == array.sum()


def test_a_stream_that_waits_for_something_else_ends_with_its_consumer(session):
    session()

    @aktis.remote
    class Source:
        def __init__(self):
            self.ended = asyncio.Event()

        async def items(self):
            try:
                yield 1
                await asyncio.Event().wait()
            finally:
                self.ended.set()

        async def wait_for_end(self):
            await self.ended.wait()
            return True

    @aktis.remote
    class Consumer:
        def begin(self, source):
            self.stream = source.items.options(_generator_backpressure_num_objects=5).remote()
            return aktis.get(next(self.stream)), os.getpid()

    source, consumer = Source.remote(), Consumer.remote()
    item, pid = aktis.get(consumer.begin.remote(source), timeout=20)
    assert item == 1
    os.kill(pid, signal.SIGKILL)
    assert aktis.get(source.wait_for_end.remote(), timeout=20)
