"""What replicas are made of: tasks that begin at once, functions and generators in threads, statistics."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import time
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from aktis.serve._replica.eager import start_task
from aktis.serve._replica.stats import WINDOW, Stats
from aktis.serve._replica.threads import Threads
from aktis.util.metrics import exposition


def loops() -> list[Any]:
    return [pytest.param(asyncio.new_event_loop, id="asyncio"), pytest.param(uvloop.new_event_loop, id="uvloop")]


@pytest.fixture(params=loops())
def run(request) -> Any:
    def run(main: Any) -> Any:
        loop = request.param()
        try:
            return loop.run_until_complete(asyncio.wait_for(main(), 20))
        finally:
            loop.close()

    return run


def test_a_task_takes_its_first_step_at_once_in_a_context_of_its_own(run):
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    log: list[Any] = []

    async def body():
        variable.set(2)
        log.append(asyncio.current_task())
        await asyncio.sleep(0)
        log.append(asyncio.current_task())
        return variable.get()

    async def main():
        variable.set(1)
        present = asyncio.current_task()
        task = start_task(asyncio.get_running_loop(), body())
        assert log == [task]
        assert asyncio.current_task() is present
        assert await task == 2
        assert log == [task, task]
        assert variable.get() == 1

    run(main)


def test_tasks_that_end_or_raise_or_start_others_in_their_first_step(run):
    async def done():
        return 1

    async def broken():
        raise ValueError("at once")

    async def nested():
        loop = asyncio.get_running_loop()
        inner = start_task(loop, done())
        assert inner.done()
        return inner.result() + await start_task(loop, asyncio.sleep(0, 1))

    async def main():
        loop = asyncio.get_running_loop()
        task = start_task(loop, done())
        assert task.done()
        assert task.result() == 1
        task = start_task(loop, broken())
        with pytest.raises(ValueError, match="at once"):
            await task
        assert await start_task(loop, nested()) == 2
        waiting = start_task(loop, asyncio.Event().wait())
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()

    run(main)


def test_many_functions_in_threads(run):
    async def main():
        threads = Threads("test")
        results = await asyncio.gather(*(threads.run(lambda number=number: number * 2) for number in range(200)))
        assert results == [number * 2 for number in range(200)]
        threads.close()

    run(main)


def test_as_many_threads_as_functions_at_the_same_time(run):
    barrier = threading.Barrier(5, timeout=10)

    async def main():
        threads = Threads("five")
        await asyncio.gather(*(threads.run(barrier.wait) for _ in range(5)))
        await asyncio.gather(*(threads.run(barrier.wait) for _ in range(5)))
        assert len([thread for thread in threading.enumerate() if thread.name.startswith("five-")]) == 5
        threads.close()

    run(main)
    for thread in threading.enumerate():
        if thread.name.startswith("five-"):
            thread.join(10)
            assert not thread.is_alive()


def test_a_function_left_behind_is_told_of_when_it_returns(run):
    release = threading.Event()

    async def main():
        threads = Threads("test")
        ended = asyncio.Event()
        future = threads.run(release.wait, (10,))
        future.cancel()
        threads.when_ended(future, ended.set)
        await asyncio.sleep(0)
        assert not ended.is_set()
        release.set()
        await ended.wait()
        done = threads.run(int)
        await done
        ended.clear()
        threads.when_ended(done, ended.set)  # it has returned already
        assert ended.is_set()
        threads.close()

    run(main)


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 1000])
def test_generators_in_threads(run, count):
    async def main():
        threads = Threads("test")
        assert [item async for item in threads.iterate(iter(range(count)))] == list(range(count))
        threads.close()

    run(main)


def test_percentiles_are_of_all_routes_together():
    stats = Stats()
    stats.fresh["/a"].extend([0.001] * 98)
    stats.fresh["/b"].extend([0.1] * 2)
    fresh, _ = stats.roll(0.0)
    assert {route: len(latencies) for route, latencies in fresh.items()} == {"/a": 98, "/b": 2}
    p50, p99 = stats.percentiles(0.5, 0.99)
    assert p50 == pytest.approx(0.001, rel=0.2)
    assert p99 == pytest.approx(0.1, rel=0.2)


def test_percentiles_forget_what_is_older_than_a_minute():
    stats = Stats()
    stats.fresh["/"].append(5.0)
    stats.roll(0.0)
    stats.fresh["/"].append(0.001)
    stats.roll(WINDOW + 1)
    (p99,) = stats.percentiles(0.99)
    assert p99 < 0.01
    stats.roll(3 * WINDOW)
    assert stats.percentiles(0.99) == []


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=50))
def test_many_observations_at_once_are_the_same_as_one_by_one(values):
    from aktis.util.metrics import Histogram

    boundaries = [0.5, 1.0, 10.0, 500.0]
    together = Histogram("replica_test_together", "", boundaries, ("tag",))
    single = Histogram("replica_test_single", "", boundaries, ("tag",))

    def numbers(name: str) -> dict[str, float]:
        lines = [line for line in exposition().splitlines() if line.startswith(f"aktis_replica_test_{name}_")]
        return {
            line.split(" ")[0].replace(name, "").split("WorkerId")[0]: float(line.rpartition(" ")[2]) for line in lines
        }

    together.observe_many(values, {"tag": "a"})
    for value in values:
        single.observe(value, {"tag": "a"})
    assert numbers("together") == pytest.approx(numbers("single"))
    assert numbers("together")


def test_no_job_is_left_behind_and_as_many_run_as_there_are(run):
    def job(seconds: float) -> float:
        if seconds:
            time.sleep(seconds)
        return seconds

    async def main():
        threads = Threads("test", asyncio.get_running_loop())

        async def caller(number: int) -> None:
            for turn in range(150):
                seconds = 0.0002 if (turn + number) % 4 == 0 else 0.0
                assert await threads.run(job, (seconds,)) == seconds
                if turn % 3 == 0:
                    await asyncio.sleep(0)

        await asyncio.gather(*(caller(number) for number in range(6)))
        together = threading.Barrier(30, timeout=15)
        await asyncio.gather(*(threads.run(together.wait) for _ in range(30)))
        threads.close()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        run(main)
    finally:
        sys.setswitchinterval(interval)
