"""The same calls through Aktis and through plain Ray, in turns, in one process, over one connection to one cluster.

``python _ray_engine_programs.py [--quick] ADDRESS`` writes one line of JSON per program: seconds per call of both, by round.
Every worker is used before anything is measured, and the two take turns by fractions of a second, so that whatever else
happens on the machine happens to both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import ray

import aktis

Call = Callable[[], object]
PROGRAMS: dict[str, Callable[[Any], tuple[Call, int]]] = {}
IN_FLIGHT = 200
LARGE = 100_000_000
NOT_THROUGH_CLIENT = ("generator, items",)  # plain Ray has none there to compare with


def program(title: str) -> Callable[[Callable[[Any], tuple[Call, int]]], Callable[[Any], tuple[Call, int]]]:
    """Register what makes, for an API, a call to measure, and says how many operations it is."""

    def register(make: Callable[[Any], tuple[Call, int]]) -> Callable[[Any], tuple[Call, int]]:
        PROGRAMS[title] = make
        return make

    return register


def small_value() -> bytes:
    return b"ok"


def items(n: int) -> Iterator[int]:
    # No `yield from`: plain Ray sends something into generators, which a range does not take.
    for number in range(n):  # noqa: UP028
        yield number


class Plain:
    def small_value(self) -> bytes:
        return b"ok"

    def echo(self, value: Any) -> Any:
        return value


class Asynchronous:
    async def small_value(self) -> bytes:
        return b"ok"

    async def slow(self) -> bytes:
        await asyncio.sleep(0.001)
        return b"ok"


@program("task, one at a time")
def task(api: Any) -> tuple[Call, int]:
    remote = api.remote(small_value)
    return lambda: api.get(remote.remote()), 1


@program("tasks in flight")
def tasks(api: Any) -> tuple[Call, int]:
    remote = api.remote(small_value)
    return lambda: api.get([remote.remote() for _ in range(IN_FLIGHT)]), IN_FLIGHT


@program("actor call, one at a time")
def actor_call(api: Any) -> tuple[Call, int]:
    actor = api.remote(Plain).options(num_cpus=0).remote()
    return lambda: api.get(actor.small_value.remote()), 1


@program("actor call with an array of 80 KB, one at a time")
def actor_call_with_array(api: Any) -> tuple[Call, int]:
    actor = api.remote(Plain).options(num_cpus=0).remote()
    array = np.zeros(10_000)
    return lambda: api.get(actor.echo.remote(array)), 1


@program("actor calls in flight")
def actor_calls(api: Any) -> tuple[Call, int]:
    actor = api.remote(Plain).options(num_cpus=0).remote()
    return lambda: api.get([actor.small_value.remote() for _ in range(IN_FLIGHT)]), IN_FLIGHT


@program("async actor, calls in flight")
def async_actor_calls(api: Any) -> tuple[Call, int]:
    actor = api.remote(Asynchronous).options(num_cpus=0).remote()
    return lambda: api.get([actor.small_value.remote() for _ in range(IN_FLIGHT)]), IN_FLIGHT


@program("async actor that sleeps, calls in flight")
def async_actor_overlap(api: Any) -> tuple[Call, int]:
    actor = api.remote(Asynchronous).options(num_cpus=0).remote()
    return lambda: api.get([actor.slow.remote() for _ in range(IN_FLIGHT)]), IN_FLIGHT


@program("put of a small value")
def put_small(api: Any) -> tuple[Call, int]:
    return lambda: api.put(b"ok"), 1


@program("get of a small value")
def get_small(api: Any) -> tuple[Call, int]:
    ref = api.put(b"ok")
    return lambda: api.get(ref), 1


@program("put of 100 MB")
def put_large(api: Any) -> tuple[Call, int]:
    array = np.ones(LARGE // 8)
    return lambda: api.put(array), 1


@program("get of 100 MB")
def get_large(api: Any) -> tuple[Call, int]:
    ref = api.put(np.ones(LARGE // 8))
    return lambda: api.get(ref), 1


@program("wait for one of 200")
def wait(api: Any) -> tuple[Call, int]:
    refs = [api.put(i) for i in range(IN_FLIGHT)]
    return lambda: api.wait(refs, num_returns=1), 1


@program("generator, items")
def generator(api: Any) -> tuple[Call, int]:
    remote = api.remote(items).options(num_returns="streaming")
    return lambda: [api.get(ref) for ref in remote.remote(50)], 50


def measure(calls: dict[str, Call], rounds: int, round_s: float, per_call: int) -> dict[str, list[float]]:
    """Seconds per operation, one sample per round; the order changes from round to round."""
    once = {}
    for name, call in calls.items():  # the first one waits for workers
        call()
        begin = time.perf_counter()
        call()
        once[name] = time.perf_counter() - begin
    repeat = max(1, int(round_s / max(*once.values(), 1e-7)))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        for name in list(calls)[:: 1 if number % 2 else -1]:
            call = calls[name]
            begin = time.perf_counter()
            for _ in range(repeat):
                call()
            samples[name].append((time.perf_counter() - begin) / repeat / per_call)
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", choices=PROGRAMS)
    arguments = parser.parse_args()
    rounds, round_s = (2, 0.02) if arguments.quick else (11, 0.12)
    aktis.init(arguments.address, log_to_driver=False)
    through_client = arguments.address.startswith("ray://")
    titles = arguments.only or [title for title in PROGRAMS if not (through_client and title in NOT_THROUGH_CLIENT)]
    for title in titles:
        made = {name: PROGRAMS[title](api) for name, api in (("aktis", aktis), ("ray", ray))}
        per_call = made["ray"][1]
        samples = measure({name: call for name, (call, _) in made.items()}, rounds, round_s, per_call)
        print(json.dumps({"title": title, **samples}), flush=True)
        del made
    aktis.shutdown()


if __name__ == "__main__":
    main()
