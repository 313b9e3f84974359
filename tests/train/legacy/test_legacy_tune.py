"""Training functions of the older Trainer as trials of Tune."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aktis
from aktis import train, tune
from aktis.train.backend import BackendConfig
from aktis.train.trainer import Trainer


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    aktis.init(num_cpus=2)
    yield
    aktis.shutdown()


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUNE_RESULT_DIR", str(tmp_path))


def loop(config: dict[str, Any]) -> None:
    checkpoint = train.load_checkpoint()
    first = 0 if checkpoint is None else checkpoint["epoch"] + 1
    for epoch in range(first, 3):
        train.report(score=config["x"] * (epoch + 1), rank=train.world_rank(), size=train.world_size())
        train.save_checkpoint(epoch=epoch, x=config["x"])
        if config.get("kill") and epoch == 1 and train.world_rank() == 1 and first == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def test_results_and_checkpoints_of_rank_0_are_those_of_the_trial() -> None:
    trainable = Trainer(BackendConfig(), num_workers=2).to_tune_trainable(loop)
    analysis = tune.run(trainable, config={"x": tune.grid_search([1, 2])}, metric="score", mode="max", verbose=0)
    assert analysis.best_config == {"x": 2}
    for trial in analysis.trials:
        assert trial.last_result["score"] == 3 * trial.config["x"]
        assert (trial.last_result["rank"], trial.last_result["size"]) == (0, 2)
        checkpoint = analysis.get_last_checkpoint(trial)
        assert checkpoint is not None
        assert checkpoint.to_dict()["epoch"] == 2  # saved after the last report
        assert checkpoint.to_dict()["x"] == trial.config["x"]
    assert aktis.available_resources()["CPU"] == 2


def test_workers_of_a_trial_are_made_anew() -> None:
    trainable = Trainer(BackendConfig(), num_workers=2, max_retries=1).to_tune_trainable(loop)
    results = tune.Tuner(trainable, param_space={"x": 1, "kill": True}).fit()
    assert results[0].error is None
    assert results[0].metrics is not None and results[0].metrics["score"] == 3
    assert results[0].checkpoint is not None and results[0].checkpoint.to_dict()["epoch"] == 2


def test_errors_and_data(tmp_path: Path) -> None:
    from aktis import data

    def with_data(config: dict[str, Any]) -> None:
        if config["x"]:
            raise RuntimeError("x is not 0")
        train.report(rows=train.get_dataset_shard("train").count())

    trainer = Trainer(BackendConfig(), num_workers=2)
    trainable = trainer.to_tune_trainable(with_data, dataset={"train": data.range(6)})
    results = tune.Tuner(trainable, param_space={"x": tune.grid_search([0, 1])}).fit()
    assert results[0].metrics is not None and results[0].metrics["rows"] == 3
    assert "x is not 0" in str(results[1].error)
    with pytest.raises(ValueError, match="one argument, the config, or none"):
        trainer.to_tune_trainable(lambda a, b: None)  # type: ignore[arg-type,misc]


def test_more_workers_than_cpus_in_a_trial() -> None:
    trainable = Trainer(BackendConfig(), num_workers=4).to_tune_trainable(lambda: train.report(size=train.world_size()))
    results = tune.Tuner(trainable).fit()
    assert results[0].metrics is not None and results[0].metrics["size"] == 4
