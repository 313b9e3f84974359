"""cancel."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

import aktis

pytestmark = pytest.mark.usefixtures("session")

TaskCancelledError = aktis.exceptions.TaskCancelledError


@aktis.remote
class Gate:
    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.cancelled = 0

    async def wait(self) -> None:
        try:
            await self.event.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def open(self) -> None:
        self.event.set()

    async def count(self) -> int:
        return self.cancelled


@aktis.remote
def identity(value: Any) -> Any:
    return value


def test_a_task_that_waits_for_its_arguments() -> None:
    gate = Gate.remote()
    ref = identity.remote(gate.wait.remote())
    dependent = identity.remote(ref)
    aktis.cancel(ref)
    with pytest.raises(TaskCancelledError):
        aktis.get(ref)
    with pytest.raises(TaskCancelledError):
        aktis.get(dependent)
    aktis.get(gate.open.remote())


def test_a_finished_task() -> None:
    ref = identity.remote(1)
    assert aktis.get(ref) == 1
    aktis.cancel(ref)
    assert aktis.get(ref) == 1


def test_an_async_call() -> None:
    gate = Gate.remote()
    ref = gate.wait.remote()
    assert aktis.get(gate.count.remote()) == 0  # the actor is up, and the first call waits
    aktis.cancel(ref)
    with pytest.raises(TaskCancelledError):
        aktis.get(ref)
    deadline = time.monotonic() + 20
    while aktis.get(gate.count.remote()) != 1:
        assert time.monotonic() < deadline


def test_force_is_not_for_actors() -> None:
    gate = Gate.remote()
    ref = gate.wait.remote()
    with pytest.raises(ValueError):
        aktis.cancel(ref, force=True)
    aktis.get(gate.open.remote())
    aktis.get(ref)


@pytest.mark.parametrize("value", [1, "ref", None, [1]])
def test_of_something_else(value: Any) -> None:
    with pytest.raises(TypeError):
        aktis.cancel(value)


def test_cancelled_tasks_are_not_retried() -> None:
    gate = Gate.remote()
    ref = identity.options(max_retries=5, retry_exceptions=True).remote(gate.wait.remote())
    aktis.cancel(ref)
    with pytest.raises(TaskCancelledError):
        aktis.get(ref)
    aktis.get(gate.open.remote())


@pytest.mark.only("native", "nothing runs beside the driver inline")
@pytest.mark.parametrize("force", [False, True])
def test_a_running_task(force: bool) -> None:
    @aktis.remote
    class Started:
        def __init__(self) -> None:
            self.event = asyncio.Event()

        async def set(self) -> None:
            self.event.set()

        async def wait(self) -> None:
            await self.event.wait()

    @aktis.remote(max_retries=0)
    def run(started: Any) -> None:
        aktis.get(started.set.remote())
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            time.sleep(0.01)

    started = Started.remote()
    ref = run.remote(started)
    aktis.get(started.wait.remote())
    begin = time.monotonic()
    aktis.cancel(ref, force=force)
    with pytest.raises((TaskCancelledError, aktis.exceptions.WorkerCrashedError)):
        aktis.get(ref)
    assert time.monotonic() - begin < 15


@pytest.mark.only("native", "nothing queues inline")
def test_a_queued_task() -> None:
    gate = Gate.remote()

    @aktis.remote(resources={"widget": 2})
    def hold(refs: list[Any]) -> None:
        aktis.get(refs)

    first = hold.remote([gate.wait.remote()])
    second = hold.remote([])
    aktis.cancel(second)
    with pytest.raises(TaskCancelledError):
        aktis.get(second)
    aktis.get(gate.open.remote())
    aktis.get(first)
