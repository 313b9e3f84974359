"""Calls of handles: what runs where, what comes back, and how many at the same time."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import sys
import threading
import weakref
from typing import Any

import pytest

from aktis.serve._protocol import Rejected
from aktis.serve._replica.callables import UserCallable
from aktis.serve._replica.threads import Threads
from aktis.serve.context import _serve_request_context, get_replica_context, request_context
from aktis.serve.exceptions import RequestCancelledError, ServeError


def echo(value: Any) -> Any:
    return value


def test_a_function_is_called_with_what_the_caller_gave(bench, run):
    async def main():
        replica = await bench.start(lambda a, b=2, *, c=3: (a, b, c))
        assert await replica.call(bench.meta(), (1,), {"c": 5}) == (1, 2, 5)

    run(main)


def test_methods_of_a_class_sync_and_async(bench, run):
    class Model:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        def times(self, value):
            return value * self.factor, threading.current_thread() is threading.main_thread()

        async def times_async(self, value):
            return value * self.factor, threading.current_thread() is threading.main_thread()

    async def main():
        replica = await bench.start(Model, 3)
        assert await replica.call(bench.meta("times"), (2,), {}) == (6, False)
        assert await replica.call(bench.meta("times_async"), (2,), {}) == (6, True)

    run(main)


def test_a_sync_method_that_returns_an_awaitable_is_awaited(bench, run):
    async def answer():
        return 42

    async def main():
        replica = await bench.start(lambda: answer())
        assert await replica.call(bench.meta(), (), {}) == 42

    run(main)


def test_errors_come_out_as_they_are_and_are_logged_with_the_request_id(bench, run, caplog):
    def fail():
        raise KeyError("no such thing")

    async def main():
        replica = await bench.start(fail)
        with pytest.raises(KeyError, match="no such thing"):
            await replica.call(bench.meta(), (), {})
        stats = await replica.stats()
        assert (stats.processed, stats.errors, stats.ongoing) == (1, 1, 0)

    run(main)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "request-1" in record.getMessage()
    assert "no such thing" in caplog.text


def test_stop_iteration_of_a_thread_is_an_error_and_does_not_hang(bench, run):
    async def main():
        replica = await bench.start(lambda: next(iter(())))
        with pytest.raises(RuntimeError, match="StopIteration"):
            await replica.call(bench.meta(), (), {})

    run(main)


@pytest.mark.parametrize("kind", ["sync", "async", "stream", "http"])
def test_a_request_that_asks_the_process_to_exit_fails_alone(bench, run, kind, caplog):
    class Model:
        def sync(self):
            sys.exit(3)

        async def quick(self):
            sys.exit(3)

        async def stream(self):
            yield 1
            raise SystemExit(3)

        async def __call__(self, request):
            sys.exit(3)

    async def main():
        replica = await bench.start(Model)
        if kind == "http":
            assert (await replica.http(bench.meta(), bench.request())).status == 500
        elif kind == "stream":
            with pytest.raises(RuntimeError, match=r"SystemExit\(3\)"):
                [item async for item in replica.stream(bench.meta("stream"), (), {})]
        else:
            with pytest.raises(RuntimeError, match=r"SystemExit\(3\)"):
                await replica.call(bench.meta("sync" if kind == "sync" else "quick"), (), {})
        assert (await replica.stats()).ongoing == 0

    run(main)
    assert "SystemExit" in caplog.text


def test_a_method_that_is_not_there_names_those_that_are(bench, run):
    class Model:
        def predict(self): ...

    async def main():
        replica = await bench.start(Model)
        with pytest.raises(AttributeError, match="no method 'predct'; it has predict"):
            await replica.call(bench.meta("predct"), (), {})
        function = await bench.start(echo)
        with pytest.raises(AttributeError, match="is a function and has no method 'predict'"):
            await function.call(bench.meta("predict"), (), {})

    run(main)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_more_than_max_ongoing_requests_are_rejected(bench, run, kind):
    release = threading.Event()
    started: list[Any] = []

    class Sync:
        def __call__(self):
            started.append(1)
            release.wait(10)

    class Async:
        async def __call__(self):
            started.append(1)
            while not release.is_set():
                await asyncio.sleep(0)

    async def main():
        nonlocal started
        replica = await bench.start(Sync if kind == "sync" else Async, max_ongoing_requests=3)
        running = [asyncio.ensure_future(replica.call(bench.meta(), (), {})) for _ in range(3)]
        await asyncio.sleep(0)
        assert await replica.call(bench.meta(), (), {}) == Rejected(3, False)
        assert await replica.http(bench.meta(), bench.request()) == Rejected(3, False)
        assert await bench.gather(replica.stream(bench.meta(), (), {})) == [Rejected(3, False)]
        assert await bench.gather(replica.websocket(bench.meta(), bench.request(type="websocket"))) == [
            Rejected(3, False)
        ]
        release.set()
        await asyncio.gather(*running)
        assert len(started) == 3
        assert not isinstance(await replica.call(bench.meta(), (), {}), Rejected)

    run(main)


def test_the_limit_follows_reconfigure_at_once(bench, run):
    gate = asyncio.Event()

    class Model:
        async def __call__(self):
            await gate.wait()

    async def main():
        replica = await bench.start(Model, max_ongoing_requests=1)
        first = asyncio.ensure_future(replica.call(bench.meta(), (), {}))
        await asyncio.sleep(0)
        assert isinstance(await replica.call(bench.meta(), (), {}), Rejected)
        await replica.reconfigure(bench.spec(echo, max_ongoing_requests=2).config)
        second = asyncio.ensure_future(replica.call(bench.meta(), (), {}))
        await asyncio.sleep(0)
        assert not second.done()
        gate.set()
        await asyncio.gather(first, second)

    run(main)


def test_threads_are_made_as_needed_and_used_again(bench, run):
    def name():
        return threading.current_thread().name

    async def main():
        replica = await bench.start(name, max_ongoing_requests=8)
        names = {await replica.call(bench.meta(), (), {}) for _ in range(10)}
        assert len(names) == 1
        many = await asyncio.gather(*(replica.call(bench.meta(), (), {}) for _ in range(8)))
        assert len(set(many)) <= 8
        assert replica._threads._threads <= 8

    run(main)


def test_context_of_the_request_goes_into_threads_and_is_gone_afterwards(bench, run):
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")

    class Model:
        def sync(self):
            return request_context.get().request_id, get_replica_context().replica_tag

        async def awaited(self):
            await asyncio.sleep(0)
            return request_context.get().request_id, get_replica_context().servable_object is self

        def by_the_names_of_ray(self):
            of_request = _serve_request_context.get()
            return of_request.request_id, of_request.app_name, of_request.multiplexed_model_id

    async def main():
        replica = await bench.start(Model)
        assert await replica.call(bench.meta("sync"), (), {}) == ("request-1", "shop#model#abcd1234")
        assert await replica.call(bench.meta("awaited"), (), {}) == ("request-1", True)
        named = await replica.call(bench.meta("by_the_names_of_ray")._replace(app="shop", model_id="m"), (), {})
        assert named == ("request-1", "shop", "m")
        assert request_context.get() is None
        variable.set("of the caller")
        replica._user.object.read = variable.get
        assert await replica.call(bench.meta("read"), (), {}) == "of the caller"

    run(main)


def test_streams_of_generators(bench, run):
    class Model:
        def sync(self, count):
            yield from range(count)

        async def awaited(self, count):
            for number in range(count):
                await asyncio.sleep(0)
                yield number

        def broken(self):
            yield 1
            raise ValueError("broke")

        def plain(self):
            return [1, 2]

    async def main():
        replica = await bench.start(Model)
        assert await bench.gather(replica.stream(bench.meta("sync"), (300,), {})) == [None, *range(300)]
        assert await bench.gather(replica.stream(bench.meta("awaited"), (3,), {})) == [None, 0, 1, 2]
        stream = replica.stream(bench.meta("broken"), (), {})
        assert [await anext(stream), await anext(stream)] == [None, 1]
        with pytest.raises(ValueError, match="broke"):
            await anext(stream)
        with pytest.raises(TypeError, match="returned a list, and with stream=True it must"):
            await bench.gather(replica.stream(bench.meta("plain"), (), {}))
        with pytest.raises(TypeError, match=r"options\(stream=True\)"):
            await replica.call(bench.meta("sync"), (1,), {})
        await replica._until(lambda: not replica._ongoing)
        assert (await replica.stats()).streams == 4

    run(main)


def test_a_stream_that_is_closed_closes_the_users_generator(bench, run):
    closed: list[str] = []
    ended = threading.Event()

    class Model:
        async def awaited(self):
            try:
                while True:
                    yield 1
            finally:
                closed.append("async")

        def sync(self):
            try:
                while True:
                    yield 1
            finally:
                closed.append("sync")
                ended.set()

    async def main():
        replica = await bench.start(Model)
        for method in ("awaited", "sync"):
            stream = replica.stream(bench.meta(method), (), {})
            assert [await anext(stream), await anext(stream)] == [None, 1]
            await stream.aclose()
        await asyncio.get_running_loop().run_in_executor(None, ended.wait, 10)
        await replica._until(lambda: not replica._ongoing)
        assert closed == ["async", "sync"]

    run(main)


def test_a_generator_in_a_thread_waits_for_a_slow_reader(bench, run):
    produced: list[int] = []

    def numbers():
        for number in range(10_000):
            produced.append(number)
            yield number

    async def main():
        replica = await bench.start(numbers)
        stream = replica.stream(bench.meta(), (), {})
        assert [await anext(stream), await anext(stream)] == [None, 0]
        while len(produced) < 32:
            await asyncio.sleep(0.001)
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert len(produced) < 100
        await stream.aclose()
        await replica._until(lambda: not replica._ongoing)

    run(main)


def test_cancel_raises_in_async_user_code(bench, run):
    seen: list[str] = []

    class Model:
        async def __call__(self):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

    async def main():
        replica = await bench.start(Model)
        call = asyncio.ensure_future(replica.call(bench.meta(call_id="c1"), (), {}))
        await asyncio.sleep(0)
        await replica.cancel("c1")
        with pytest.raises(RequestCancelledError):
            await call
        assert seen == ["cancelled"]
        assert (await replica.stats()).ongoing == 0
        await replica.cancel("unknown")  # has ended already

    run(main)


def test_a_cancelled_thread_counts_until_it_returns(bench, run):
    release = threading.Event()

    async def main():
        replica = await bench.start(lambda: release.wait(10), max_ongoing_requests=1)
        call = asyncio.ensure_future(replica.call(bench.meta(call_id="c1"), (), {}))
        await asyncio.sleep(0)
        await replica.cancel("c1")
        with pytest.raises(RequestCancelledError):
            await call
        assert isinstance(await replica.call(bench.meta(), (), {}), Rejected)
        release.set()
        await replica._until(lambda: not replica._ongoing)
        assert await replica.call(bench.meta(), (), {}) is True

    run(main)


def test_constructor_async_and_failing(bench, run):
    class Slow:
        async def __init__(self, value):
            await asyncio.sleep(0)
            self.value = value

        def get(self):
            return self.value

    class Broken:
        def __init__(self):
            raise OSError("no such model")

    async def main():
        replica = await bench.start(Slow, 7)
        assert await replica.call(bench.meta("get"), (), {}) == 7
        with pytest.raises(OSError, match="no such model"):
            await bench.start(Broken)

    run(main)


def test_health(bench, run):
    class Model:
        sick = False

        def check_health(self):
            if self.sick:
                raise RuntimeError("sick")

    class AsyncModel(Model):
        async def check_health(self):
            Model.check_health(self)

    async def main():
        for cls in (Model, AsyncModel):
            replica = await bench.start(cls)
            await replica.check_health()
            replica._user.object.sick = True
            with pytest.raises(RuntimeError, match="sick"):
                await replica.check_health()
        await (await bench.start(echo)).check_health()

    run(main)


def test_reconfigure_at_start_and_later(bench, run):
    class Model:
        def reconfigure(self, config):
            self.config = config

        def get(self):
            return self.config

    class AsyncModel(Model):
        async def reconfigure(self, config):
            self.config = config

    async def main():
        for cls in (Model, AsyncModel):
            replica = await bench.start(cls, user_config={"a": 1})
            assert await replica.call(bench.meta("get"), (), {}) == {"a": 1}
            await replica.reconfigure(bench.spec(cls, user_config={"a": 2}).config)
            assert await replica.call(bench.meta("get"), (), {}) == {"a": 2}
            replica._user.object.config = "untouched"
            await replica.reconfigure(bench.spec(cls, user_config={"a": 2}, max_ongoing_requests=5).config)
            await replica.reconfigure(bench.spec(cls).config)  # no user_config: nothing to be told
            assert await replica.call(bench.meta("get"), (), {}) == "untouched"

    run(main)


def test_reconfigure_that_cannot_be(bench, run):
    class Model: ...

    async def main():
        with pytest.raises(ServeError, match=r"no method reconfigure\(self, user_config\)"):
            await bench.start(Model, user_config={"a": 1})
        with pytest.raises(ServeError, match="functions cannot take a user_config"):
            await bench.start(echo, user_config={"a": 1})

    run(main)


def test_reconfigure_waits_for_what_runs_and_holds_what_comes(bench, run):
    log: list[str] = []
    gates = [asyncio.Event(), asyncio.Event()]

    class Model:
        async def __call__(self, number):
            log.append(f"begin {number}")
            await gates[number].wait()
            log.append(f"end {number}")

        async def reconfigure(self, config):
            log.append("reconfigure")

    async def main():
        replica = await bench.start(Model)
        first = asyncio.ensure_future(replica.call(bench.meta(), (0,), {}))
        await asyncio.sleep(0)
        change = asyncio.ensure_future(replica.reconfigure(bench.spec(echo, user_config=1).config))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(replica.call(bench.meta(), (1,), {}))
        gates[1].set()
        await asyncio.sleep(0.01)
        assert log == ["begin 0"]
        assert (await replica.stats()).ongoing == 2
        gates[0].set()
        await asyncio.gather(first, second, change)
        assert log == ["begin 0", "end 0", "reconfigure", "begin 1", "end 1"]

    run(main)


def test_reconfigure_that_raises_lets_requests_go_on_and_can_be_repeated(bench, run):
    class Model:
        fail = True

        def reconfigure(self, config):
            if self.fail:
                raise ValueError("bad config")
            self.config = config

        def __call__(self):
            return "fine"

    async def main():
        replica = await bench.start(Model)
        config = bench.spec(Model, user_config=1).config
        with pytest.raises(ValueError, match="bad config"):
            await replica.reconfigure(config)
        assert await replica.call(bench.meta(), (), {}) == "fine"
        replica._user.object.fail = False
        await replica.reconfigure(config)
        assert replica._user.object.config == 1

    run(main)


def test_drain_waits_rejects_and_calls_del_once(bench, run):
    log: list[str] = []
    gate = asyncio.Event()

    class Model:
        async def __call__(self):
            await gate.wait()
            return "done"

        def __del__(self):
            log.append("del")

    class AsyncModel(Model):
        async def __del__(self):
            log.append("async del")

    async def main():
        for cls in (Model, AsyncModel):
            gate.clear()
            replica = await bench.start(cls)
            call = asyncio.ensure_future(replica.call(bench.meta(), (), {}))
            await asyncio.sleep(0)
            drain = asyncio.ensure_future(replica.drain(0.1, 10))
            await asyncio.sleep(0)
            assert await replica.call(bench.meta(), (), {}) == Rejected(1, True)
            assert not drain.done()
            gate.set()
            assert await call == "done"
            assert await drain is True
            assert await replica.drain(0.1, 10) is True
        assert log == ["del", "async del"]

    run(main)


def test_the_garbage_collector_does_not_call_del_again(bench, run):
    log: list[str] = []

    class Model:
        def __del__(self):
            log.append("del")

    class AsyncModel:
        async def __del__(self):
            log.append("async del")

    class SlottedModel:
        __slots__ = ("__weakref__",)

        def __del__(self):
            log.append("slotted del")

    async def main():
        threads = Threads("test")
        for cls in (Model, AsyncModel, SlottedModel):
            user = UserCallable(bench.spec(cls), threads)
            gone = weakref.ref(await user.construct())
            await user.destroy()
            await user.destroy()
            del user
            gc.collect()
            assert gone() is None
        threads.close()

    run(main)
    assert log == ["del", "async del", "slotted del"]


def test_drain_gives_up_after_its_time(bench, run):
    async def forever():
        await asyncio.Event().wait()

    async def main():
        replica = await bench.start(forever)
        call = asyncio.ensure_future(replica.call(bench.meta(), (), {}))
        await asyncio.sleep(0)
        assert await replica.drain(0.01, 0.02) is False
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call

    run(main)


def test_stats_have_latencies_of_the_last_minute(bench, run):
    async def main():
        replica = await bench.start(echo)
        for _ in range(20):
            await replica.call(bench.meta(), (1,), {})
        stats = await replica.stats()
        assert stats.processed == 20
        p50, p95, p99 = stats.latencies
        assert 0 < p50 <= p95 <= p99 < 10

    run(main)


def test_numbers_of_a_policy(bench, run):
    class Model:
        def record_autoscaling_stats(self):
            return {"queue": 3}

    async def main():
        assert (await (await bench.start(Model)).stats()).user == {"queue": 3}

    run(main)
