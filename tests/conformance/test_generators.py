"""Remote generators."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

import aktis

pytestmark = pytest.mark.usefixtures("session")


@aktis.remote
def count(n: int) -> Any:
    for i in range(n):  # noqa: UP028 - Ray cannot run "yield from" of a range
        yield i


def test_for() -> None:
    assert [aktis.get(ref) for ref in count.remote(4)] == [0, 1, 2, 3]


def test_it_is_an_object_ref_generator() -> None:
    generator = count.remote(1)
    assert isinstance(generator, aktis.ObjectRefGenerator)
    assert isinstance(next(generator), aktis.ObjectRef)
    with pytest.raises(StopIteration):
        next(generator)


def test_empty() -> None:
    assert list(count.remote(0)) == []


def test_completed() -> None:
    generator = count.remote(2)
    aktis.get(generator.completed())
    assert [aktis.get(ref) for ref in generator] == [0, 1]
    assert generator.is_finished()


def test_async_for() -> None:
    async def main() -> list[int]:
        return [await ref async for ref in count.remote(3)]

    assert asyncio.run(main()) == [0, 1, 2]


def test_error_is_the_next_item() -> None:
    @aktis.remote(max_retries=0)
    def f() -> Any:
        yield 1
        yield 2
        raise KeyError("third")

    generator = f.remote()
    assert aktis.get(next(generator)) == 1
    assert aktis.get(next(generator)) == 2
    ref = next(generator)
    with pytest.raises(KeyError):
        aktis.get(ref)
    with pytest.raises(StopIteration):
        next(generator)


def test_wait_takes_generators() -> None:
    generator = count.remote(2)
    ready, rest = aktis.wait([generator], timeout=10)
    assert ready == [generator]
    assert rest == []
    assert aktis.get(next(generator)) == 0


def test_get_gives_the_generator_back() -> None:
    generator = count.remote(1)
    assert aktis.get(generator) is generator


def test_a_generator_without_end_can_be_dropped() -> None:
    @aktis.remote(_generator_backpressure_num_objects=2)
    def forever() -> Any:
        i = 0
        while True:
            yield i
            i += 1

    generator = forever.remote()
    assert [aktis.get(next(generator)) for _ in range(5)] == [0, 1, 2, 3, 4]
    del generator
    gc.collect()


def test_items_as_arguments() -> None:
    @aktis.remote
    def double(x: int) -> int:
        return 2 * x

    assert aktis.get([double.remote(ref) for ref in count.remote(3)]) == [0, 2, 4]


def test_generators_are_not_serializable() -> None:
    @aktis.remote
    def f(x: Any) -> None:
        pass

    with pytest.raises(TypeError):
        f.remote([count.remote(1)])


@pytest.mark.filterwarnings("ignore")
def test_dynamic() -> None:
    @aktis.remote(num_returns="dynamic")
    def f() -> Any:
        yield from "abc"

    inner = aktis.get(f.remote())
    assert [aktis.get(ref) for ref in inner] == ["a", "b", "c"]


def test_generator_with_fixed_number_of_results() -> None:
    @aktis.remote(num_returns=2)
    def f() -> Any:
        yield 1
        yield 2

    assert aktis.get(f.remote()) == [1, 2]


def test_streaming_in_options() -> None:
    generator = count.options(num_returns="streaming").remote(2)
    assert [aktis.get(ref) for ref in generator] == [0, 1]


def test_generator_method_of_an_actor() -> None:
    @aktis.remote
    class A:
        def items(self, n: int) -> Any:
            for i in range(n):
                yield i * 10

        def ping(self) -> str:
            return "pong"

    actor = A.remote()
    generator = actor.items.remote(3)
    assert aktis.get(next(generator)) == 0
    assert aktis.get(actor.ping.remote()) == "pong"
    assert [aktis.get(ref) for ref in generator] == [10, 20]


def test_async_generator_method() -> None:
    @aktis.remote
    class A:
        async def items(self, n: int) -> Any:
            for i in range(n):
                await asyncio.sleep(0)
                yield i

    actor = A.remote()
    assert [aktis.get(ref) for ref in actor.items.remote(3)] == [0, 1, 2]


def test_async_for_over_an_async_generator_method() -> None:
    @aktis.remote
    class A:
        async def items(self, n: int) -> Any:
            for i in range(n):
                await asyncio.sleep(0.001)
                yield i

    actor = A.remote()

    async def main() -> list[int]:
        return [await ref async for ref in actor.items.remote(3)]

    assert asyncio.run(main()) == [0, 1, 2]


def test_large_items() -> None:
    np = pytest.importorskip("numpy")

    @aktis.remote
    def f() -> Any:
        for i in range(3):
            yield np.full(200_000, i)

    assert [int(aktis.get(ref)[0]) for ref in f.remote()] == [0, 1, 2]


def test_next_ready_and_timeout() -> None:
    @aktis.remote
    class A:
        def __init__(self) -> None:
            self.event = asyncio.Event()

        async def items(self) -> Any:
            yield 1
            await self.event.wait()
            yield 2

        async def go(self) -> None:
            self.event.set()

    actor = A.remote()
    generator = actor.items.remote()
    assert aktis.get(next(generator)) == 1
    assert not generator.next_ready()
    with pytest.raises(aktis.exceptions.GetTimeoutError):
        _next(generator, 0.01)
    aktis.get(actor.go.remote())
    assert aktis.get(next(generator)) == 2


def _next(generator: Any, timeout: float) -> Any:
    ref = generator._next_sync(timeout)
    if ref.is_nil():  # Ray's spelling of a timeout
        raise aktis.exceptions.GetTimeoutError
    return ref


def test_cancel_of_a_generator() -> None:
    @aktis.remote(_generator_backpressure_num_objects=1, max_retries=0)
    def forever() -> Any:
        i = 0
        while True:
            yield i
            i += 1

    generator = forever.remote()
    assert aktis.get(next(generator)) == 0
    aktis.cancel(generator)
    with pytest.raises((aktis.exceptions.TaskCancelledError, aktis.exceptions.WorkerCrashedError)):
        for ref in generator:
            aktis.get(ref)


def test_retry_of_a_generator_continues() -> None:
    @aktis.remote
    class Once:
        def __init__(self) -> None:
            self.done = False

        def first(self) -> bool:
            done, self.done = self.done, True
            return not done

    @aktis.remote(max_retries=1, retry_exceptions=True)
    def f(once: Any) -> Any:
        yield 1
        yield 2
        if aktis.get(once.first.remote()):
            raise ValueError
        yield 3

    assert [aktis.get(ref) for ref in f.remote(Once.remote())] == [1, 2, 3]
