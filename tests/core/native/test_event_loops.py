"""Async actors and event loops: calls begin in their own task, loops lead the pump, nothing is lost when they do not."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aktis
from aktis import _session
from aktis.exceptions import TaskCancelledError

pytestmark = pytest.mark.usefixtures("session")

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@aktis.remote
class Worker:
    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun: list[int] = []
        self.cancelled: list[int] = []

    async def echo(self, value: Any) -> Any:
        return value

    def sync(self, value: Any) -> Any:
        return value

    async def later(self, value: Any) -> Any:
        await asyncio.sleep(0)
        return value

    async def fail(self, value: Any) -> None:
        raise ValueError(value)

    async def in_task(self) -> list[bool]:
        task = asyncio.current_task()
        with_timeout = asyncio.wait_for(asyncio.sleep(0, "slept"), 10)
        return [task is not None, await with_timeout == "slept", asyncio.current_task() is task]

    async def set_variable(self, value: str, suspend: bool) -> str:
        before = variable.get()
        variable.set(value)
        if suspend:
            await asyncio.sleep(0)
        return before

    async def wait(self, number: int) -> int:
        self.begun.append(number)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        return number

    async def open(self) -> None:
        self.gate.set()

    async def close(self) -> None:
        self.gate.clear()

    async def seen(self) -> tuple[list[int], list[int]]:
        return self.begun, self.cancelled

    async def ask(self, other: Any, count: int) -> int:
        return sum(await asyncio.gather(*[other.echo.remote(i) for i in range(count)]))

    async def ask_blocking(self, other: Any) -> Any:
        return aktis.get(other.later.remote("blocking"))

    async def count(self, most: int) -> AsyncIterator[int]:
        for i in range(most):
            yield i

    async def forget(self, refs: list[Any]) -> int:
        return len(refs)

    async def loop_class(self) -> str:
        return type(asyncio.get_running_loop()).__module__


@pytest.fixture(scope="module")
def worker(session: None) -> Any:
    actor = Worker.remote()
    aktis.get(actor.echo.remote(0))
    return actor


def test_a_call_has_a_task_of_its_own(worker: Any) -> None:
    assert aktis.get(worker.in_task.remote()) == [True, True, True]


def test_calls_do_not_see_each_others_context(worker: Any) -> None:
    refs = [worker.set_variable.remote(str(i), i % 2 == 0) for i in range(10)]
    assert aktis.get(refs) == ["unset"] * 10


def test_one_actor_asks_another(worker: Any) -> None:
    other = Worker.remote()
    assert aktis.get(other.ask.remote(worker, 300)) == sum(range(300))
    assert aktis.get(other.ask_blocking.remote(worker)) == "blocking"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["echo", "sync", "later", "fail", "wait", "cancelled", "count"]), max_size=30))
def test_any_mix_of_calls_is_answered(kinds: list[str]) -> None:
    worker = _shared_worker()
    aktis.get(worker.close.remote())
    refs: list[Any] = []
    for number, kind in enumerate(kinds):
        method = {"cancelled": "wait"}.get(kind, kind)
        refs.append(getattr(worker, method).remote(number))
        if kind == "cancelled":
            aktis.cancel(refs[-1])
    aktis.get(worker.open.remote())
    for number, (kind, ref) in enumerate(zip(kinds, refs)):
        if kind == "fail":
            with pytest.raises(ValueError, match=str(number)):
                aktis.get(ref, timeout=30)
        elif kind == "cancelled":
            with pytest.raises(TaskCancelledError):
                aktis.get(ref, timeout=30)
        elif kind == "count":
            assert aktis.get(list(ref)) == list(range(number))
        else:
            assert aktis.get(ref, timeout=30) == number


_workers: list[Any] = []


def _shared_worker() -> Any:
    if not _workers or _workers[0]._engine is not _session.current:
        _workers[:] = [Worker.remote()]
    return _workers[0]


def test_cancelling_what_runs_and_what_waits() -> None:
    worker = Worker.options(max_concurrency=2).remote()
    refs = [worker.wait.remote(i) for i in range(5)]
    aktis.cancel(refs[3])  # waits for room
    with pytest.raises(TaskCancelledError):
        aktis.get(refs[3], timeout=30)
    aktis.cancel(refs[0])
    with pytest.raises(TaskCancelledError):
        aktis.get(refs[0], timeout=30)
    aktis.cancel(refs[1])
    aktis.cancel(refs[2])
    aktis.cancel(refs[4])
    begun, cancelled = aktis.get(worker.seen.remote(), timeout=30)
    assert 3 not in begun
    assert set(cancelled) <= set(begun)


def test_ten_thousand_calls_may_wait_at_one_actor() -> None:
    worker = Worker.options(max_concurrency=1_000_000).remote()
    refs = [worker.wait.remote(i) for i in range(10_000)]
    assert aktis.get(worker.echo.remote("in between"), timeout=60) == "in between"
    aktis.cancel(refs[7_000])
    with pytest.raises(TaskCancelledError):
        aktis.get(refs[7_000], timeout=30)
    aktis.get(worker.open.remote())
    del refs[7_000]
    assert sum(aktis.get(refs, timeout=60)) == sum(range(10_000)) - 7_000


# generators ------------------------------------------------------------------------------------


def test_async_for_over_what_an_async_actor_yields(worker: Any) -> None:
    async def main() -> list[int]:
        return [await ref async for ref in worker.count.remote(2_000)]

    assert asyncio.run(main()) == list(range(2_000))


def test_a_producer_waits_for_its_consumer() -> None:
    @aktis.remote
    class Source:
        def __init__(self) -> None:
            self.made = 0

        @aktis.method(num_returns="streaming")
        async def items(self) -> Any:
            for i in range(20):
                self.made = i + 1
                yield i

        async def how_many(self) -> int:
            return self.made

    source = Source.remote()
    stream = source.items.options(_generator_backpressure_num_objects=3).remote()
    assert aktis.get(next(stream)) == 0
    assert aktis.get(source.how_many.remote()) <= 5
    assert [aktis.get(ref) for ref in stream] == list(range(1, 20))


# loops -----------------------------------------------------------------------------------------


def test_an_actor_class_chooses_its_event_loop() -> None:
    uvloop = pytest.importorskip("uvloop")

    @aktis.remote
    class Fast(Worker.__aktis_class__):  # type: ignore[misc, name-defined]
        @staticmethod
        def __aktis_event_loop__() -> asyncio.AbstractEventLoop:
            loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
            return loop

    worker = Fast.remote()
    assert aktis.get(worker.loop_class.remote()).startswith("uvloop")
    assert aktis.get(worker.in_task.remote()) == [True, True, True]
    assert aktis.get(worker.ask.remote(Worker.remote(), 200)) == sum(range(200))
    assert [aktis.get(ref) for ref in worker.count.remote(100)] == list(range(100))


def test_what_is_no_event_loop_is_refused() -> None:
    @aktis.remote
    class Wrong:
        @staticmethod
        def __aktis_event_loop__() -> str:
            return "none"

        async def f(self) -> None: ...

    with pytest.raises(aktis.exceptions.ActorDiedError, match="must return an event loop"):
        aktis.get(Wrong.remote().f.remote(), timeout=30)


def test_loops_of_the_driver_come_and_go(worker: Any) -> None:
    async def some(count: int) -> int:
        return sum(await asyncio.gather(*[worker.later.remote(i) for i in range(count)]))

    for _ in range(3):
        assert asyncio.run(some(50)) == sum(range(50))
        assert aktis.get(worker.echo.remote("sync"), timeout=30) == "sync"


def test_a_loop_that_was_closed_while_it_led_leaves_the_lead(worker: Any) -> None:
    async def main() -> Any:
        return await worker.later.remote(1)

    pump = _session.require_engine().core.pump  # type: ignore[attr-defined]
    assert asyncio.run(main()) == 1
    deadline = monotonic() + 30
    while pump.loop_lead is not None and monotonic() < deadline:
        pass
    assert pump.loop_lead is None


def test_threads_and_a_loop_wait_side_by_side(worker: Any) -> None:
    done: list[Any] = []

    def in_thread() -> None:
        for i in range(200):
            done.append(aktis.get(worker.later.remote(i), timeout=30))

    async def in_loop() -> int:
        return sum([await worker.later.remote(i) for i in range(200)])

    threads = [threading.Thread(target=in_thread) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert asyncio.run(in_loop()) == sum(range(200))
    for thread in threads:
        thread.join()
    assert sum(done) == 2 * sum(range(200))


def test_two_loops_wait_side_by_side(worker: Any) -> None:
    async def main() -> int:
        return sum([await worker.later.remote(i) for i in range(100)])

    sums: list[int] = []
    threads = [threading.Thread(target=lambda: sums.append(asyncio.run(main()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sums == [sum(range(100))] * 3


def test_a_blocking_get_while_other_tasks_await(worker: Any) -> None:
    async def blocking() -> Any:
        await asyncio.sleep(0)
        return aktis.get(worker.later.remote("blocking"), timeout=30)

    async def main() -> list[Any]:
        return await asyncio.gather(_value(worker.later.remote(1)), blocking(), _value(worker.later.remote(2)))

    assert asyncio.run(main()) == [1, "blocking", 2]


async def _value(ref: Any) -> Any:
    return await ref


def test_giving_up_an_await_is_harmless(worker: Any) -> None:
    async def main() -> Any:
        aktis.get(worker.close.remote())
        ref = worker.wait.remote(1)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(ref, 0.01)
        waiting = asyncio.ensure_future(_value(ref))
        await asyncio.sleep(0)
        waiting.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await worker.open.remote()
        return await ref

    assert asyncio.run(main()) == 1


def test_an_async_actor_lets_go_of_what_it_borrowed(worker: Any) -> None:
    core: Any = _session.require_engine().core  # type: ignore[attr-defined]
    ref = aktis.put([1])
    assert aktis.get(worker.forget.remote([ref])) == 1
    deadline = monotonic() + 30
    while ref.binary() in core.lent and monotonic() < deadline:
        aktis.get(worker.echo.remote(0))
    assert ref.binary() not in core.lent


# results that come later, without a task ---------------------------------------------------------


class Later:
    """As libraries make them: begun by who asks for the answer."""

    def __init__(self, value: Any, error: BaseException | None = None, wait: bool = False) -> None:
        self.value, self.error, self.wait = value, error, wait
        self.answer: Any = None

    def __aktis_later__(self, answer: Any) -> None:
        self.answer = answer
        if not self.wait:
            loop = asyncio.get_running_loop()
            threading.Thread(target=loop.call_soon_threadsafe, args=(answer, self.value, self.error)).start()

    def cancel(self) -> None:
        self.answer(None, asyncio.CancelledError())

    def __await__(self) -> Any:
        raise AssertionError("nobody has to await it")


@aktis.remote
class Promises:
    def __init__(self) -> None:
        self.begun: asyncio.Event = asyncio.Event()

    def later(self, value: Any) -> Any:
        return Later(value)

    def fails(self, message: str) -> Any:
        return Later(None, ValueError(message))

    async def coroutine(self, value: Any) -> int:
        self.begun.set()
        return len(value)

    def never(self) -> Any:
        self.begun.set()
        return Later(None, wait=True)

    async def has_begun(self) -> bool:
        return await self.begun.wait()


def test_results_that_come_later_without_a_task() -> None:
    actor = Promises.options(max_concurrency=2).remote()
    assert aktis.get([actor.later.remote(value) for value in (1, "x", None, [1, {2}])]) == [1, "x", None, [1, {2}]]
    big = aktis.get(actor.later.remote(b"x" * 1_000_000))
    assert big == b"x" * 1_000_000
    assert aktis.get(actor.coroutine.remote("abc")) == 3
    with pytest.raises(ValueError, match="too late"):
        aktis.get(actor.fails.remote("too late"))
    first, second = actor.later.options(num_returns=2).remote([[1], [2]])
    assert aktis.get([first, second]) == [[1], [2]]
    nothing = actor.later.options(num_returns=0).remote(1)
    assert nothing is None
    assert aktis.get([actor.later.remote(i) for i in range(500)]) == list(range(500))  # two at a time


def test_a_result_that_never_comes_can_be_cancelled() -> None:
    actor = Promises.remote()
    never = actor.never.remote()
    assert aktis.get(actor.has_begun.remote())
    aktis.cancel(never)
    with pytest.raises(TaskCancelledError):
        aktis.get(never)
    assert aktis.get(actor.later.remote(5)) == 5
