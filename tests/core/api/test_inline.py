"""What is special about the inline engine: its order, and that it says what would wait forever."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import aktis
from aktis.util.metrics import Counter


@pytest.fixture(autouse=True)
def session() -> Iterator[None]:
    aktis.shutdown()
    aktis.init(mode="inline", num_cpus=2, num_gpus=2, configure_logging=False)
    yield
    aktis.shutdown()


@aktis.remote
class Signal:
    def __init__(self) -> None:
        self.event = asyncio.Event()

    async def wait(self) -> str:
        await self.event.wait()
        return "set"

    async def send(self) -> None:
        self.event.set()


def test_tasks_run_at_submit_in_this_thread() -> None:
    @aktis.remote
    def where() -> int:
        return threading.get_ident()

    assert aktis.get(where.remote()) == threading.get_ident()


def test_a_debugger_stops_in_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    stops = []
    monkeypatch.setattr(sys, "breakpointhook", lambda: stops.append(sys._getframe(1).f_code.co_name))

    @aktis.remote
    def inspected() -> None:
        breakpoint()  # noqa: T100

    inspected.remote()
    assert stops == ["inspected"]


def test_the_order_never_varies() -> None:
    @aktis.remote
    class Log:
        def __init__(self) -> None:
            self.lines: list[str] = []

        async def note(self, line: str, pause: int) -> None:
            for _ in range(pause):
                await asyncio.sleep(0)
            self.lines.append(line)

        async def all(self) -> list[str]:
            return self.lines

    def run() -> Any:
        log = Log.remote()
        aktis.get([log.note.remote(str(i), (7 * i) % 5) for i in range(20)])
        return aktis.get(log.all.remote())

    assert run() == run()


def test_what_would_wait_forever_is_an_error() -> None:
    Counter("signals").inc()  # metrics have a thread of their own, which nobody need wait for
    signal = Signal.remote()
    with pytest.raises(aktis.exceptions.AktisSystemError, match="wait forever.*Signal.wait"):
        aktis.get(signal.wait.remote())


def test_a_wait_that_only_another_thread_can_end_is_warned_about(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("aktis._inline.scheduler.PATIENCE", 0.01)
    signal = Signal.remote()
    warned = threading.Event()

    def sends() -> None:
        assert warned.wait(60)
        signal.send.remote()

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warned.set()

    notes = Notes()
    logging.getLogger("aktis.inline").addHandler(notes)
    thread = threading.Thread(target=sends, name="the-sender")
    thread.start()
    try:
        with caplog.at_level("WARNING", "aktis.inline"):
            assert aktis.get(signal.wait.remote()) == "set"
    finally:
        logging.getLogger("aktis.inline").removeHandler(notes)
        thread.join()
    assert "this would wait forever" in caplog.text
    assert "the-sender" in caplog.text
    assert caplog.text.count("this would wait forever") == 1


def test_an_actor_that_waits_for_itself_is_an_error() -> None:
    @aktis.remote
    class Selfish:
        def outer(self) -> Any:
            return aktis.get(aktis.get_runtime_context().current_actor.inner.remote())

        def inner(self) -> int:
            return 1

    actor = Selfish.remote()
    with pytest.raises(aktis.exceptions.AktisSystemError, match="wait forever"):
        aktis.get(actor.outer.remote())


def test_infeasible_requests_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    @aktis.remote(num_cpus=100)
    def f() -> None:
        pass

    with caplog.at_level(logging.WARNING):
        ref = f.remote()
    assert "never have" in caplog.text
    with pytest.raises(aktis.exceptions.AktisSystemError, match="waits for resources"):
        aktis.get(ref)


def test_gpus() -> None:
    @aktis.remote(num_cpus=0, num_gpus=1)
    class Device:
        def ids(self) -> Any:
            return aktis.get_gpu_ids()

    @aktis.remote(num_cpus=0, num_gpus=0.5)
    class Half:
        def ids(self) -> Any:
            return aktis.get_gpu_ids()

    halves = [Half.remote(), Half.remote()]
    device = Device.remote()
    assert [aktis.get(half.ids.remote()) for half in halves] == [[0], [0]]
    assert aktis.get(device.ids.remote()) == [1]
    del halves
    assert aktis.available_resources()["GPU"] == 1


def test_a_blocking_get_inside_an_async_actor() -> None:
    @aktis.remote
    class Asks:
        async def ask(self, refs: list[Any]) -> Any:
            return aktis.get(refs[0])

    @aktis.remote
    class Answers:
        async def answer(self) -> int:
            await asyncio.sleep(0.001)
            return 42

    asks, answers = Asks.remote(), Answers.remote()
    assert aktis.get(asks.ask.remote([answers.answer.remote()])) == 42


def test_inside_a_running_event_loop() -> None:
    signal = Signal.remote()

    async def main() -> Any:
        waiting = asyncio.ensure_future(_await(signal.wait.remote()))
        await asyncio.sleep(0.005)
        assert not waiting.done()
        aktis.get(signal.send.remote())
        return await waiting

    assert asyncio.run(main()) == "set"


async def _await(ref: Any) -> Any:
    return await ref


def test_generators_are_lazy() -> None:
    # Tasks get copies of what they capture; the thread is the one thing that they share with the test.
    made: list[int] = threading.current_thread().__dict__.setdefault("made_by_a_task", [])

    @aktis.remote
    def items() -> Any:
        mine = threading.current_thread().__dict__["made_by_a_task"]
        while True:
            mine.append(len(mine))
            yield len(mine)

    generator = items.remote()
    assert made == []
    assert aktis.get(next(generator)) == 1
    assert made == [0]


def test_a_generator_nobody_consumes_runs_when_it_is_waited_for() -> None:
    @aktis.remote
    def items() -> Any:
        yield 1
        yield 2

    generator = items.remote()
    aktis.get(generator.completed())
    assert [aktis.get(ref) for ref in generator] == [1, 2]


def test_keyboard_interrupt_reaches_the_driver() -> None:
    @aktis.remote
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted.remote()


def test_shutdown_with_pending_work() -> None:
    signal = Signal.remote()
    refs = [signal.wait.remote() for _ in range(3)]
    aktis.shutdown()
    with pytest.raises(aktis.exceptions.AktisError, match="shut down"):
        aktis.init(mode="inline", configure_logging=False)
        aktis.get(refs[0])


def test_state() -> None:
    signal = Signal.options(name="s").remote()
    aktis.get(signal.send.remote())
    from aktis import _session

    engine = _session.require_engine()
    actors = engine.request("state", kind="actors", filters=[("state", "=", "ALIVE")], limit=10)
    assert [row["class_name"] for row in actors] == ["Signal"]
    tasks = engine.request("state", kind="tasks", filters=[("name", "=", "Signal.send")], limit=10)
    assert tasks[0]["state"] == "FINISHED"
    assert engine.request("kv_put", namespace="n", key=b"k", value=b"v", overwrite=True)
    assert engine.request("kv_get", namespace="n", key=b"k") == b"v"
    assert engine.request("kv_keys", namespace="n", prefix=b"") == [b"k"]
    assert any(event["name"] == "Signal.send" for event in aktis.timeline() or [])


def test_many_tasks_waiting_for_one() -> None:
    @aktis.remote
    def inc(x: int) -> int:
        return x + 1

    signal = Signal.remote()

    @aktis.remote
    def first(value: Any) -> int:
        return 0

    ref = first.remote(signal.wait.remote())
    for _ in range(2000):
        ref = inc.remote(ref)
    signal.send.remote()
    assert aktis.get(ref) == 2000


def test_what_a_dynamic_number_of_results_is() -> None:
    @aktis.remote(num_returns="dynamic")
    def letters() -> Any:
        yield from "abc"

    found = aktis.get(letters.remote())
    assert isinstance(found, aktis.DynamicObjectRefGenerator)
    assert (len(found), aktis.get(found[1]), aktis.get(list(found))) == (3, "b", ["a", "b", "c"])
    assert repr(found) == "DynamicObjectRefGenerator(3 references)"
