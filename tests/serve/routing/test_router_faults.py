"""Routers and handles when things go wrong: rejections, deaths, a controller that is away, deletion, sessions that end."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from typing import Any

import pytest

import aktis
from aktis._native import protocol
from aktis.exceptions import AktisActorError
from aktis.serve._protocol import DeploymentID, DeploymentView, RequestMeta
from aktis.serve._routing.calls import MOST_DEATHS
from aktis.serve._routing.router import Router
from aktis.serve.context import request_context
from aktis.serve.exceptions import DeploymentUnavailableError, RequestCancelledError, RequestTimeoutError
from aktis.serve.handle import DeploymentHandle

META = RequestMeta("r", "c")


class Worker:
    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.calls = 0
        self.events: list[str] = []

    async def __call__(self, seconds: float = 0.0) -> int:
        self.running += 1
        self.calls += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.events.append("cancelled")
            raise
        finally:
            self.running -= 1
        return os.getpid()

    async def seen(self) -> tuple[int, int]:
        return self.most, self.calls

    async def log(self) -> list[str]:
        return self.events

    async def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async def die_once(self, path: str) -> int:
        if not os.path.exists(path):
            with open(path, "w"):
                pass
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    async def items_then_die(self, count: int, path: str) -> Any:
        first = not os.path.exists(path)
        with open(path, "w"):
            pass
        for number in range(count):
            yield number
        if first:
            await asyncio.sleep(0.1)
            os.kill(os.getpid(), signal.SIGKILL)


class Caller:
    """Calls made on behalf of its own."""

    def __init__(self) -> None:
        self.handle: Any = None

    async def call(self, handle: DeploymentHandle[Any], seconds: float) -> Any:
        return await handle.remote(seconds)

    async def many(self, handle: DeploymentHandle[Any], number: int) -> Any:
        return await asyncio.gather(*(handle.remote(0.001) for _ in range(number)))


def test_threads_and_loops_at_once(serve: Any) -> None:
    handle = serve.deploy(Worker, replicas=2, max_ongoing=3)
    router = serve.router(handle)
    errors: list[BaseException] = []

    def thread() -> None:
        try:
            for _ in range(60):
                handle.remote(0.0).result(timeout_s=20)
                router.acquire_blocking(META, 20).release()
        except BaseException as error:
            errors.append(error)

    async def loop() -> None:
        async def one() -> None:
            for _ in range(10):
                await handle.remote(0.001)
                (await router.acquire(META)).release()

        await asyncio.gather(*(one() for _ in range(10)))

    def loop_thread() -> None:
        try:
            asyncio.run(asyncio.wait_for(loop(), 30))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=target) for target in (thread, thread, loop_thread, loop_thread)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(40)
        assert not each.is_alive()
    assert not errors
    assert router.ongoing == 0
    assert router.waiting == 0
    most = [
        aktis.get(view.actor.quick.remote("", "", "seen", "", "", "", False, 0.0, None))
        for view in router.view.replicas
    ]
    assert max(one for one, _ in most) <= 3


def test_calls_that_nobody_looks_at_do_not_count_for_ever(serve: Any, eventually: Any) -> None:
    handle = serve.deploy(Worker, replicas=2)
    router = serve.router(handle)
    kept = [handle.remote() for _ in range(100)]

    def settled() -> bool:
        kept.extend(handle.remote() for _ in range(10))
        return bool(router.ongoing < len(kept) / 2)

    eventually(settled)
    assert all(response.result() for response in kept)
    assert router.ongoing == 0


def test_a_limit_is_strict_over_several_callers(serve: Any) -> None:
    handle = serve.deploy(Worker, max_ongoing=2)
    callers = [serve.deploy(Caller) for _ in range(2)]
    responses = [caller.many.remote(handle, 40) for caller in callers]
    mine = [handle.remote(0.001) for _ in range(40)]
    for response in (*responses, *mine):
        response.result(timeout_s=30)
    most, calls = handle.seen.remote().result()
    assert (most, calls) == (2, 120)


def test_cancelling_goes_on_to_calls_made_on_behalf(serve: Any, eventually: Any) -> None:
    handle, caller = serve.deploy(Worker), serve.deploy(Caller)
    response = caller.call.remote(handle, 60)
    eventually(lambda: handle.seen.remote().result()[1] == 1)
    response.cancel()
    with pytest.raises(RequestCancelledError):
        response.result(timeout_s=10)
    eventually(lambda: handle.log.remote().result() == ["cancelled"])


def test_scale_from_zero(serve: Any, eventually: Any) -> None:
    id = DeploymentID("app", "zero")
    serve.say(DeploymentView(id, (), reports=True))
    handle: DeploymentHandle[Any] = DeploymentHandle(id)
    response = handle.remote()
    eventually(lambda: any(report.get(id) == 1 for report in aktis.get(serve.controller.get_reports.remote())))
    serve.say(DeploymentView(id, (serve.replica(id, Worker, 10),), reports=True))
    assert response.result(timeout_s=10)
    eventually(lambda: aktis.get(serve.controller.get_reports.remote())[-1].get(id) == 0)


def test_waiting_ends_at_the_deadline(serve: Any) -> None:
    id = DeploymentID("app", "nothing")
    serve.say(DeploymentView(id, ()))
    handle: DeploymentHandle[Any] = DeploymentHandle(id)
    token = request_context.set(META._replace(deadline=time.time() + 0.1))
    try:
        response = handle.remote()
    finally:
        request_context.reset(token)
    with pytest.raises(RequestTimeoutError):
        response.result(timeout_s=10)
    with pytest.raises(RequestTimeoutError):
        Router.of(id).acquire_blocking(META, 0.01)
    assert Router.of(id).waiting == 0


def test_an_awaiting_task_that_is_cancelled_leaves_the_line(serve: Any) -> None:
    handle = serve.deploy(Worker, max_ongoing=1)
    router = serve.router(handle)
    lease = router.acquire_blocking(META, 10)

    async def main() -> None:
        task = asyncio.ensure_future(router.acquire(META))
        await asyncio.sleep(0.01)
        assert router.waiting == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert router.waiting == 0
        task = asyncio.ensure_future(router.acquire(META))
        await asyncio.sleep(0.01)
        lease.release()  # served and cancelled at once: the replica comes back
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert router.ongoing == 0


def test_a_replica_that_dies(serve: Any, tmp_path: Any) -> None:
    handle = serve.deploy(Worker, replicas=2)
    with pytest.raises(AktisActorError):
        handle.die.remote().result(timeout_s=10)
    assert handle.remote().result(timeout_s=10)
    handle = serve.deploy(Worker, replicas=2)
    assert handle.options(idempotent=True).die_once.remote(str(tmp_path / "a")).result(timeout_s=10)
    handle = serve.deploy(Worker, replicas=2, retry_deaths=True)
    assert asyncio.run(_await(handle.die_once.remote(str(tmp_path / "b"))))
    handle = serve.deploy(Worker, replicas=3)
    items = handle.options(stream=True, retry=True).items_then_die.remote(3, str(tmp_path / "c"))
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(AktisActorError):  # the user has items already: it does not begin again
        next(items)
    items = handle.options(stream=True, retry=True).items_then_die.remote(0, str(tmp_path / "d"))
    assert list(items) == []
    assert serve.router(handle).ongoing == 0


def test_a_call_that_kills_replicas_does_not_get_all_of_them(serve: Any) -> None:
    handle = serve.deploy(Worker, replicas=MOST_DEATHS + 1)
    with pytest.raises(AktisActorError):
        handle.options(idempotent=True).die.remote().result(timeout_s=20)
    assert handle.remote().result(timeout_s=10)


def test_what_was_not_sent_to_the_dead_goes_to_another_one(
    serve: Any, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = serve.deploy(Worker, replicas=2)
    assert handle.remote().result(timeout_s=10)
    view = serve.views[handle.deployment_id].replicas[0]
    pid = aktis.get(view.actor.call.remote(META, (), {}))
    client = view.actor._hold.client
    core = client.core
    hear = core.handlers[protocol.ACTOR_STATE]
    news: list[Any] = []
    monkeypatch.setitem(core.handlers, protocol.ACTOR_STATE, lambda *message: news.append(message))
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: client.connection is None and news)
    responses = [handle.remote(0.01) for _ in range(20)]  # half of them wait for somebody who will never come back
    assert client.queue
    for message in news:
        hear(*message)
    assert pid not in {response.result(timeout_s=20) for response in responses}


async def _await(response: Any) -> Any:
    return await response


def test_deaths_under_load(serve: Any) -> None:
    handle = serve.deploy(Worker, replicas=3, max_ongoing=5)
    idempotent = handle.options(idempotent=True)
    router = serve.router(handle)
    pids = Counter(response.result() for response in [handle.remote(0.01) for _ in range(30)])
    assert len(pids) == 3

    async def main() -> list[int]:
        async def calls() -> list[int]:
            return [await idempotent.remote(0.001) for _ in range(20)]

        tasks = [asyncio.ensure_future(calls()) for _ in range(20)]
        await asyncio.sleep(0.02)
        for pid in list(pids)[:2]:
            os.kill(pid, signal.SIGKILL)
        return [pid for task in tasks for pid in await asyncio.wait_for(task, 30)]

    answers = asyncio.run(main())
    assert len(answers) == 400
    assert answers[-1] == list(pids)[2]
    assert router.ongoing == 0


def test_the_controller_dies_and_comes_back(serve: Any, eventually: Any) -> None:
    handle = serve.deploy(Worker)
    pid = handle.remote().result()
    aktis.kill(serve.controller, no_restart=False)
    assert handle.remote().result(timeout_s=10) == pid  # what is known stays in use
    view = serve.replica(handle.deployment_id, Worker, 10)
    serve.change(handle, replicas=(view,))  # the new one says something else
    eventually(lambda: handle.remote().result() != pid)
    # and a controller of another life, under the same name
    aktis.kill(serve.controller)
    assert handle.remote().result(timeout_s=10) != pid
    eventually(lambda: _is_gone())
    serve.start_controller()
    serve.say(DeploymentView(DeploymentID("app", "late"), (serve.replica(DeploymentID("app", "late"), Worker, 1),)))
    assert DeploymentHandle("late", "app").remote().result(timeout_s=10)


def _is_gone() -> bool:
    from aktis.serve._protocol import CONTROLLER_NAME, NAMESPACE

    try:
        aktis.get_actor(CONTROLLER_NAME, namespace=NAMESPACE)
    except ValueError:
        return True
    return False


def test_without_serve_and_in_a_new_session(serve: Any) -> None:
    handle = serve.deploy(Worker)
    router = serve.router(handle)
    assert handle.remote().result()
    aktis.kill(serve.controller)
    nobody: DeploymentHandle[Any] = DeploymentHandle("nobody", "app")
    with pytest.raises(DeploymentUnavailableError, match="Serve is not running"):
        nobody.remote().result(timeout_s=10)
    serve.made.clear()
    aktis.shutdown()
    for thread in threading.enumerate():
        if thread.name == "aktis-serve-watcher":
            thread.join(10)
            assert not thread.is_alive()
    with pytest.raises(DeploymentUnavailableError, match="session"):
        router.acquire_blocking(META, 10)
    aktis.init(num_cpus=2, namespace="tests")
    serve.views.clear()
    serve.start_controller()
    serve.say(DeploymentView(handle.deployment_id, (serve.replica(handle.deployment_id, Worker, 5),)))
    assert handle.remote().result(timeout_s=10)  # the same handle
