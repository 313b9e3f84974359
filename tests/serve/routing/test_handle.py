"""Handles with real replicas: results, errors, arguments, streams, cancellation."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import aktis
from aktis.serve._protocol import DeploymentID, RequestMeta
from aktis.serve.context import request_context
from aktis.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RequestCancelledError,
    RequestTimeoutError,
)
from aktis.serve.handle import DeploymentHandle, DeploymentResponse, RayServeHandle, RayServeSyncHandle


class Echo:
    def __init__(self) -> None:
        self.events: list[str] = []
        self.gate = asyncio.Event()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return (*args, kwargs) if kwargs else args[0] if len(args) == 1 else args

    async def wait(self, name: str = "") -> str:
        self.events.append(f"began {name}")
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.events.append(f"cancelled {name}")
            raise
        self.events.append(f"ended {name}")
        return name

    async def open(self) -> None:
        self.gate.set()
        self.gate = asyncio.Event()

    async def forget(self) -> None:
        self.events.clear()

    async def log(self) -> list[str]:
        return self.events

    async def fail(self, text: str) -> None:
        raise ValueError(text)

    async def meta(self) -> Any:
        return request_context.get()

    async def pid(self) -> int:
        return os.getpid()

    async def total(self, array: Any) -> Any:
        return int(array.sum()), array.nbytes

    async def array(self, number: int) -> Any:
        return np.ones(number)

    async def numbers(self, to: int) -> Any:
        try:
            for number in range(to):
                yield number
                await asyncio.sleep(0)
        finally:
            self.events.append("closed")

    async def endless(self) -> Any:
        try:
            while True:
                yield 1
                await asyncio.sleep(0.001)
        finally:
            self.events.append("closed")

    async def timeout(self) -> None:
        raise TimeoutError("the user's")


@pytest.fixture(scope="module")
def shared(serve_session: Any) -> Iterator[DeploymentHandle[Any]]:
    handle: DeploymentHandle[Any] = serve_session.deploy(Echo)
    serve_session.kept.add(handle.deployment_id)
    yield handle
    serve_session.kept.discard(handle.deployment_id)
    serve_session.clear()


@pytest.fixture
def echo(shared: DeploymentHandle[Any], serve: Any) -> DeploymentHandle[Any]:
    shared.forget.remote().result()
    return shared


def test_result(echo: DeploymentHandle[Any]) -> None:
    assert echo.remote(1).result() == 1
    assert echo.remote(1, 2, a=3).result(timeout_s=10) == (1, 2, {"a": 3})
    assert echo.pid.remote().result() != os.getpid()
    response = echo.remote("x")
    assert [response.result() for _ in range(3)] == ["x"] * 3
    assert aktis.get(echo.remote(5)) == 5
    assert aktis.get([echo.remote(5), echo.remote(6)]) == [5, 6]


def test_await_repeatedly_from_several_loops_and_threads(echo: DeploymentHandle[Any]) -> None:
    response = echo.remote("x")

    async def main() -> None:
        assert await response == "x"
        assert await asyncio.gather(response, response, *(echo.remote(i) for i in range(20))) == ["x", "x", *range(20)]
        with pytest.raises(RuntimeError, match="use `await response`"):
            echo.remote(1).result()
        first = echo.wait.remote("w")
        waiting = [asyncio.ensure_future(first) for _ in range(3)]
        await asyncio.sleep(0.05)
        await echo.open.remote()
        assert await asyncio.gather(*waiting) == ["w"] * 3

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(2)]
    asyncio.run(main())
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_errors(echo: DeploymentHandle[Any]) -> None:
    response = echo.fail.remote("oh")
    for _ in range(2):
        with pytest.raises(ValueError, match="oh") as info:
            response.result()
        assert isinstance(info.value, aktis.exceptions.AktisTaskError)
    with pytest.raises(ValueError, match="oh"):
        asyncio.run(_await(echo.fail.remote("oh")))
    with pytest.raises(TimeoutError, match="the user's"):
        echo.timeout.remote().result(timeout_s=10)
    with pytest.raises(AttributeError, match="nothing"):
        echo.nothing.remote().result()
    with pytest.raises(TypeError, match="pickle"):
        echo.remote(threading.Lock()).result()


async def _await(response: Any) -> Any:
    return await response


def test_timeout(echo: DeploymentHandle[Any]) -> None:
    response = echo.wait.remote("x")
    with pytest.raises(TimeoutError, match="runs in a replica"):
        response.result(timeout_s=0.05)
    echo.open.remote().result()
    assert response.result(timeout_s=10) == "x"
    with pytest.raises(ValueError, match="-1"):
        response.result(timeout_s=-1)


def test_arguments_that_are_not_there_yet(echo: DeploymentHandle[Any]) -> None:
    waiting = echo.wait.remote("w")
    chained = echo.remote(waiting, echo.remote(2), c=aktis.put(3))
    nested = echo.remote(chained)
    assert not chained.done()
    echo.open.remote().result()
    assert nested.result(timeout_s=10) == ("w", 2, {"c": 3})
    big = echo.array.remote(300_000)
    assert echo.total.remote(big).result() == (300_000, 2_400_000)
    with pytest.raises(ValueError, match="inner"):
        echo.remote(echo.fail.remote("inner")).result(timeout_s=10)
    with pytest.raises(TypeError, match="iterate"):
        echo.remote(echo.options(stream=True).numbers.remote(1))


def test_large_results_pass_through_by_reference(echo: DeploymentHandle[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[Any] = []
    real = aktis.get
    monkeypatch.setattr(aktis, "get", lambda *args, **kwargs: got.append(real(*args, **kwargs)) or got[-1])
    assert echo.total.remote(echo.array.remote(300_000)).result() == (300_000, 2_400_000)
    assert not any(isinstance(value, np.ndarray) for value in got)


def test_references(echo: DeploymentHandle[Any]) -> None:
    ref = echo.remote(7)._to_object_ref_sync()
    assert aktis.get(ref) == 7
    one, other = echo.remote(1), echo.wait.remote("x")
    assert aktis.wait([one, other], timeout=10) == ([one], [other])
    echo.open.remote().result()

    @aktis.remote
    def double(value: int) -> int:
        return value * 2

    assert aktis.get(double.remote(echo.remote(4))) == 8

    async def main() -> Any:
        return await (await echo.remote(9)._to_object_ref())

    assert asyncio.run(main()) == 9


def test_handles_of_ray_2_3(echo: DeploymentHandle[Any]) -> None:
    sync: RayServeSyncHandle[Any] = RayServeSyncHandle(echo.deployment_id)
    assert aktis.get(sync.remote(1)) == 1
    handle: RayServeHandle[Any] = RayServeHandle(echo.deployment_id)

    async def main() -> None:
        pending = handle.remote(1)
        ref = await pending
        assert await ref == 1
        assert await (await pending) == 1
        refs = [await handle.remote(i) for i in range(5)]
        assert await asyncio.gather(*refs) == list(range(5))
        assert await (await handle.remote(handle.remote(3))) == 3
        assert await handle.options(use_new_handle_api=True).remote(4) == 4

    asyncio.run(main())


def test_streams(echo: DeploymentHandle[Any], eventually: Any) -> None:
    stream = echo.options(stream=True)
    assert list(stream.numbers.remote(100)) == list(range(100))
    with pytest.raises(TypeError, match="for item in response"):
        stream.numbers.remote(1).result()

    async def main() -> list[int]:
        return [item async for item in stream.numbers.remote(100)]

    assert asyncio.run(main()) == list(range(100))
    items = stream.endless.remote()
    assert next(items) == 1
    items.close()
    assert list(items) == []
    eventually(lambda: echo.log.remote().result().count("closed") == 3)
    items = stream.endless.remote()
    next(items)
    del items
    eventually(lambda: echo.log.remote().result().count("closed") == 4)
    items = stream.endless.remote()
    next(items)
    items.cancel()
    with pytest.raises(RequestCancelledError):
        list(items)
    assert items.cancelled()
    with pytest.raises(ValueError, match="x"):
        list(stream.fail.remote("x"))
    with pytest.raises(TypeError, match="stream=True"):
        echo.numbers.remote(1).result()


def test_leases_come_back(serve: Any, echo: DeploymentHandle[Any], eventually: Any) -> None:
    router = serve.router(echo)
    echo.remote(1).result()
    assert router.ongoing == 0
    for _ in range(50):
        echo.remote(1)  # dropped
    with pytest.raises(ValueError):
        echo.fail.remote("x").result()
    list(echo.options(stream=True).numbers.remote(3))
    kept = [echo.remote(1) for _ in range(10)]
    del kept
    echo.options(stream=True).endless.remote()
    eventually(lambda: router.ongoing == 0)
    assert not router.unsettled


def test_cancel(echo: DeploymentHandle[Any], eventually: Any) -> None:
    response = echo.wait.remote("x")
    eventually(lambda: "began x" in echo.log.remote().result())
    assert not response.cancelled()
    response.cancel()
    with pytest.raises(RequestCancelledError):
        response.result(timeout_s=10)
    assert response.cancelled()
    eventually(lambda: "cancelled x" in echo.log.remote().result())
    done = echo.remote(1)
    assert done.result() == 1
    done.cancel()
    assert done.result() == 1
    assert not done.cancelled()

    async def main() -> None:
        response = echo.wait.remote("y")
        task = asyncio.ensure_future(response)
        await asyncio.sleep(0.05)
        response.cancel()
        with pytest.raises(RequestCancelledError):
            await task

    asyncio.run(main())


def test_context_flows_into_calls(echo: DeploymentHandle[Any]) -> None:
    outer = RequestMeta("r1", "c1", "m", "front", "/x", "model", True, time.time() + 60, {"traceparent": "t"})
    token = request_context.set(outer)
    try:
        meta = echo.meta.remote().result()
        chosen = echo.options(multiplexed_model_id="m2", idempotent=False).meta.remote().result()
    finally:
        request_context.reset(token)
    assert meta._replace(call_id="") == outer._replace(call_id="", method="meta", model_id="")
    assert meta.call_id not in ("", "c1")
    assert (chosen.model_id, chosen.idempotent) == ("m2", False)
    alone = echo.meta.remote().result()
    assert (alone.app, alone.idempotent, alone.deadline) == ("app", False, 0.0)
    token = request_context.set(outer._replace(deadline=time.time() - 1))
    try:
        with pytest.raises(RequestTimeoutError):
            echo.options(method_name="meta").remote().result()
    finally:
        request_context.reset(token)


def test_identity_and_options(echo: DeploymentHandle[Any]) -> None:
    assert echo == DeploymentHandle(echo.deployment_id) == pickle.loads(pickle.dumps(echo))
    assert hash(echo) == hash(DeploymentHandle(echo.deployment_id))
    assert echo != echo.pid
    assert echo.options(stream=True) == echo.options(stream=True) != echo
    assert echo.deployment_id == DeploymentID("app", echo.deployment_name)
    assert echo.app_name == "app"
    assert repr(echo.options(stream=True).pid).endswith(", app='app', method='pid', stream=True)")
    with pytest.raises(TypeError, match="no option 'strem'"):
        echo.options(strem=True)
    with pytest.raises(TypeError, match="stream must be True or False, got 1"):
        echo.options(stream=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="give one"):
        echo.options(idempotent=True, retry=False)
    with pytest.raises(TypeError, match=r"\.remote"):
        echo(1)
    known: DeploymentHandle[Any] = DeploymentHandle(echo.deployment_id, methods=["__call__", "generate"])
    with pytest.raises(AttributeError, match="did you mean generate"):
        known.genrate
    assert "generate" in dir(known)


def test_back_pressure(serve: Any) -> None:
    echo = serve.deploy(Echo, max_ongoing=1, max_queued=2)
    first, *others = [echo.wait.remote(str(i)) for i in range(5)]
    assert isinstance(first, DeploymentResponse)
    with pytest.raises(BackPressureError, match="max_queued_requests is 2"):
        others[2].result()
    with pytest.raises(BackPressureError):
        others[3].result()
    others[1].cancel()
    first.cancel()
    with pytest.raises(TimeoutError):
        others[0].result(timeout_s=0.2)
    others[0].cancel()


def test_back_pressure_counts_requests_of_other_callers(serve: Any, eventually: Any) -> None:
    echo = serve.deploy(Echo, max_ongoing=1, max_queued=0)
    echo.log.remote().result()  # what waits until the deployment is known has stood in line
    (replica,) = serve.views[echo.deployment_id].replicas
    other = replica.actor.call.remote(RequestMeta("other", "other", "wait"), ("other",), {})
    eventually(lambda: aktis.get(replica.actor.stats.remote()).ongoing == 1)
    with pytest.raises(BackPressureError, match="max_queued_requests is 0"):
        echo.log.remote().result(timeout_s=30)
    with pytest.raises(BackPressureError):
        list(echo.options(stream=True).numbers.remote(1))
    serve.change(echo, max_queued=1)
    eventually(lambda: serve.router(echo).view.max_queued == 1)
    waits = echo.log.remote()
    with pytest.raises(TimeoutError):
        waits.result(timeout_s=0.1)
    replica.actor.cancel.remote("other")
    assert waits.result(timeout_s=30) == ["began other", "cancelled other"]
    with pytest.raises(aktis.exceptions.AktisError):
        aktis.get(other)


def test_unknown_and_deleted_deployments(serve: Any) -> None:
    echo = serve.deploy(Echo)
    nobody: DeploymentHandle[Any] = DeploymentHandle("nobody", "app")
    with pytest.raises(DeploymentUnavailableError, match="app#nobody"):
        nobody.remote(1).result(timeout_s=10)
    view = serve.views[echo.deployment_id]
    serve.delete(echo.deployment_id)
    with pytest.raises(DeploymentUnavailableError, match="deleted"):
        while True:
            echo.remote(1).result(timeout_s=10)
    serve.say(view)
    assert echo.remote(1).result(timeout_s=10) == 1
    serve.change(echo, replicas=(), broken="its constructor raised ValueError")
    with pytest.raises(DeploymentUnavailableError, match="its constructor raised"):
        while True:
            echo.remote(1).result(timeout_s=10)


def test_ten_thousand_handles_leave_nothing(serve: Any, echo: DeploymentHandle[Any]) -> None:
    def use(number: int) -> None:
        for _ in range(number):
            handle: DeploymentHandle[Any] = DeploymentHandle(echo.deployment_id)
            handle.options(multiplexed_model_id="a").pid
        assert handle.remote(1).result() == 1

    use(10)
    gc.collect()
    before = len(gc.get_objects())
    threads = threading.active_count()
    use(10_000)
    gc.collect()
    assert len(gc.get_objects()) - before < 100
    assert threading.active_count() == threads
    assert aktis.get(serve.controller.listeners.remote()) <= 2


def test_pickled_into_other_processes(echo: DeploymentHandle[Any]) -> None:
    @aktis.remote(num_cpus=0)
    def use(handle: DeploymentHandle[Any]) -> Any:
        return handle.remote("from a task").result(), handle.pid.remote().result()

    @aktis.remote(num_cpus=0)
    class Actor:
        async def use(self, handle: DeploymentHandle[Any]) -> Any:
            return await handle.remote("from an actor"), await handle.pid.remote()

    pid = echo.pid.remote().result()
    assert aktis.get(use.remote(echo)) == ("from a task", pid)
    assert aktis.get(Actor.remote().use.remote(echo)) == ("from an actor", pid)


class Front:
    async def __call__(self, request: Any) -> Any:
        return type(request).__name__, await request.body(), dict(request.query_params), request.headers["x"]


def test_requests_of_starlette_travel(serve: Any) -> None:
    from starlette.requests import Request

    front = serve.deploy(Front)
    scope = {"type": "http", "method": "POST", "path": "/p", "query_string": b"a=1", "headers": [(b"x", b"y")]}
    scope = {**scope, "app": threading.Lock(), "state": {"lock": threading.Lock()}, "root_path": ""}
    whole = [{"type": "http.request", "body": b"he", "more_body": True}, {"type": "http.request", "body": b"llo"}]
    parts = list(whole)

    async def slowly() -> Any:
        await asyncio.sleep(0.001)
        return parts.pop(0)

    async def at_once() -> Any:
        return {"type": "http.request", "body": b"hello"}

    async def main() -> Any:
        return await front.remote(Request(scope, slowly))

    expected = ("Request", b"hello", {"a": "1"}, "y")
    assert asyncio.run(main()) == expected
    assert front.remote(request=Request(scope, at_once)).result() == expected
    parts[:] = whole
    with pytest.raises(TypeError, match="read it in async code"):
        front.remote(Request(scope, slowly))


def test_metrics_of_handles(echo: DeploymentHandle[Any], eventually: Any) -> None:
    from aktis.util.metrics import exposition

    echo.remote(1).result()
    tags = f'deployment="{echo.deployment_name}"'
    eventually(lambda: any("handle_request_counter" in line and tags in line for line in exposition().splitlines()))


def test_a_trace_goes_on(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from aktis.serve._observe import tracing

    exporter = InMemorySpanExporter()
    tracing.tracer.cache_clear()
    monkeypatch.setattr(tracing, "_processors", lambda *_: [SimpleSpanProcessor(exporter)])
    traced = serve.deploy(Echo)
    monkeypatch.setenv("AKTIS_SERVE_TRACING_EXPORTER_IMPORT_PATH", "any:thing")
    try:
        meta = traced.meta.remote().result()
        with pytest.raises(ValueError, match="x"):
            traced.fail.remote("x").result()
        assert list(traced.options(stream=True).numbers.remote(2)) == [0, 1]
    finally:
        tracing.tracer.cache_clear()
    spans = exporter.get_finished_spans()
    assert [span.name.split(".")[1] for span in spans] == ["meta", "fail", "numbers"]
    assert f"{spans[0].context.trace_id:032x}" in meta.trace["traceparent"]
    assert [span.status.is_ok for span in spans] == [True, False, True]


def test_options_may_come_before_the_method() -> None:
    handle: Any = DeploymentHandle("model", methods=["generate"])
    assert handle.options(stream=True).generate.is_streaming
    with pytest.raises(AttributeError, match="no method 'generat'.*generate"):
        handle.options(method_name="generat", stream=True)
