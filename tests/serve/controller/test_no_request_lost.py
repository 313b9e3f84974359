"""Requests without a pause, while replicas are updated, scaled, reconfigured and killed, and the controller, too."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from tests.serve.controller.live import Live, pids, spec
from tests.serve.controller.test_controller_live import model

from aktis.serve.handle import DeploymentHandle


class Load:
    """Callers that each send one request after the other."""

    def __init__(self, callers: int = 4) -> None:
        self.answers: dict[object, int] = {}
        self.errors: list[BaseException] = []
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._progress = threading.Condition(self._lock)
        self._threads = [threading.Thread(target=self._run) for _ in range(callers)]

    def _run(self) -> None:
        handle = DeploymentHandle("model", "app")
        while not self._end.is_set():
            try:
                answer = handle.remote().result(timeout_s=20)
            except BaseException as error:
                self.errors.append(error)
                return
            with self._progress:
                self.answers[answer] = self.answers.get(answer, 0) + 1
                self._progress.notify_all()

    def some_more(self, count: int = 50) -> None:
        """Wait until so many more requests have been answered."""
        with self._progress:
            wanted = sum(self.answers.values()) + count
            assert self._progress.wait_for(lambda: self.errors or sum(self.answers.values()) >= wanted, 30)

    @contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._end.set()
            for thread in self._threads:
                thread.join()


def scale_and_update(live: Live, more: Callable[[], None]) -> None:
    for version in range(2, 4):
        live.run(spec(model(), version, version=str(version), num_replicas=2))
        more()
    live.run(spec(model(), 3, version="3", num_replicas=4))
    more()
    live.run(spec(model(), 3, version="3", num_replicas=1))
    more()
    live.run(spec(model(), 3, version="3", user_config="config"))
    more()


def test_updates_and_scaling_lose_nothing(live: Live) -> None:
    live.run(spec(model(), 1))
    load = Load()
    with load.running():
        load.some_more()
        scale_and_update(live, load.some_more)
    assert load.errors == []
    assert {1, 2, 3, "config"} <= set(load.answers)


@pytest.mark.slow
def test_deaths_lose_nothing_that_may_run_again(live: Live) -> None:
    live.run(spec(model(), 1, num_replicas=2, retry_deaths=True))
    load = Load()
    with load.running():
        for round in range(5):
            load.some_more()
            view = live.view(until=lambda now: len(now.replicas) == 2)
            os.kill(pids(view)[0], 9)
            load.some_more()
            live.kill_controller()
            load.some_more()
            live.run(spec(model(), round, version=str(round), num_replicas=2, retry_deaths=True))
    assert load.errors == []
