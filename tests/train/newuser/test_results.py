"""What a run leaves, and what is read from its directory later."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from aktis import train
from aktis.air import Checkpoint, Result
from aktis.air.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from aktis.train import DataParallelTrainer, TrainingFailedError

pytestmark = pytest.mark.usefixtures("session")
ONE = ScalingConfig(num_workers=1)


def every_other(config: dict[str, str]) -> None:
    """Six reports, of which every other one has a checkpoint; once it fails on its way."""
    checkpoint = train.get_checkpoint()
    start = checkpoint.to_dict()["step"] + 1 if checkpoint else 0
    for step in range(start, 6):
        if step == 4 and not Path(config["flag"]).exists():
            Path(config["flag"]).touch()
            raise ValueError("once")
        train.report({"step": step}, checkpoint=Checkpoint.from_dict({"step": step}) if step % 2 else None)


def test_checkpoints_are_read_with_the_metrics_that_they_were_reported_with(
    tmp_path: Path, run_config: RunConfig
) -> None:
    config = dataclasses.replace(run_config, failure_config=FailureConfig(max_failures=1))
    result = DataParallelTrainer(
        every_other, train_loop_config={"flag": str(tmp_path / "flag")}, scaling_config=ONE, run_config=config
    ).fit()
    for pairs in (result.best_checkpoints, Result.from_path(str(result.path)).best_checkpoints):
        assert [(checkpoint.to_dict()["step"], metrics["step"]) for checkpoint, metrics in pairs] == [
            (1, 1),
            (3, 3),
            (5, 5),
        ]


def test_an_error_says_whether_there_is_a_checkpoint_to_go_on_from(tmp_path: Path, run_config: RunConfig) -> None:
    def fails() -> None:
        raise ValueError("at once")

    with pytest.raises(TrainingFailedError, match="is mended, begin again with DataParallelTrainer.restore"):
        DataParallelTrainer(fails, scaling_config=ONE, run_config=run_config).fit()


def test_a_score_that_nobody_reports_is_said_once(
    run_config: RunConfig, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    kept = CheckpointConfig(num_to_keep=1, checkpoint_score_attribute="accuracy")
    config = dataclasses.replace(run_config, checkpoint_config=kept)
    flag = tmp_path / "flag"
    flag.touch()
    DataParallelTrainer(every_other, train_loop_config={"flag": str(flag)}, scaling_config=ONE, run_config=config).fit()
    assert caplog.text.count("the checkpoint_score_attribute 'accuracy' is not among the metrics") == 1
