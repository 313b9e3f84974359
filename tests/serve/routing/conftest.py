"""A controller that says what a test tells it to say, real replicas, and a router and handles as they are."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import cloudpickle
import pytest
from tests.helpers import shared_sessions

import aktis
from aktis.serve._protocol import (
    CONTROLLER_NAME,
    NAMESPACE,
    REPLICAS,
    DeploymentID,
    DeploymentSpec,
    DeploymentView,
    ReplicaID,
    ReplicaView,
)
from aktis.serve._replica.actor import ReplicaActor
from aktis.serve._routing.router import Router
from aktis.serve.config import DeploymentConfig
from aktis.serve.handle import DeploymentHandle


class StandInController:
    """``listen`` and ``report_waiting`` of the controller; what there is, tests say."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, ...], tuple[int, Any]] = {}
        self.changed = asyncio.Event()
        self.numbers = itertools.count(1)
        self.reports: list[dict[DeploymentID, int]] = []
        self.listening: set[int] = set()

    async def attend(self, listener: str) -> None:
        await asyncio.Event().wait()

    async def listen(
        self, known: dict[tuple[str, ...], int], timeout_s: float, listener: str = "", presence: Any = ()
    ) -> dict[tuple[str, ...], Any]:
        deadline = time.monotonic() + timeout_s
        me = next(self.numbers)
        self.listening.add(me)
        try:
            while True:
                news = {
                    topic: self.values.get(topic, (0, None))
                    for topic, number in known.items()
                    if self.values.get(topic, (0, None))[0] > number
                }
                if news or time.monotonic() > deadline:
                    return news
                changed = self.changed
                try:
                    await asyncio.wait_for(changed.wait(), deadline - time.monotonic())
                except asyncio.TimeoutError:
                    return {}
        finally:
            self.listening.discard(me)

    async def say(self, topic: tuple[str, ...], value: Any) -> None:
        self.values[topic] = (next(self.numbers), value)
        self.changed.set()
        self.changed = asyncio.Event()

    async def report_waiting(self, caller: str, waiting: dict[DeploymentID, int]) -> None:
        self.reports.append(waiting)

    async def get_reports(self) -> list[dict[DeploymentID, int]]:
        return self.reports

    async def listeners(self) -> int:
        return len(self.listening)


class Serve:
    """What tests use of this folder."""

    def __init__(self) -> None:
        self.numbers = itertools.count()
        self.views: dict[DeploymentID, DeploymentView] = {}
        self.made: list[Any] = []
        self.kept: set[DeploymentID] = set()
        self.start_controller()

    def start_controller(self) -> None:
        actor = aktis.remote(StandInController)
        self.controller = actor.options(
            name=CONTROLLER_NAME, namespace=NAMESPACE, lifetime="detached", num_cpus=0, max_restarts=-1
        ).remote()
        self.say_all()

    def say_all(self) -> None:
        for view in self.views.values():
            self.say(view)

    def say(self, view: DeploymentView) -> None:
        self.views[view.id] = view
        aktis.get(self.controller.say.remote((REPLICAS, *view.id), view))

    def delete(self, id: DeploymentID) -> None:
        self.views.pop(id, None)
        aktis.get(self.controller.say.remote((REPLICAS, *id), None))

    def replica(self, id: DeploymentID, code: Any, max_ongoing: int) -> ReplicaView:
        config = DeploymentConfig(max_ongoing_requests=max_ongoing)
        spec = DeploymentSpec(
            name=id.name,
            config=config,
            callable=cloudpickle.dumps(code),
            init=cloudpickle.dumps(((), {})),
            version="1",
        )
        replica = ReplicaID(id.app, id.name, f"{next(self.numbers):08}")
        actor = (
            aktis.remote(ReplicaActor)
            .options(num_cpus=0, max_concurrency=1_000_000, name=replica.actor_name, namespace=NAMESPACE)
            .remote(replica, spec, id.app)
        )
        aktis.get(actor.start.remote(None))
        self.made.append((id, actor))
        return ReplicaView(replica, actor, max_ongoing)

    def deploy(self, code: Any, replicas: int = 1, max_ongoing: int = 100, **view: Any) -> DeploymentHandle[Any]:
        """A deployment with real replicas, and a handle of it."""
        name = getattr(code, "__name__", "D")
        id = DeploymentID("app", f"{name}{next(self.numbers)}")
        views = tuple(self.replica(id, code, max_ongoing) for _ in range(replicas))
        self.say(DeploymentView(id, views, **view))
        return DeploymentHandle(id)

    def change(self, handle: DeploymentHandle[Any], **changes: Any) -> None:
        self.say(replace(self.views[handle.deployment_id], **changes))

    def router(self, handle: DeploymentHandle[Any]) -> Router:
        return Router.of(handle.deployment_id)

    def clear(self) -> None:
        """End what a test has made; what is kept is for several."""
        for id, actor in self.made:
            if id not in self.kept:
                aktis.kill(actor)
        self.made = [(id, actor) for id, actor in self.made if id in self.kept]
        for id in set(self.views) - self.kept:
            self.delete(id)


@pytest.fixture(scope="module")
def serve_session() -> Iterator[Serve]:
    shared_sessions.end()
    # Imported once, and not by each replica that a test starts.
    aktis.init(num_cpus=2, namespace="tests", preload=["aktis.serve._replica.actor", "aktis.serve.handle"])
    yield Serve()
    aktis.shutdown()


@pytest.fixture
def serve(serve_session: Serve) -> Iterator[Serve]:
    yield serve_session
    serve_session.clear()


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """Wait until something holds that another thread or process brings about."""

    def wait(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
            time.sleep(0.005)
        return value

    return wait
