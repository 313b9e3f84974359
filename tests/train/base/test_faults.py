"""Workers that raise, die, stop, or do something else than the others; and runs that go on nevertheless."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import aktis
from aktis import train
from aktis.air import Checkpoint
from aktis.air.config import FailureConfig, RunConfig, ScalingConfig
from aktis.train import DataParallelTrainer, TrainingFailedError
from aktis.train.backend import Backend, BackendConfig
from aktis.train.error import UnequalReportsError, WorkerHungError, WorkerLostError
from aktis.util.placement_group import placement_group, remove_placement_group

pytestmark = pytest.mark.usefixtures("session")
TWO = ScalingConfig(num_workers=2)


def all_cpus_are_free() -> bool:
    """Whether what a run took is given back, which may take a moment."""
    group = placement_group([{"CPU": 4}])
    free = group.wait(20)
    remove_placement_group(group)
    return free


def in_a_helper(step: int) -> None:
    raise ValueError(f"bad batch {step}")


def loop(config: dict[str, Any]) -> None:
    """Steps, six by default, with a checkpoint each; in step 3 rank 1 does what ``config["what"]`` says, once."""
    checkpoint = train.get_checkpoint()
    start = checkpoint.to_dict()["step"] + 1 if checkpoint else 0
    rank = train.world_rank()
    for step in range(start, config.get("steps", 6)):
        if step == 3 and rank == config.get("rank", 1) and not os.path.exists(config["flag"]):
            Path(config["flag"]).touch()
            misbehave(config["what"], step)
        train.report(
            {"step": step, "start": start, "size": train.world_size(), "pid": os.getpid()},
            checkpoint=Checkpoint.from_dict({"step": step}),
        )


def misbehave(what: str, step: int) -> None:
    if what == "raise":
        in_a_helper(step)
    elif what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif what == "exit":
        sys.exit(3)
    elif what == "sleep":
        time.sleep(1000)
    elif what == "unpicklable":
        raise Unpicklable("it holds a lock", open(os.devnull))


class Unpicklable(Exception):
    pass


class Leaves(DataParallelTrainer):
    """Its rank 1 returns too early."""


def trainer(what: str, tmp_path: Path, run_config: RunConfig, **arguments: Any) -> DataParallelTrainer:
    failures = arguments.pop("max_failures", 0)
    rank = arguments.pop("rank", 1)
    config = dataclasses.replace(run_config, failure_config=FailureConfig(max_failures=failures))
    return DataParallelTrainer(
        loop,
        train_loop_config={"what": what, "flag": str(tmp_path / "flag"), "rank": rank},
        run_config=config,
        **{"scaling_config": TWO, **arguments},
    )


@pytest.mark.parametrize("rank", [0, 1])
def test_the_frame_of_the_user_comes_first(rank: int, tmp_path: Path, run_config: RunConfig) -> None:
    with pytest.raises(TrainingFailedError) as caught:
        trainer("raise", tmp_path, run_config, rank=rank).fit()
    first = str(caught.value).splitlines()[0]
    assert first.startswith(f"DataParallelTrainer rank={rank} failed: ValueError: bad batch 3 (")
    assert first.endswith("in in_a_helper)")
    assert isinstance(caught.value.__cause__, ValueError)
    assert ".restore(" in str(caught.value)


def test_a_failed_run_goes_on_from_its_latest_checkpoint(tmp_path: Path, run_config: RunConfig) -> None:
    with pytest.raises(TrainingFailedError):
        trainer("raise", tmp_path, run_config).fit()
    path = str(tmp_path / "run")
    assert DataParallelTrainer.can_restore(path)
    result = DataParallelTrainer.restore(path).fit()
    assert result.metrics is not None and (result.metrics["start"], result.metrics["step"]) == (3, 5)
    frame = result.metrics_dataframe
    assert frame is not None and list(frame["step"]) == [0, 1, 2, 3, 4, 5]


def test_a_run_goes_on_with_other_arguments(tmp_path: Path, run_config: RunConfig) -> None:
    with pytest.raises(TrainingFailedError):
        trainer("raise", tmp_path, run_config).fit()
    one = ScalingConfig(num_workers=1)
    again = DataParallelTrainer.restore(tmp_path / "run", train_loop_config={"steps": 5}, scaling_config=one)
    metrics = again.fit().metrics
    assert metrics is not None and (metrics["start"], metrics["step"], metrics["size"]) == (3, 4, 1)


@pytest.mark.parametrize("what", ["raise", "kill", "exit"])
def test_failures_that_are_allowed_are_survived(what: str, tmp_path: Path, run_config: RunConfig) -> None:
    result = trainer(what, tmp_path, run_config, max_failures=1).fit()
    assert result.metrics is not None and (result.metrics["start"], result.metrics["step"]) == (3, 5)
    assert result.metrics["size"] == 2


def test_a_killed_worker_is_named(tmp_path: Path, run_config: RunConfig) -> None:
    with pytest.raises(TrainingFailedError) as caught:
        trainer("kill", tmp_path, run_config).fit()
    assert isinstance(caught.value.__cause__, WorkerLostError)
    text = str(caught.value.__cause__)
    assert "1 of 2 workers died. rank 1 (pid=" in text
    assert "signal 9" in text
    assert "rank 0 (pid=" in text, "how the others are"
    assert "waiting in report" in text or "training for" in text, "it may not have come to its next report yet"
    assert "rank 1: dead" in text


class KillsRank1(Backend):
    def on_training_start(self, worker_group: Any, backend_config: Any) -> None:
        worker_group.execute_single(1, os._exit, 1)


class KillsRank1Config(BackendConfig):
    @property
    def backend_cls(self) -> type[Backend]:
        return KillsRank1


def test_a_worker_that_dies_right_before_the_loop_is_named(run_config: RunConfig) -> None:
    trainer = DataParallelTrainer(
        lambda: None, backend_config=KillsRank1Config(), scaling_config=TWO, run_config=run_config
    )
    with pytest.raises(TrainingFailedError) as caught:
        trainer.fit()
    assert isinstance(caught.value.__cause__, WorkerLostError)
    assert "1 of 2 workers died before the training loop began: rank 1 (pid=" in str(caught.value.__cause__)


def test_an_exit_is_an_error(tmp_path: Path, run_config: RunConfig) -> None:
    with pytest.raises(TrainingFailedError, match=r"rank=1 called sys.exit\(3\)"):
        trainer("exit", tmp_path, run_config).fit()


def test_an_error_that_cannot_be_pickled_arrives_as_text(tmp_path: Path, run_config: RunConfig) -> None:
    with pytest.raises(TrainingFailedError, match="Unpicklable"):
        trainer("unpicklable", tmp_path, run_config).fit()


def test_a_frozen_worker_is_found_by_its_silence(
    tmp_path: Path, run_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAIN_HEARTBEAT_PERIOD_S", "0.2")
    monkeypatch.setenv("TRAIN_HEARTBEAT_TIMEOUT_S", "1.5")
    with pytest.raises(TrainingFailedError) as caught:
        trainer("stop", tmp_path, run_config).fit()
    assert isinstance(caught.value.__cause__, WorkerHungError)
    text = str(caught.value.__cause__)
    assert "rank 1 did not answer for 1.5 s (TRAIN_HEARTBEAT_TIMEOUT_S)" in text
    assert "does not answer, its process is T (stopped)" in text


def test_a_worker_that_hangs_is_found_by_the_reports_of_others(
    tmp_path: Path, run_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAIN_REPORT_TIMEOUT_S", "1")
    with pytest.raises(TrainingFailedError) as caught:
        trainer("sleep", tmp_path, run_config).fit()
    text = str(caught.value.__cause__)
    assert "rank 1 did not report within 1 s after another rank had" in text
    stack = text.partition("Stack of rank 1:")[2]
    assert "in misbehave" in stack and "time.sleep(1000)" in stack


def test_a_hung_run_is_started_again(tmp_path: Path, run_config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAIN_REPORT_TIMEOUT_S", "1")
    result = trainer("sleep", tmp_path, run_config, max_failures=1).fit()
    assert result.metrics is not None and (result.metrics["start"], result.metrics["step"]) == (3, 5)


def test_ranks_that_report_unequally_are_counted(run_config: RunConfig) -> None:
    def unequal() -> None:
        for step in range(3 - train.world_rank()):
            train.report({"step": step})

    with pytest.raises(TrainingFailedError) as caught:
        DataParallelTrainer(unequal, scaling_config=TWO, run_config=run_config).fit()
    assert isinstance(caught.value.__cause__, UnequalReportsError)
    assert "Reports so far: rank 0: 3, rank 1: 2" in str(caught.value.__cause__)


def test_metrics_that_cannot_be_sent_are_the_ranks_error(run_config: RunConfig) -> None:
    def loop() -> None:
        train.report({"lock": __import__("threading").Lock()})

    with pytest.raises(TrainingFailedError, match="lock"):
        DataParallelTrainer(loop, scaling_config=TWO, run_config=run_config).fit()


# -- elastic ------------------------------------------------------------------------------------------------------------


def test_an_elastic_run_survives_the_loss_of_a_worker(tmp_path: Path, run_config: RunConfig) -> None:
    elastic = ScalingConfig(num_workers=(1, 3))
    result = trainer("kill", tmp_path, run_config, scaling_config=elastic).fit()
    assert result.metrics is not None and (result.metrics["start"], result.metrics["step"]) == (3, 5)
    frame = result.metrics_dataframe
    assert frame is not None and list(frame["size"]) == [3] * 6, "as many as there is room for"
    assert all_cpus_are_free()


def test_an_elastic_run_takes_what_there_is_and_grows(tmp_path: Path, run_config: RunConfig) -> None:
    @aktis.remote(num_cpus=2)
    class InTheWay:
        def ready(self) -> bool:
            return True

    def growing(config: dict[str, Any]) -> None:
        checkpoint = train.get_checkpoint()
        step = checkpoint.to_dict()["step"] + 1 if checkpoint else 0
        while step < 100 and train.world_size() < 4:
            train.report({"step": step, "size": train.world_size()}, checkpoint=Checkpoint.from_dict({"step": step}))
            if step == 2 and train.world_rank() == 0:
                aktis.kill(aktis.get_actor("in the way"))
            step += 1
        train.report({"step": step, "size": train.world_size()})

    other = InTheWay.options(name="in the way").remote()
    assert aktis.get(other.ready.remote())
    result = DataParallelTrainer(
        growing,
        train_loop_config={},
        scaling_config=ScalingConfig(num_workers=(1, 4), elastic_resize_monitor_interval_s=0.05),
        run_config=run_config,
    ).fit()
    frame = result.metrics_dataframe
    assert frame is not None
    sizes = list(frame["size"])
    assert sizes[0] == 2 and sizes[-1] == 4 and sizes == sorted(sizes)
    assert list(frame["step"]) == list(range(len(frame))), "no step was lost or done twice"


def test_an_elastic_run_whose_workers_die_at_once_fails(run_config: RunConfig) -> None:
    def loop() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    trainer = DataParallelTrainer(loop, scaling_config=ScalingConfig(num_workers=(1, 2)), run_config=run_config)
    with pytest.raises(TrainingFailedError, match="workers died"):
        trainer.fit()


def test_the_death_of_the_trainer_itself_is_survived(tmp_path: Path, run_config: RunConfig) -> None:
    """Workers and what they had reserved go with it."""

    def loop() -> None:
        checkpoint = train.get_checkpoint()
        if checkpoint is None:
            train.report({"step": 0}, checkpoint=Checkpoint.from_dict({"step": 0}))
            if train.world_rank() == 0:
                os.kill(os.getppid_of_trainer(), signal.SIGKILL)  # type: ignore[attr-defined]
            time.sleep(1000)
        train.report({"step": 1})

    class Known(DataParallelTrainer):
        def training_loop(self) -> None:
            self._train_loop_config = {"pid": os.getpid()}
            super().training_loop()

    def with_pid(config: dict[str, Any]) -> None:
        os.getppid_of_trainer = lambda: config["pid"]  # type: ignore[attr-defined]
        loop()

    config = dataclasses.replace(run_config, failure_config=FailureConfig(max_failures=1))
    for size in (2, (1, 3)):
        scaling = ScalingConfig(num_workers=size)
        settings = dataclasses.replace(config, name=f"run{size}")
        result = Known(with_pid, scaling_config=scaling, run_config=settings).fit()
        assert result.metrics is not None and result.metrics["step"] == 1
        assert all_cpus_are_free()
