"""Random kills over a mixed workload for a long time. Every result is checked, and nothing may hang or grow.

``AKTIS_SOAK_SECONDS`` says how long (600). A failure names the seed: ``AKTIS_SOAK_SEED`` repeats its choices.
"""

from __future__ import annotations

import collections
import gc
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import aktis
from aktis.util.state import list_workers

numpy = pytest.importorskip("numpy")

IN_FLIGHT = 60
PATIENCE = float(os.environ.get("AKTIS_SOAK_PATIENCE", "60"))  # seconds after which a missing result counts as hanging


@dataclass(slots=True)
class Job:
    """Something that was submitted, and what must come of it."""

    kind: str
    ref: Any
    check: Callable[[Any], bool]
    since: float
    allowed: tuple[type[BaseException], ...] = ()  # how it may fail instead


def define():
    """Tasks and actors, defined in a function so that they travel by value. All may be repeated."""
    forever = {"max_retries": -1}

    @aktis.remote(**forever)
    def add(*numbers):
        return sum(numbers)

    @aktis.remote(**forever)
    def array(seed, length):
        return numpy.random.default_rng(seed).integers(0, 1000, length)

    @aktis.remote(**forever)
    def total(values):
        return int(values.sum())

    @aktis.remote(**forever)
    def nested(depth):
        return 1 if depth == 0 else 1 + aktis.get(nested.remote(depth - 1))

    @aktis.remote(**forever)
    def scatter(seed, count):
        parts = [array.remote(seed + index, 20_000) for index in range(count)]
        return sum(aktis.get([total.remote(part) for part in parts]))

    @aktis.remote(num_returns=3, **forever)
    def three(base):
        return base, base + 1, numpy.full(50_000, base + 2)

    @aktis.remote(**forever)
    def stream(count):
        for number in range(count):
            yield number if number % 3 else numpy.full(30_000, number)

    @aktis.remote(**forever)
    def nap(seconds, value):
        time.sleep(seconds)
        return value

    @aktis.remote(max_retries=0)
    def fails(value):
        raise LookupError(value)

    @aktis.remote(max_retries=0)
    def fragile(value):
        time.sleep(0.02)
        return value

    @aktis.remote
    def hand_out(value):
        return [aktis.put(numpy.full(20_000, value))]

    @aktis.remote(max_restarts=-1, max_task_retries=-1)
    class Calculator:
        def square(self, number):
            return number * number

        def shape(self, values):
            return values.shape

    @aktis.remote(max_restarts=-1, max_task_retries=-1)
    class Async:
        async def later(self, number):
            import asyncio

            await asyncio.sleep(0.005)
            return number + 1

    return {name: thing for name, thing in locals().items() if name != "forever"}


class Soak:
    """The workload, the killer, and what they saw."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.seed = seed
        self.jobs = []
        self.done = collections.Counter()
        self.allowed_failures = collections.Counter()
        self.kills = 0
        self.stop = threading.Event()
        self.things = define()
        self.calculators = [self.things["Calculator"].remote() for _ in range(2)]
        self.asynchronous = self.things["Async"].remote()

    # the workload -----------------------------------------------------------------------------

    def submit(self):
        kind = self.random.choice(KINDS)
        ref, check, allowed = getattr(self, f"do_{kind}")(self.things, self.random.randrange(1_000_000))
        self.jobs.append(Job(kind, ref, check, time.monotonic(), allowed))

    def do_sum(self, things, seed):
        refs = [things["add"].remote(seed, index) for index in range(5)]
        return things["add"].remote(*refs), lambda value: value == 5 * seed + 10, ()

    def do_chain(self, things, seed):
        ref = aktis.put(seed)
        for _ in range(20):
            ref = things["add"].remote(ref, 1)
        return ref, lambda value: value == seed + 20, ()

    def do_array(self, things, seed):
        length = self.random.choice([10, 5_000, 100_000])
        expected = numpy.random.default_rng(seed).integers(0, 1000, length)
        return things["array"].remote(seed, length), lambda value: bool((value == expected).all()), ()

    def do_put(self, things, seed):
        values = numpy.arange(seed % 90_000 + 1)
        expected = int(values.sum())
        return things["total"].remote(aktis.put(values)), lambda value: value == expected, ()

    def do_nested(self, things, seed):
        depth = seed % 4
        return things["nested"].remote(depth), lambda value: value == depth + 1, ()

    def do_scatter(self, things, seed):
        expected = sum(
            int(numpy.random.default_rng(seed + index).integers(0, 1000, 20_000).sum()) for index in range(4)
        )
        return things["scatter"].remote(seed, 4), lambda value: value == expected, ()

    def do_three(self, things, seed):
        first, second, third = things["three"].remote(seed)
        combined = things["add"].remote(first, second, things["total"].remote(third))
        return combined, lambda value: value == 2 * seed + 1 + 50_000 * (seed + 2), ()

    def do_nap(self, things, seed):
        return things["nap"].remote(seed % 100 / 1000, seed), lambda value: value == seed, ()

    def do_error(self, things, seed):
        ref = things["fails"].remote(seed)
        return ref, lambda value: False, (LookupError, aktis.exceptions.WorkerCrashedError)

    def do_fragile(self, things, seed):
        return things["fragile"].remote(seed), lambda value: value == seed, (aktis.exceptions.WorkerCrashedError,)

    def do_borrowed(self, things, seed):
        allowed = (aktis.exceptions.WorkerCrashedError, aktis.exceptions.ObjectLostError)
        number = seed % 1000

        def check(value):
            return bool((aktis.get(value[0], timeout=PATIENCE) == number).all())

        return things["hand_out"].remote(number), check, allowed

    def do_actor(self, things, seed):
        actor = self.random.choice(self.calculators)
        return actor.square.remote(seed), lambda value: value == seed * seed, ()

    def do_actor_array(self, things, seed):
        actor = self.random.choice(self.calculators)
        length = seed % 60_000
        return actor.shape.remote(things["array"].remote(seed, length)), lambda value: value == (length,), ()

    def do_async(self, things, seed):
        return self.asynchronous.later.remote(seed), lambda value: value == seed + 1, ()

    def do_new_actor(self, things, seed):
        return things["Calculator"].remote().square.remote(seed), lambda value: value == seed * seed, ()

    def do_stream(self, things, seed):
        count = seed % 8
        items = [aktis.get(ref, timeout=PATIENCE) for ref in things["stream"].remote(count)]
        right = [value if number % 3 else int(value[0]) for number, value in enumerate(items)] == list(range(count))
        return aktis.put(right), lambda value: value, ()

    # checking ---------------------------------------------------------------------------------

    def settle(self, limit):
        """Check what is ready until at most ``limit`` jobs are in flight."""
        while len(self.jobs) > limit:
            ready, _ = aktis.wait([job.ref for job in self.jobs], num_returns=1, timeout=1)
            ready = set(ready)
            for job in [job for job in self.jobs if job.ref in ready]:
                self.jobs.remove(job)
                self.check(job)
            now = time.monotonic()
            for job in self.jobs:
                if now - job.since > PATIENCE:
                    pytest.fail(f"seed {self.seed}: {job.kind} hangs: {aktis.explain(job.ref)}")

    def check(self, job):
        try:
            value = aktis.get(job.ref, timeout=PATIENCE)
            right = job.check(value)
        except job.allowed as error:
            self.allowed_failures[f"{job.kind}: {type(error).__name__}"] += 1
            return
        except Exception as error:
            raise AssertionError(f"seed {self.seed}: {job.kind} failed after {self.kills} kills") from error
        assert right, f"seed {self.seed}: {job.kind} gave {value!r} after {self.kills} kills"
        self.done[job.kind] += 1

    # kills ------------------------------------------------------------------------------------

    def kill_workers(self):
        choose = random.Random(self.seed + 1)
        while not self.stop.wait(choose.uniform(0.05, 0.6)):
            workers = [row["pid"] for row in list_workers() if row.get("worker_type", "WORKER") == "WORKER"]
            workers = [pid for pid in workers if pid and pid != os.getpid()]
            if workers:
                try:
                    os.kill(choose.choice(workers), signal.SIGKILL)
                    self.kills += 1
                except ProcessLookupError:
                    pass

    def run(self, seconds):
        killer = threading.Thread(target=self.kill_workers)
        killer.start()
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                self.submit()
                self.settle(IN_FLIGHT)
        finally:
            self.stop.set()
            killer.join()
        self.settle(0)


KINDS = sorted(name.removeprefix("do_") for name in vars(Soak) if name.startswith("do_"))


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def soak(seconds):
    seed = int(os.environ.get("AKTIS_SOAK_SEED", random.randrange(1_000_000)))
    aktis.init(num_cpus=3, log_to_driver=False, object_store_memory=300 << 20)
    try:
        run = Soak(seed)
        run.run(seconds / 4)  # everything that is made once has been made
        gc.collect()
        before = resident(), len(os.listdir("/proc/self/fd")), threading.active_count()
        run.stop.clear()
        run.run(seconds * 3 / 4)
        gc.collect()
        after = resident(), len(os.listdir("/proc/self/fd")), threading.active_count()
        print(f"seed {seed}: {sum(run.done.values())} results, {run.kills} kills, {dict(run.allowed_failures)}")
        print(f"memory {before[0] >> 20} -> {after[0] >> 20} MiB, files {before[1]} -> {after[1]}")
        assert set(run.done) >= set(KINDS) - {"error"}
        assert run.kills >= seconds / 2
        assert after[0] < before[0] + (60 << 20)
        assert after[1] < before[1] + 30
        assert after[2] <= before[2] + 2
    finally:
        aktis.shutdown()


@pytest.mark.timeout(120)
def test_a_short_soak():
    soak(6)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_soak():
    soak(float(os.environ.get("AKTIS_SOAK_SECONDS", "600")))
