"""Workers that die or stop before their loop has begun."""

from __future__ import annotations

import dataclasses
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import aktis.exceptions
from aktis import train
from aktis.air.config import FailureConfig, RunConfig, ScalingConfig
from aktis.train import DataParallelTrainer, TrainingFailedError
from aktis.train.backend import Backend, BackendConfig
from aktis.train.error import WorkerHungError, WorkerLostError
from aktis.util.placement_group import placement_group, remove_placement_group

pytestmark = pytest.mark.usefixtures("session")


@dataclass
class Hurts(BackendConfig):
    """Sends a signal to rank 1 of the first groups."""

    folder: str
    signal: int = signal.SIGKILL
    groups: int = 1
    then_call: bool = False  # so that it is seen while the workers are connected, not when their loop begins

    @property
    def backend_cls(self) -> type[Backend]:
        return HurtsBackend


class HurtsBackend(Backend):
    def on_start(self, worker_group: Any, backend_config: Hurts) -> None:
        number = len(os.listdir(backend_config.folder))
        if number >= backend_config.groups:
            return
        Path(backend_config.folder, str(number)).touch()
        os.kill(worker_group.workers[1].metadata.pid, backend_config.signal)
        if backend_config.then_call:
            worker_group.execute(os.getpid)


def loop() -> None:
    for step in range(2):
        train.report({"step": step})


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "groups").mkdir()
    return str(tmp_path / "groups")


def fit(backend: Hurts, run_config: RunConfig, workers: Any = 2, max_failures: int = 0) -> Any:
    return DataParallelTrainer(
        loop,
        backend_config=backend,
        scaling_config=ScalingConfig(num_workers=workers),
        run_config=dataclasses.replace(run_config, failure_config=FailureConfig(max_failures=max_failures)),
    ).fit()


@pytest.mark.parametrize("then_call", [False, True], ids=["at the beginning of its loop", "while they are connected"])
def test_a_worker_that_dies_is_lost(then_call: bool, folder: str, run_config: RunConfig) -> None:
    with pytest.raises(TrainingFailedError) as caught:
        fit(Hurts(folder, then_call=then_call), run_config)
    assert isinstance(caught.value.__cause__, WorkerLostError)
    assert "signal 9" in str(caught.value)


def test_that_is_a_failure_which_may_be_allowed(folder: str, run_config: RunConfig) -> None:
    assert fit(Hurts(folder), run_config, max_failures=1).metrics["step"] == 1


def test_a_worker_that_is_stopped_is_found(folder: str, run_config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAIN_HEARTBEAT_PERIOD_S", "0.2")
    monkeypatch.setenv("TRAIN_HEARTBEAT_TIMEOUT_S", "1.5")
    with pytest.raises(TrainingFailedError, match="rank 1 did not answer") as caught:
        fit(Hurts(folder, signal.SIGSTOP), run_config)
    assert isinstance(caught.value.__cause__, WorkerHungError)


@pytest.mark.parametrize("groups", [2, 3])
def test_elastic_runs_make_another_group_but_not_for_ever(groups: int, folder: str, run_config: RunConfig) -> None:
    backend = Hurts(folder, groups=groups, then_call=True)
    if groups == 2:
        assert fit(backend, run_config, workers=(2, 3)).metrics["step"] == 1
    else:
        with pytest.raises(TrainingFailedError, match="died"):
            fit(backend, run_config, workers=(2, 3))
    assert len(os.listdir(folder)) == groups
    everything = placement_group([{"CPU": 4}])
    assert everything.wait(20), "what the lost groups had is free again"
    remove_placement_group(everything)


def test_a_group_says_that_its_workers_died_at_their_start() -> None:
    from aktis.air.exceptions import WorkerStartError
    from aktis.air.worker_group import WorkerGroup

    class Dies:
        def __init__(self) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(WorkerStartError, match="one of 2 workers died at its start: .*signal 9"):
        WorkerGroup(2, actor_cls=Dies)
    with pytest.raises(aktis.exceptions.ActorDiedError, match="its constructor raised ZeroDivisionError"):
        WorkerGroup(2, actor_cls=Raises)


class Raises:
    def __init__(self) -> None:
        1 / 0
