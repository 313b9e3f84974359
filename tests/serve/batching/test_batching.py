"""``@serve.batch``."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from typing import Any

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aktis.serve._protocol import RequestMeta
from aktis.serve.batching import batch
from aktis.serve.context import request_context


def run(main: Any) -> Any:
    async def limited() -> Any:
        return await asyncio.wait_for(main(), 20)

    return asyncio.run(limited())


async def settle(*calls: Any) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


def test_calls_run_together_and_each_gets_its_own_result():
    sizes: list[int] = []

    @batch(max_batch_size=4, batch_wait_timeout_s=10)
    async def double(numbers):
        sizes.append(len(numbers))
        return [number * 2 for number in numbers]

    async def main():
        assert await settle(*(double(number) for number in range(8))) == [0, 2, 4, 6, 8, 10, 12, 14]
        assert sizes == [4, 4]

    run(main)


def test_without_options_and_without_parentheses():
    @batch
    async def identity(values: list[int]) -> list[int]:
        """Documented."""
        assert len(values) <= 10
        return values

    async def main():
        assert await settle(*(identity(number) for number in range(25))) == list(range(25))

    run(main)
    assert inspect.iscoroutinefunction(identity)
    assert (identity.__name__, identity.__doc__) == ("identity", "Documented.")


def test_no_wait_takes_what_is_there():
    sizes: list[int] = []

    @batch(max_batch_size=10)
    async def identity(values):
        sizes.append(len(values))
        return values

    async def main():
        await settle(*(identity(1) for _ in range(3)))
        await identity(1)

    run(main)
    assert sizes == [3, 1]


class VirtualTime(asyncio.SelectorEventLoop):
    """A loop that does not wait: its clock jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._selector.select, select = self.jump, self._selector.select
        self._real_select = select

    def time(self) -> float:
        return self.now

    def jump(self, timeout: float | None = None) -> Any:
        self.now += timeout or 0.0
        return self._real_select(0)


def test_the_time_counts_from_the_first_that_waits():
    starts: list[float] = []

    @batch(max_batch_size=10, batch_wait_timeout_s=2)
    async def identity(values):
        starts.append(asyncio.get_running_loop().time())
        return values

    async def main():
        first = asyncio.ensure_future(identity(1))
        await asyncio.sleep(1.5)
        second = asyncio.ensure_future(identity(2))
        await asyncio.sleep(1)
        third = asyncio.ensure_future(identity(3))
        assert await settle(first, second, third) == [1, 2, 3]

    loop = VirtualTime()
    loop.run_until_complete(main())
    loop.close()
    assert starts == pytest.approx([2.0, 4.5])


def test_what_waited_long_enough_runs_as_soon_as_the_last_batch_ends():
    release = asyncio.Event()
    batches: list[list[int]] = []

    @batch(max_batch_size=2, batch_wait_timeout_s=0.01)
    async def identity(values):
        batches.append(values)
        await release.wait()
        return values

    async def main():
        calls = [asyncio.ensure_future(identity(number)) for number in range(5)]
        await asyncio.sleep(0.03)
        assert batches == [[0, 1]]
        release.set()
        assert await settle(*calls) == [0, 1, 2, 3, 4]
        assert batches == [[0, 1], [2, 3], [4]]

    run(main)


def test_several_batches_at_the_same_time():
    running = most = 0

    @batch(max_batch_size=2, max_concurrent_batches=3)
    async def identity(values):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1
        return values

    async def main():
        assert await settle(*(identity(number) for number in range(20))) == list(range(20))

    run(main)
    assert most == 3


def test_full_batches_follow_each_other_without_a_wait():
    starts: list[float] = []

    @batch(max_batch_size=8, batch_wait_timeout_s=5)
    async def model(values):
        starts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(1)
        return values

    async def client():
        for _ in range(10):
            await model(1)

    async def main():
        await asyncio.gather(*(client() for _ in range(16)))

    loop = VirtualTime()
    loop.run_until_complete(main())
    loop.close()
    assert starts == pytest.approx(list(range(20)))  # the ideal: the model is never idle


def test_callers_get_results_before_a_batch_that_blocks_the_loop():
    log: list[str] = []

    @batch(max_batch_size=1)
    async def model(values):
        log.append(f"run {values[0]}")
        return values

    async def client(number):
        await model(number)
        log.append(f"got {number}")
        asyncio.get_running_loop().call_soon(log.append, f"sent {number}")  # as a replica sends its replies

    async def main():
        await asyncio.gather(client(1), client(2))

    run(main)
    assert log[:5] == ["run 1", "got 1", "sent 1", "run 2", "got 2"]


def test_methods_have_a_queue_for_each_instance():
    class Model:
        def __init__(self, name):
            self.name = name

        @batch(max_batch_size=2, batch_wait_timeout_s=0.01)
        async def predict(self, values):
            return [(self.name, value, len(values)) for value in values]

    async def main():
        a, b = Model("a"), Model("b")
        assert await settle(a.predict(1), b.predict(2), a.predict(3)) == [("a", 1, 2), ("b", 2, 1), ("a", 3, 2)]

    run(main)


def test_static_and_inherited_methods():
    class Base:
        @batch(max_batch_size=2, batch_wait_timeout_s=0.01)
        async def predict(self, values):
            return [(type(self).__name__, value) for value in values]

        @staticmethod
        @batch(max_batch_size=2, batch_wait_timeout_s=0.01)
        async def free(values):
            return values

    class Derived(Base):
        @batch(max_batch_size=2, batch_wait_timeout_s=0.01)
        async def predict(self, values):
            return await asyncio.gather(*(super(Derived, self).predict(value) for value in values))

    async def main():
        assert await settle(Derived().predict(1), Derived.free(2), Base.free(3)) == [("Derived", 1), 2, 3]

    run(main)


def test_each_loop_has_its_queue():
    @batch(max_batch_size=2, batch_wait_timeout_s=0.001)
    async def identity(values):
        return values

    async def main():
        return await identity(1)

    assert [run(main), run(main)] == [1, 1]


def test_arguments_by_name_and_defaults():
    seen: list[Any] = []

    @batch(max_batch_size=2, batch_wait_timeout_s=0.01)
    async def model(values, scale=3, *, shift=0):
        seen.append((values, scale, shift))
        return values

    async def main():
        await settle(model(1), model(values=2))
        await settle(model(1), model(2, scale=5))
        await settle(model(1, 4, shift=1), model(2, scale=5))

    run(main)
    assert seen == [([1, 2], 3, 0), ([1, 2], [3, 5], 0), ([1, 2], [4, 5], [1, 0])]


def test_wrong_arguments_are_an_error_of_their_caller_alone():
    @batch(max_batch_size=2, batch_wait_timeout_s=0.01)
    async def identity(values):
        return values

    async def main():
        first, second = await settle(identity(), identity(2))
        assert isinstance(first, TypeError)
        assert second == 2

    run(main)


def test_errors_reach_every_caller_and_exceptions_in_the_list_only_theirs():
    @batch(max_batch_size=2, batch_wait_timeout_s=0.01)
    async def fail(values):
        raise KeyError("all")

    @batch(max_batch_size=2, batch_wait_timeout_s=0.01)
    async def partly(values):
        return [ValueError("mine") if value == 1 else value for value in values]

    async def main():
        assert [type(error) for error in await settle(fail(1), fail(2))] == [KeyError, KeyError]
        first, second = await settle(partly(1), partly(2))
        assert isinstance(first, ValueError)
        assert second == 2

    run(main)


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        ([1], RuntimeError, "got 2 inputs and returned 1 results"),
        (None, TypeError, "returned a NoneType"),
        ("ab", TypeError, "returned a str"),
        ({1: 2, 3: 4}, TypeError, "returned a dict"),
    ],
)
def test_wrong_results_are_an_error_for_every_caller(result, error, message):
    @batch(max_batch_size=2, batch_wait_timeout_s=0.01)
    async def model(values):
        return result

    async def main():
        for each in await settle(model(1), model(2)):
            assert isinstance(each, error)
            assert message in str(each)

    run(main)


def test_arrays_are_results():
    numpy = pytest.importorskip("numpy")

    @batch(max_batch_size=3, batch_wait_timeout_s=0.01)
    async def model(values):
        return numpy.stack(values) * 2

    async def main():
        results = await settle(*(model(numpy.array([number, 1])) for number in range(3)))
        assert [list(result) for result in results] == [[0, 2], [2, 2], [4, 2]]

    run(main)


def test_cancelled_callers_are_left_out():
    seen: list[Any] = []

    @batch(max_batch_size=3, batch_wait_timeout_s=0.02)
    async def model(values):
        seen.append(values)
        return values

    async def main():
        calls = [asyncio.ensure_future(model(number)) for number in range(2)]
        await asyncio.sleep(0)
        calls[0].cancel()
        await asyncio.sleep(0)
        later = [asyncio.ensure_future(model(number)) for number in (2, 3)]
        assert await settle(*calls[1:], *later) == [1, 2, 3]

    run(main)
    assert seen == [[1, 2, 3]]


def test_a_batch_that_nobody_waits_for_is_cancelled():
    log: list[str] = []

    @batch(max_batch_size=2, batch_wait_timeout_s=0.001)
    async def model(values):
        try:
            await asyncio.sleep(0.1 if values == ["short"] else 10)
        except asyncio.CancelledError:
            log.append("cancelled")
            raise
        return values

    async def main():
        calls = [asyncio.ensure_future(model(number)) for number in range(2)]
        await asyncio.sleep(0.01)
        calls[0].cancel()
        await asyncio.sleep(0)
        assert log == []
        calls[1].cancel()
        await settle(*calls)
        await asyncio.sleep(0)
        assert log == ["cancelled"]
        assert await model("short") == "short"

    run(main)


def test_sizes_that_are_not_numbers_of_items():
    seen: list[Any] = []

    @batch(max_batch_size=10, batch_wait_timeout_s=0.01, batch_size_fn=lambda texts: sum(map(len, texts)))
    async def model(texts):
        seen.append(texts)
        return texts

    async def main():
        texts = ["aaaa", "bbbb", "cccc", "dddddd", "e"]
        assert await settle(*map(model, texts)) == texts
        (error,) = await settle(model("x" * 11))
        assert isinstance(error, RuntimeError)
        assert "has size 11, which is more than max_batch_size (10)" in str(error)

    run(main)
    assert seen == [["aaaa", "bbbb"], ["cccc", "dddddd"], ["e"]]


def test_settings_change_at_run_time():
    sizes: list[int] = []

    class Model:
        @batch(max_batch_size=2, batch_wait_timeout_s=0.01)
        async def predict(self, values):
            sizes.append(len(values))
            return values

        def reconfigure(self, config):
            self.predict.set_max_batch_size(config["size"])
            self.predict.set_batch_wait_timeout_s(config["wait"])

    async def main():
        model = Model()
        await settle(*(model.predict(number) for number in range(6)))
        model.reconfigure({"size": 3, "wait": 0.02})
        await settle(*(model.predict(number) for number in range(6)))
        assert model.predict._get_max_batch_size() == 3
        assert model.predict._get_batch_wait_timeout_s() == 0.02
        with pytest.raises(ValueError, match="max_batch_size must be an integer of at least 1, and it is 0"):
            model.predict.set_max_batch_size(0)

    run(main)
    assert sizes == [2, 2, 2, 3, 3]


def test_streams():
    @batch(max_batch_size=2, batch_wait_timeout_s=0.01)
    async def count(limits):
        for number in range(max(limits)):
            yield [number if number < limit else StopIteration for limit in limits]

    async def items(stream):
        return [item async for item in stream]

    async def main():
        assert await settle(items(count(2)), items(count(4))) == [[0, 1], [0, 1, 2, 3]]

    run(main)
    assert inspect.isasyncgenfunction(count)


def test_streams_that_fail():
    @batch(max_batch_size=2, batch_wait_timeout_s=0.01)
    async def broken(values):
        yield values
        raise KeyError("broke")

    @batch(max_batch_size=2, batch_wait_timeout_s=0.01)
    async def short(values):
        yield values[:1]

    async def items(stream, into):
        async for item in stream:
            into.append(item)

    async def main():
        got: list[Any] = [[], []]
        errors = await settle(items(broken(1), got[0]), items(broken(2), got[1]))
        assert [type(error) for error in errors] == [KeyError, KeyError]
        assert got == [[1], [2]]
        errors = await settle(items(short(1), []), items(short(2), []))
        assert [type(error) for error in errors] == [RuntimeError, RuntimeError]

    run(main)


def test_a_stream_whose_callers_have_gone_is_closed():
    log: list[str] = []

    @batch(max_batch_size=1)
    async def endless(values):
        try:
            while True:
                yield values
                await asyncio.sleep(0.001)
        finally:
            log.append("closed")

    async def main():
        stream = endless(1)
        assert await anext(stream) == 1
        await stream.aclose()
        while not log:
            await asyncio.sleep(0.001)

    run(main)


def test_the_context_of_a_batch_is_that_of_its_first_call():
    seen: list[Any] = []

    @batch(max_batch_size=2, batch_wait_timeout_s=0.01)
    async def model(values):
        seen.append(request_context.get())
        return values

    async def call(request_id, idempotent):
        request_context.set(RequestMeta(request_id, "", idempotent=idempotent))
        return await model(1)

    async def main():
        await settle(call("a", True), call("b", False))
        await settle(call("a", True), call("b", True))

    run(main)
    assert [(meta.request_id, meta.idempotent) for meta in seen] == [("a", False), ("a", True)]


def test_decorated_functions_and_instances_travel():
    @batch(max_batch_size=2, batch_wait_timeout_s=0.001)
    async def identity(values):
        return values

    class Model:
        @batch(max_batch_size=2, batch_wait_timeout_s=0.001)
        async def predict(self, values):
            return values

    async def main():
        model = Model()
        await settle(identity(1), model.predict(1))  # they have queues now
        function, copy = cloudpickle.loads(cloudpickle.dumps((identity, model)))
        function.set_max_batch_size(7)
        assert identity._get_max_batch_size() == 2
        assert await settle(function(5), copy.predict(6)) == [5, 6]

    run(main)


def test_sync_functions_are_refused():
    with pytest.raises(TypeError, match="must be 'async def', and .*plain is not"):

        @batch
        def plain(values):
            return values

    with pytest.raises(TypeError, match="must be 'async def'"):
        batch(max_batch_size=3)(lambda values: values)


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ({"max_batch_size": 0}, ValueError),
        ({"max_batch_size": 1.5}, TypeError),
        ({"max_batch_size": "4"}, TypeError),
        ({"batch_wait_timeout_s": -1}, ValueError),
        ({"batch_wait_timeout_s": "soon"}, TypeError),
        ({"max_concurrent_batches": 0}, ValueError),
        ({"batch_size_fn": 3}, TypeError),
    ],
)
def test_wrong_options_are_refused_with_their_value(option, error):
    with pytest.raises(error) as caught:
        batch(**option)
    ((name, value),) = option.items()
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)


def test_an_object_that_takes_no_attributes_says_so():
    class Model:
        __slots__ = ()

        @batch
        async def predict(self, values):
            return values

    async def main():
        with contextlib.suppress(AttributeError), pytest.raises(TypeError, match="takes no attributes"):
            await Model().predict(1)

    run(main)


@given(
    calls=st.lists(st.tuples(st.floats(0, 5), st.booleans()), min_size=1, max_size=40),
    size=st.integers(1, 6),
    wait=st.sampled_from([0.0, 0.5, 2.0]),
    concurrent=st.integers(1, 3),
    cost=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_whatever_comes_when_everybody_gets_his_own(calls, size, wait, concurrent, cost):
    running: list[int] = [0]

    @batch(max_batch_size=size, batch_wait_timeout_s=wait, max_concurrent_batches=concurrent)
    async def model(values):
        running[0] += 1
        assert running[0] <= concurrent
        assert 1 <= len(values) <= size
        try:
            await asyncio.sleep(cost)
        finally:  # it is cancelled when all of its callers leave
            running[0] -= 1
        return [-value for value in values]

    async def client(number, delay, leaves):
        await asyncio.sleep(delay)
        call = asyncio.ensure_future(model(number))
        if leaves:
            await asyncio.sleep(0.4)
            call.cancel()
            await asyncio.wait([call])
            return None
        return await call

    async def main():
        return await asyncio.gather(*(client(number, *each) for number, each in enumerate(calls)))

    loop = VirtualTime()
    try:
        results = loop.run_until_complete(main())
        assert loop.now <= 5.5 + (wait + cost + 0.5) * (len(calls) + 1)  # nobody waits for no reason
    finally:
        loop.close()
    assert results == [None if leaves else -number for number, (_, leaves) in enumerate(calls)]
