"""The older Trainer when workers die: they are made anew, as often as allowed, and go on from the latest checkpoint."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aktis
from aktis import train
from aktis.train.backend import BackendConfig
from aktis.train.callbacks import TrainingCallback
from aktis.train.error import TrainingFailedError
from aktis.train.trainer import Trainer


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    aktis.init(num_cpus=2)
    yield
    aktis.shutdown()


def trainer_in(tmp_path: Path, **arguments: Any) -> Trainer:
    return Trainer(BackendConfig(), num_workers=2, logdir=tmp_path / "logs", **arguments)


class Killer(TrainingCallback):
    """Kills the worker that reported as rank 1, with the given reports."""

    def __init__(self, *reports: int) -> None:
        self.reports = reports
        self.seen: list[int] = []

    def handle_result(self, results: list[dict[str, Any]], **info: Any) -> None:
        self.seen.append(results[0]["epoch"])
        if len(self.seen) in self.reports:
            os.kill(results[1]["pid"], signal.SIGKILL)


def loop() -> int:
    checkpoint = train.load_checkpoint()
    first = 0 if checkpoint is None else checkpoint["epoch"] + 1
    for epoch in range(first, 4):
        train.report(epoch=epoch, pid=os.getpid())
        train.save_checkpoint(epoch=epoch)
    return first


def test_a_run_goes_on_from_the_latest_checkpoint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with trainer_in(tmp_path) as trainer:
        killer = Killer(3)
        # The worker dies in the report of epoch 2, before its checkpoint: that of epoch 1 is the latest.
        assert trainer.run(loop, callbacks=[killer]) == [2, 2]
        assert killer.seen == [0, 1, 2, 2, 3]
        assert trainer.latest_checkpoint is not None and trainer.latest_checkpoint["epoch"] == 3
        assert trainer.latest_checkpoint_dir is not None
        assert len(list(trainer.latest_checkpoint_dir.iterdir())) == 4
        assert "the workers are made anew (1 of 3 retries)" in caplog.text
        assert trainer.run(lambda: 1) == [1, 1]


def test_without_a_checkpoint_a_run_begins_again_with_what_it_was_given(tmp_path: Path) -> None:
    def plain() -> Any:
        checkpoint = train.load_checkpoint()
        for epoch in range(2):
            train.report(epoch=epoch, pid=os.getpid())
        return checkpoint

    with trainer_in(tmp_path) as trainer:
        killer = Killer(2)
        assert trainer.run(plain, callbacks=[killer], checkpoint={"weights": 7}) == [{"weights": 7}] * 2
        assert killer.seen == [0, 1, 0, 1]


def test_too_many_failures_end_the_run_with_the_reason(tmp_path: Path) -> None:
    with trainer_in(tmp_path, max_retries=1) as trainer:
        with pytest.raises(TrainingFailedError, match=r"(?s)failed 2 times .*max_retries=1.*1 of 2 workers died"):
            trainer.run(loop, callbacks=[Killer(1, 2, 3)])
        with pytest.raises(TrainingFailedError, match="failed 3 times"):  # in all runs together
            trainer.run(loop, callbacks=[Killer(1)])
        assert trainer.run(lambda: 1) == [1, 1]


def test_errors_of_the_function_are_not_retried(tmp_path: Path) -> None:
    path = tmp_path / "calls"

    def fails() -> None:
        with open(path, "a") as file:
            file.write(".")
        raise ValueError("always")

    with trainer_in(tmp_path) as trainer:
        with pytest.raises(ValueError, match="always"):
            trainer.run(fails)
    assert 1 <= len(path.read_text()) <= 2


def test_workers_that_die_in_their_hook_are_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "died"

    def dies_once() -> None:
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            return
        os._exit(1)

    trainer = trainer_in(tmp_path)
    trainer.start(initialization_hook=dies_once)
    assert trainer.run(lambda: 1) == [1, 1]
    trainer.shutdown()

    with pytest.raises(TrainingFailedError, match="failed 2 times"):
        trainer_in(tmp_path, max_retries=1).start(initialization_hook=lambda: os._exit(1))


def test_workers_that_died_between_two_runs_are_made_anew(tmp_path: Path) -> None:
    with trainer_in(tmp_path) as trainer:
        pids = trainer.run(os.getpid)
        os.kill(pids[1], signal.SIGKILL)
        assert trainer.run(train.world_rank) == [0, 1]
        assert pids[1] not in trainer.run(os.getpid)


def test_a_trainer_with_an_error_in_its_hook_can_start_again(tmp_path: Path) -> None:
    def hook() -> None:
        raise ValueError("no data here")

    trainer = trainer_in(tmp_path)
    with pytest.raises(ValueError, match="no data here"):
        trainer.start(hook)
    assert aktis.available_resources()["CPU"] == 2
    trainer.start()
    assert trainer.run(lambda: 1) == [1, 1]
    trainer.shutdown()
