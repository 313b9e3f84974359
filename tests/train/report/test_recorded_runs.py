"""Runs of trainers: what is recorded of them, what fit() prints, and what is left for a page."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from aktis import air, train
from aktis.train._report.record import FILE_NAME, RunRecord, read_record
from aktis.train.html_report import write_report

pytestmark = pytest.mark.usefixtures("session")

TWO = air.ScalingConfig(num_workers=2)


def loop(config: dict[str, Any]) -> None:
    context: train.TrainContext = train.get_context()
    checkpoint = train.get_checkpoint()
    start = 0 if checkpoint is None else checkpoint.to_dict()["step"] + 1
    for step in range(start, config["steps"]):
        if step == config.get("at") and context.get_world_rank() == 1 and checkpoint is None:
            if config["does"] == "raise":
                raise ValueError("boom")
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(config.get("takes", 0.0))
        train.report(
            {"loss": 1.0 / (1 + step + context.get_world_rank())}, checkpoint=air.Checkpoint.from_dict({"step": step})
        )


def record_of(directory: Any) -> RunRecord:
    return read_record(Path(directory) / FILE_NAME)


def test_a_run_is_recorded(run_config: air.RunConfig) -> None:
    trainer = train.DataParallelTrainer(
        loop,
        train_loop_config={"steps": 5, "lr": 0.1, "takes": 0.06},  # faster rounds would share a line
        scaling_config=TWO,
        run_config=run_config,
    )
    result = trainer.fit()
    record = record_of(result.log_dir)
    assert record.state == "ended" and not record.restarts
    assert record.info["trainer"] == "DataParallelTrainer"
    assert [rounds.count for rounds in record.rounds] == [1] * 5
    assert sum(rounds.checkpoints for rounds in record.rounds) == 5
    assert all(len(rounds.loop) == 2 and min(rounds.loop) > 0 for rounds in record.rounds)
    assert len({worker["pid"] for worker in record.workers}) == 2
    last = record.rounds[-1].metrics["loss"]
    assert last == [pytest.approx(1 / 5), pytest.approx(1 / 6, rel=1e-4)], "of both ranks"
    text = write_report(str(result.log_dir)).read_text()
    assert "<td>train_loop_config/lr</td>" in text and "Metrics of each rank" in text


def reading(config: dict[str, Any]) -> None:
    shard = train.get_dataset_shard("train")
    for _ in range(3):
        rows = sum(len(batch["value"]) for batch in shard.iter_batches(batch_size=10, batch_format="numpy"))
        train.report({"rows": rows})


def test_what_is_read_of_data_sets_is_recorded(run_config: air.RunConfig) -> None:
    from aktis import data

    trainer = train.DataParallelTrainer(
        reading, scaling_config=TWO, run_config=run_config, datasets={"train": data.range_table(1000, parallelism=4)}
    )
    result = trainer.fit()
    assert result.metrics is not None and result.metrics["rows"] == 500
    record = record_of(result.log_dir)
    assert record.info["datasets"] == ["train"]
    assert sum(rounds.rows for rounds in record.rounds) == 3 * 1000
    assert all(0 <= sum(rounds.data) <= sum(rounds.loop) for rounds in record.rounds)
    assert "of data sets" in write_report(str(result.log_dir)).read_text()


def test_a_failure_is_recorded_with_its_rank(run_config: air.RunConfig) -> None:
    config = {"steps": 5, "at": 2, "does": "raise"}
    trainer = train.DataParallelTrainer(loop, train_loop_config=config, scaling_config=TWO, run_config=run_config)
    with pytest.raises(train.TrainingFailedError):
        trainer.fit()
    (directory,) = (path.parent for path in Path(str(run_config.local_dir)).rglob(FILE_NAME))
    assert record_of(directory).state == "failed"
    text = write_report(directory).read_text()
    error = re.search(r"<h2>Error</h2><p><b class='bad'>(.*?)</b></p><pre>(.*?)</pre>", text, re.DOTALL)
    assert error is not None and error[1] == "Rank 1: ValueError: boom"
    assert "test_recorded_runs.py" in error[2] and "_execution" not in error[2]


def test_a_restart_is_told_and_recorded(run_config: air.RunConfig, capfd: pytest.CaptureFixture[str]) -> None:
    shown = dataclasses.replace(
        run_config, verbose=1, failure_config=air.FailureConfig(max_failures=1),
        checkpoint_config=air.CheckpointConfig(checkpoint_score_attribute="loss", checkpoint_score_order="min"),
    )  # fmt: skip
    config = {"steps": 4, "at": 2, "does": "die"}
    trainer = train.DataParallelTrainer(loop, train_loop_config=config, scaling_config=TWO, run_config=shown)
    result = trainer.fit()
    record = record_of(result.log_dir)
    (restart,) = record.restarts
    assert "1 of 2 workers died. rank 1" in restart.text
    assert len(record.startups) == 2
    output, errors = capfd.readouterr()
    told = [line for line in output.splitlines() if line]
    assert re.fullmatch(
        r"\[.* s\] DataParallelTrainer run: restart 1 with 2 workers: 1 of 2 workers died\. rank 1 .*", told[0]
    )
    assert re.fullmatch(r"\[.* s\] DataParallelTrainer run: finished, iteration 4, loss 0\.25; 2 workers", told[1])
    assert [line.split()[:2] for line in told[2:]] == [
        ["results", str(result.log_dir)], ["best", "checkpoint_000003"], ["page", "python"]
    ]  # fmt: skip
    assert "Traceback" not in errors and "failed" not in errors, "the line about the restart says it all"
    assert "Restarts and resizes" in write_report(str(result.log_dir)).read_text()


def test_silent_is_silent(run_config: air.RunConfig, capfd: pytest.CaptureFixture[str]) -> None:
    train.DataParallelTrainer(loop, train_loop_config={"steps": 2}, scaling_config=TWO, run_config=run_config).fit()
    assert capfd.readouterr() == ("", "")


class Alone(train.BaseTrainer):
    """A trainer without workers, which fails once."""

    def training_loop(self) -> None:
        from aktis.air import session

        checkpoint = self.resume_from_checkpoint
        session.report({"x": 1.0}, checkpoint=air.Checkpoint.from_dict({"x": 1}))
        if checkpoint is None:
            raise ValueError("once")


def test_a_trainer_without_workers_is_recorded(run_config: air.RunConfig, capfd: pytest.CaptureFixture[str]) -> None:
    shown = dataclasses.replace(run_config, verbose=1, failure_config=air.FailureConfig(max_failures=1))
    result = Alone(run_config=shown).fit()
    record = record_of(result.log_dir)
    assert record.state == "ended" and record.info["trainer"] == "Alone" and not record.workers
    assert len(record.restarts) == 1
    output, _ = capfd.readouterr()
    lines = [line.partition("] ")[2] for line in output.splitlines() if line.startswith("[")]
    assert lines == ["Alone run: restart 1: ValueError: once", "Alone run: finished, iteration 2, x 1"]
    text = write_report(str(result.log_dir)).read_text()
    assert "<h1>Alone · run</h1>" in text and "ValueError: once" in text
