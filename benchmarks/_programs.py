"""The measured programs, written once against the public API, so that they run on Aktis and on Ray.

``python _programs.py --api aktis|ray [--quick] NAME...`` writes one line of JSON per figure. Programs named after those
of Ray's microbenchmark measure the same thing. Programs that share a session share a process (see core.py).
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from _measure import Effort, measure, rate, seconds

Program = Callable[[Any, Effort], list[float]]
PROGRAMS: dict[str, tuple[str, Program]] = {}
BATCH = 1000
CPUS = 2


def program(unit: str) -> Callable[[Program], Program]:
    def register(function: Program) -> Program:
        PROGRAMS[function.__name__] = (unit, function)
        return function

    return register


# ---- what is called ----


def small_value() -> bytes:
    return b"ok"


class Actor:
    def small_value(self) -> bytes:
        return b"ok"

    def small_value_arg(self, x: Any) -> bytes:
        return b"ok"


class AsyncActor:
    async def small_value(self) -> bytes:
        return b"ok"

    async def small_value_with_arg(self, x: Any) -> bytes:
        return b"ok"


class Client:
    """Calls other actors, from a process of its own."""

    def __init__(self, api: str, servers: list[Any]) -> None:
        self.api = importlib.import_module(api)
        self.servers = servers

    def ready(self) -> None:
        pass

    def call_batch(self, n: int) -> None:
        self.api.get([server.small_value.remote() for server in self.servers for _ in range(n)])

    def call_batch_with_arg(self, n: int) -> None:
        x = self.api.put(0)
        self.api.get([server.small_value_arg.remote(x) for server in self.servers for _ in range(n)])


class TaskClient:
    """Submits tasks, from a process of its own."""

    def __init__(self, api: str) -> None:
        self.api = importlib.import_module(api)
        self.task = self.api.remote(small_value)

    def ready(self) -> None:
        pass

    def batch(self, n: int) -> None:
        self.api.get([self.task.remote() for _ in range(n)])


def batches(api: Any, make: Callable[[], list[Any]], effort: Effort, per_call: int) -> list[float]:
    return rate(lambda: api.get(make()), effort, per_call)


# ---- tasks ----


@program("1/s")
def single_client_tasks_sync(api: Any, effort: Effort) -> list[float]:
    task = api.remote(small_value)
    return rate(lambda: api.get(task.remote()), effort)


@program("1/s")
def single_client_tasks_async(api: Any, effort: Effort) -> list[float]:
    task = api.remote(small_value)
    return batches(api, lambda: [task.remote() for _ in range(BATCH)], effort, BATCH)


@program("1/s")
def multi_client_tasks_async(api: Any, effort: Effort) -> list[float]:
    clients = [api.remote(TaskClient).remote(api.__name__) for _ in range(4)]
    api.get([client.ready.remote() for client in clients])
    return batches(api, lambda: [client.batch.remote(BATCH) for client in clients], effort, 4 * BATCH)


@program("batches/s")
def single_client_tasks_and_get_batch(api: Any, effort: Effort) -> list[float]:
    return [sample / BATCH for sample in single_client_tasks_async(api, effort)]


@program("rounds/s")
def single_client_wait_1k_refs(api: Any, effort: Effort) -> list[float]:
    """Submit 1,000 tasks, then wait for one of the rest until none is left. Rounds per second."""
    task = api.remote(small_value)

    def one_round() -> None:
        rest = [task.remote() for _ in range(BATCH)]
        while rest:
            _, rest = api.wait(rest)

    return rate(one_round, effort)


@program("s")
def deep_chain_10k(api: Any, effort: Effort) -> list[float]:
    """10,000 tasks, each waiting for the one before."""

    def increment(x: int) -> int:
        return x + 1

    task = api.remote(increment)

    def chain() -> None:
        ref = api.put(0)
        for _ in range(10_000):
            ref = task.remote(ref)
        if api.get(ref) != 10_000:
            raise ValueError("the chain computed a wrong number")

    return seconds(chain, 1 if api.__name__ == "ray" else effort.repeats)


@program("s")
def exchange_100x100_10kb(api: Any, effort: Effort) -> list[float]:
    """100 tasks return 100 objects of 10 KB each; 100 tasks take one from each: 10,000 objects cross over."""

    def produce() -> list[bytes]:
        return [bytes(10_000) for _ in range(100)]

    def consume(*parts: bytes) -> int:
        return sum(map(len, parts))

    producer, consumer = api.remote(num_returns=100)(produce), api.remote(consume)

    def exchange() -> None:
        columns = [producer.remote() for _ in range(100)]
        if sum(api.get([consumer.remote(*row) for row in zip(*columns)])) != 100_000_000:
            raise ValueError("bytes were lost in the exchange")

    exchange()
    return seconds(exchange, effort.repeats)


@program("bytes")
def driver_memory_per_queued_task(api: Any, effort: Effort) -> list[float]:
    """Growth of the driver's resident memory for each task that waits for a CPU."""
    import psutil

    n = 10_000 if api.__name__ == "ray" or effort.repeats == 1 else 100_000

    class Gate:
        def __init__(self) -> None:
            import asyncio

            self.opened = asyncio.Event()

        async def wait(self) -> None:
            await self.opened.wait()

        async def open(self) -> None:
            self.opened.set()

    gate = api.remote(Gate).remote()
    first = gate.wait.remote()
    held = api.remote(lambda _: None).remote(first)
    before = psutil.Process().memory_info().rss
    # An argument that does not exist yet keeps every task in the queue.
    waiting = api.remote(lambda _: b"ok")
    refs = [waiting.remote(held) for _ in range(n)]
    grown = psutil.Process().memory_info().rss - before
    api.get(gate.open.remote())
    api.get(refs)
    return [grown / n]


# ---- actors ----


def actor_of(api: Any, cls: type, **options: Any) -> Any:
    return api.remote(**options)(cls).remote() if options else api.remote(cls).remote()


@program("1/s")
def one_to_one_actor_calls_sync(api: Any, effort: Effort) -> list[float]:
    actor = actor_of(api, Actor)
    return rate(lambda: api.get(actor.small_value.remote()), effort)


@program("1/s")
def one_to_one_actor_calls_async(api: Any, effort: Effort) -> list[float]:
    actor = actor_of(api, Actor)
    return batches(api, lambda: [actor.small_value.remote() for _ in range(BATCH)], effort, BATCH)


@program("1/s")
def one_to_one_actor_calls_concurrent(api: Any, effort: Effort) -> list[float]:
    actor = actor_of(api, Actor, max_concurrency=16)
    return batches(api, lambda: [actor.small_value.remote() for _ in range(BATCH)], effort, BATCH)


def one_to_n(api: Any, cls: type, effort: Effort) -> list[float]:
    servers = [actor_of(api, cls) for _ in range(CPUS)]
    client = api.remote(Client).remote(api.__name__, servers)
    api.get(client.ready.remote())
    return batches(api, lambda: [client.call_batch.remote(BATCH)], effort, BATCH * CPUS)


@program("1/s")
def one_to_n_actor_calls_async(api: Any, effort: Effort) -> list[float]:
    return one_to_n(api, Actor, effort)


def n_to_n(api: Any, cls: type, effort: Effort) -> list[float]:
    servers = [actor_of(api, cls) for _ in range(CPUS)]

    def work(actors: list[Any]) -> None:
        api.get([actors[i % len(actors)].small_value.remote() for i in range(BATCH)])

    task = api.remote(work)
    return batches(api, lambda: [task.remote(servers) for _ in range(4)], effort, 4 * BATCH)


@program("1/s")
def n_to_n_actor_calls_async(api: Any, effort: Effort) -> list[float]:
    return n_to_n(api, Actor, effort)


@program("1/s")
def n_to_n_actor_calls_with_arg_async(api: Any, effort: Effort) -> list[float]:
    servers = [actor_of(api, Actor) for _ in range(CPUS)]
    clients = [api.remote(Client).remote(api.__name__, [server]) for server in servers]
    api.get([client.ready.remote() for client in clients])
    return batches(api, lambda: [client.call_batch_with_arg.remote(BATCH) for client in clients], effort, CPUS * BATCH)


@program("1/s")
def one_to_one_async_actor_calls_sync(api: Any, effort: Effort) -> list[float]:
    actor = actor_of(api, AsyncActor)
    return rate(lambda: api.get(actor.small_value.remote()), effort)


@program("1/s")
def one_to_one_async_actor_calls_async(api: Any, effort: Effort) -> list[float]:
    actor = actor_of(api, AsyncActor)
    return batches(api, lambda: [actor.small_value.remote() for _ in range(BATCH)], effort, BATCH)


@program("1/s")
def one_to_one_async_actor_calls_with_args_async(api: Any, effort: Effort) -> list[float]:
    actor = actor_of(api, AsyncActor)
    return batches(api, lambda: [actor.small_value_with_arg.remote(i) for i in range(BATCH)], effort, BATCH)


@program("1/s")
def one_to_n_async_actor_calls_async(api: Any, effort: Effort) -> list[float]:
    return one_to_n(api, AsyncActor, effort)


@program("1/s")
def n_to_n_async_actor_calls_async(api: Any, effort: Effort) -> list[float]:
    return n_to_n(api, AsyncActor, effort)


@program("ms")
def new_actor_to_first_result(api: Any, effort: Effort) -> list[float]:
    def create_and_call() -> None:
        api.get(actor_of(api, Actor).small_value.remote())

    create_and_call()
    return [1000 * sample for sample in seconds(create_and_call, 4 * effort.repeats)]


@program("ms")
def new_actor_using_torch(api: Any, effort: Effort) -> list[float]:
    """Runs in a session whose workers have torch preloaded (Ray has no such thing, and imports it in each)."""

    class Torch:
        def total(self) -> float:
            import torch

            return float(torch.ones(4).sum())

    def create_and_call() -> None:
        if api.get(actor_of(api, Torch).total.remote()) != 4.0:
            raise ValueError("torch computed a wrong number")

    create_and_call()
    return [1000 * sample for sample in seconds(create_and_call, 2 * effort.repeats)]


# ---- objects ----


@program("1/s")
def single_client_get_calls(api: Any, effort: Effort) -> list[float]:
    ref = api.put(0)
    return rate(lambda: api.get(ref), effort)


@program("1/s")
def single_client_put_calls(api: Any, effort: Effort) -> list[float]:
    return rate(lambda: api.put(0), effort)


@program("1/s")
def multi_client_put_calls(api: Any, effort: Effort) -> list[float]:
    def put_100() -> None:
        for _ in range(100):
            api.put(0)

    task = api.remote(put_100)
    return batches(api, lambda: [task.remote() for _ in range(10)], effort, 1000)


def random_bytes(n: int) -> np.ndarray:
    return np.random.default_rng(random.randrange(1 << 30)).integers(0, 256, n, dtype=np.uint8)


@program("GB/s")
def single_client_put_gigabytes(api: Any, effort: Effort) -> list[float]:
    """Put 800 MB of random data, again and again; each object is dropped before the next."""
    array = random_bytes(800_000_000)
    api.put(array)
    return [sample * 0.8 for sample in rate(lambda: api.put(array), effort)]


@program("GB/s")
def multi_client_put_gigabytes(api: Any, effort: Effort) -> list[float]:
    def put_80_mb() -> None:
        array = np.zeros(10_000_000, dtype=np.int64)
        for _ in range(5):
            api.put(array)

    task = api.remote(put_80_mb)
    return [sample * 0.4 for sample in batches(api, lambda: [task.remote() for _ in range(4)], effort, 4)]


@program("ms")
def get_800_mb(api: Any, effort: Effort) -> list[float]:
    """Get an 800 MB array, and prove that it is a read-only view and no copy."""
    array = random_bytes(800_000_000)
    ref = api.put(array)

    def get() -> None:
        found = api.get(ref)
        if found.flags.writeable or found.flags.owndata or found[12345] != array[12345]:
            raise ValueError("get returned a copy, or something else than was put")

    return [1000 * sample for sample in seconds(get, 4 * effort.repeats)]


@program("1/s")
def single_client_get_object_containing_10k_refs(api: Any, effort: Effort) -> list[float]:
    def make() -> list[Any]:
        return [api.put(1) for _ in range(10_000)]

    ref = api.remote(make).remote()
    return rate(lambda: api.get(ref), effort)


@program("1/s")
def placement_group_create_and_remove(api: Any, effort: Effort) -> list[float]:
    util = importlib.import_module(f"{api.__name__}.util.placement_group")

    def cycle() -> None:
        groups = [util.placement_group([{"bench": 0.001}]) for _ in range(100)]
        for group in groups:
            group.wait(timeout_seconds=30)
        for group in groups:
            util.remove_placement_group(group)

    return rate(cycle, effort, per_call=100)


# ---- what a whole session costs: each of these starts its own ----


def start(api: Any, **options: Any) -> None:
    common: dict[str, Any] = {"num_cpus": CPUS, "resources": {"bench": 1}, "log_to_driver": False}
    if api.__name__ == "ray":
        common["logging_level"] = "ERROR"
        common["include_dashboard"] = False
    api.init(**common, **options)


@program("s")
def init_to_first_result(api: Any, effort: Effort) -> list[float]:
    """In a fresh process: ``init()`` and one task. The import is not counted, files are in the page cache."""
    task = api.remote(small_value)
    begin = time.perf_counter()
    start(api)
    api.get(task.remote())
    return [time.perf_counter() - begin]


def resident_memory(api: Any) -> tuple[float, float]:
    """(RSS, PSS) in MB of every process of the session but this one, after two workers have run tasks and idle."""
    from _measure import descendants, memory_mb, processes_naming

    mark = f"AKTIS_BENCHMARK_MARK={os.getpid()}-{time.time_ns()}"
    os.environ.update([mark.split("=")])
    start(api)

    def pause() -> int:
        time.sleep(0.2)
        return os.getpid()

    task = api.remote(pause)
    for _ in range(20):
        if len(set(api.get([task.remote() for _ in range(CPUS)]))) == CPUS:
            break
    time.sleep(2.0)
    return memory_mb(descendants(os.getpid()) | processes_naming(mark))


@program("MB")
def resident_memory_rss(api: Any, effort: Effort) -> list[float]:
    return [resident_memory(api)[0]]


@program("MB")
def resident_memory_pss(api: Any, effort: Effort) -> list[float]:
    return [resident_memory(api)[1]]


STARTS_ITSELF = {"init_to_first_result", "resident_memory_rss", "resident_memory_pss"}
NEEDS_TORCH = {"new_actor_using_torch"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--api", choices=["aktis", "ray"], default="aktis")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("names", nargs="+", choices=sorted(PROGRAMS))
    arguments = parser.parse_args()
    api = importlib.import_module(arguments.api)
    effort = Effort.quick() if arguments.quick else Effort()
    names: list[str] = arguments.names
    if not STARTS_ITSELF & set(names):
        preload = {"preload": ["torch"]} if NEEDS_TORCH & set(names) and arguments.api == "aktis" else {}
        start(api, **preload)
    for name in names:
        unit, function = PROGRAMS[name]
        measure(name, unit, lambda function=function: function(api, effort)).write()  # type: ignore[misc]
    api.shutdown()


if __name__ == "__main__":
    main()
