"""Handles' calls of synchronous methods, in the form that takes no task: what comes back, and what counts until when."""

from __future__ import annotations

import asyncio
import threading
import weakref
from typing import Any

import pytest

from aktis.serve._protocol import Rejected, RequestMeta
from aktis.serve._replica.thread_call import ThreadCall
from aktis.serve.context import request_context
from aktis.serve.exceptions import RequestCancelledError


async def result_of(call: ThreadCall, way: str) -> Any:
    """What an engine makes of it that awaits it, and what one makes of it that knows better."""
    if way == "awaited":
        return await call
    future = asyncio.get_running_loop().create_future()
    call.__aktis_later__(lambda value, error: future.set_exception(error) if error else future.set_result(value))
    return await future


class Model:
    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.go_on = threading.Event()

    def twice(self, x: int) -> int:
        assert threading.current_thread() is not threading.main_thread()
        return 2 * x

    def request_id(self) -> str:
        return request_context.get().request_id

    def fails(self) -> None:
        raise ValueError("bad input")

    def exits(self) -> None:
        raise SystemExit(3)

    def generates(self) -> Any:
        return (i for i in range(3))

    def awaits(self, x: int) -> Any:
        async def later() -> int:
            await asyncio.sleep(0)
            if x < 0:
                raise ValueError("negative")
            self.entered.set()
            if x > 100:
                await asyncio.Event().wait()
            return x + 1

        return later()

    def waits(self) -> str:
        self.loop.call_soon_threadsafe(self.entered.set)
        assert self.go_on.wait(60)
        return "done"


async def started(bench: Any, **options: Any) -> Any:
    replica = await bench.start(Model, **options)
    for name in ("twice", "request_id", "fails", "exits", "generates", "awaits", "waits"):
        replica._user.method(name)  # a first call of each
    return replica


def call_of(replica: Any, method: str, *args: Any, id: str = "r-1") -> ThreadCall:
    call = replica.root(id, method, *args)
    assert type(call) is ThreadCall
    return call


@pytest.mark.parametrize("way", ["awaited", "later"])
def test_results_and_errors_are_those_of_a_call(bench, run, way):
    async def main():
        replica = await started(bench)
        assert await result_of(call_of(replica, "twice", 21), way) == 42
        assert await result_of(call_of(replica, "request_id", id="r-7"), way) == "r-7"
        assert request_context.get() is None
        assert await result_of(call_of(replica, "awaits", 1), way) == 2
        with pytest.raises(ValueError, match="bad input"):
            await result_of(call_of(replica, "fails"), way)
        with pytest.raises(ValueError, match="negative"):
            await result_of(call_of(replica, "awaits", -1), way)
        with pytest.raises(TypeError, match=r"generates of deployment 'model' returned a generator.*stream=True"):
            await result_of(call_of(replica, "generates"), way)
        with pytest.raises(RuntimeError, match=r"exits raised SystemExit\(3\)"):
            await result_of(call_of(replica, "exits"), way)
        assert replica._ongoing == 0
        assert not replica._calls
        stats = await replica.stats()
        assert (stats.processed, stats.errors) == (7, 4)

    run(main)


@pytest.mark.parametrize("way", ["awaited", "later"])
def test_a_cancelled_one_is_answered_at_once_and_counts_until_its_thread_returns(bench, run, way):
    async def main():
        replica = await started(bench, max_ongoing_requests=1)
        model = replica._user.object
        task = asyncio.create_task(result_of(call_of(replica, "waits", id="r-2"), way))
        await model.entered.wait()
        await replica.cancel("r-2")
        with pytest.raises(RequestCancelledError):
            await task
        assert replica._ongoing == 1
        assert isinstance(await replica.root("r-3", "twice", 1), Rejected)
        model.go_on.set()
        await replica._until(lambda: not replica._ongoing)
        assert await result_of(call_of(replica, "twice", 1), way) == 2

    run(main)


@pytest.mark.parametrize("way", ["awaited", "later"])
def test_what_a_method_returned_is_cancelled_too(bench, run, way):
    async def main():
        replica = await started(bench)
        task = asyncio.create_task(result_of(call_of(replica, "awaits", 101, id="r-2"), way))
        await replica._user.object.entered.wait()
        await replica.cancel("r-2")
        with pytest.raises(RequestCancelledError):
            await task
        assert replica._ongoing == 0

    run(main)


def test_a_task_that_awaits_it_can_be_cancelled(bench, run):
    async def main():
        replica = await started(bench)
        model = replica._user.object

        async def waits() -> Any:
            return await call_of(replica, "waits")

        task = asyncio.create_task(waits())
        await model.entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert replica._ongoing == 1
        model.go_on.set()
        await replica._until(lambda: not replica._ongoing)

    run(main)


def test_nothing_of_a_request_lives_on(bench, run):
    class Argument:
        pass

    async def main():
        replica = await bench.start(lambda x: None)
        replica._user.method("__call__")
        argument = Argument()
        gone = weakref.ref(argument)
        call = replica.root("r-1", "__call__", argument)
        await result_of(call, "later")
        del argument, call
        await asyncio.sleep(0)
        assert gone() is None

    run(main)


def test_one_answer_that_raises_leaves_the_others_theirs(bench, run):
    async def main():
        replica = await started(bench)
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)

        def answer(value: Any, error: BaseException | None) -> None:
            raise RuntimeError("a broken connection")

        calls = [call_of(replica, "twice", i) for i in range(4)]
        calls[0].__aktis_later__(answer)
        assert await asyncio.gather(*(result_of(call, "later") for call in calls[1:])) == [2, 4, 6]

    run(main)


def test_the_request_is_counted_only_when_it_begins(bench, run):
    async def main():
        replica = await started(bench)
        call_of(replica, "twice", 1)
        assert replica._ongoing == 0

    run(main)


def test_meta_is_that_of_a_program(bench, run):
    async def main():
        replica = await bench.start(lambda: request_context.get())
        replica._user.method("__call__")
        assert await result_of(replica.root("r-1", "__call__"), "later") == RequestMeta(
            "r-1", "r-1", "__call__", "shop", "", "", False, 0.0, None
        )

    run(main)
