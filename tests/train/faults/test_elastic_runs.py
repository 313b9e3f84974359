"""Elastic runs whose workers are killed again and again, and several of them at once on few CPUs."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import aktis
from aktis import train, tune
from aktis.air import Checkpoint, session
from aktis.air.config import RunConfig, ScalingConfig
from aktis.train import DataParallelTrainer
from aktis.util import placement_group_table

pytestmark = pytest.mark.usefixtures("session")


def all_is_given_back() -> bool:
    """Whether all CPUs are free and no placement group is left, which may take a moment."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        groups = [group for group in placement_group_table().values() if group["state"] != "REMOVED"]
        if not groups and aktis.available_resources().get("CPU") == 4:
            return True
        time.sleep(0.02)
    return False


def murderous(config: dict[str, Any]) -> None:
    """In each group another rank is killed, after a round, as long as there are victims left."""
    checkpoint = train.get_checkpoint()
    start = checkpoint.to_dict()["step"] + 1 if checkpoint else 0
    for step in range(start, config["steps"]):
        if step > start and step < config["kills"] * 2 and train.world_rank() == step % train.world_size():
            os.kill(os.getpid(), signal.SIGKILL)
        train.report({"step": step, "size": train.world_size()}, checkpoint=Checkpoint.from_dict({"step": step}))


def test_an_elastic_run_survives_one_kill_after_the_other(run_config: RunConfig) -> None:
    result = DataParallelTrainer(
        murderous,
        train_loop_config={"kills": 4, "steps": 12},
        scaling_config=ScalingConfig(num_workers=(2, 3)),
        run_config=run_config,
    ).fit()
    frame = result.metrics_dataframe
    assert frame is not None
    assert list(frame["step"]) == list(range(12)), "no step is lost or done twice"
    assert set(frame["size"]) <= {2, 3}, "never fewer than the fewest"
    assert all_is_given_back()


def test_half_a_checkpoint_is_not_left(tmp_path: Path, run_config: RunConfig) -> None:
    def loop(config: dict[str, Any]) -> None:
        checkpoint = train.get_checkpoint()
        for step in range(checkpoint.to_dict()["step"] + 1 if checkpoint else 0, 4):
            if step == 2 and train.world_rank() == 1 and not os.path.exists(config["flag"]):
                Path(config["flag"]).touch()
                for name in (".writing_rank1.0", "..writing_rank1.0.1"):  # as it is when a checkpoint is written
                    os.mkdir(os.path.join(session.get_trial_dir(), name))
                os.kill(os.getpid(), signal.SIGKILL)
            train.report({"step": step}, checkpoint=Checkpoint.from_dict({"step": step}))

    result = DataParallelTrainer(
        loop,
        train_loop_config={"flag": str(tmp_path / "flag")},
        scaling_config=ScalingConfig(num_workers=(2, 3)),
        run_config=run_config,
    ).fit()
    frame = result.metrics_dataframe
    assert (tmp_path / "flag").exists() and frame is not None and list(frame["step"]) == [0, 1, 2, 3]
    (trial,) = (tmp_path / "run").glob("Data*")
    assert not list(trial.glob("*writing*")) + list(trial.glob(".*writing*"))


def steps(config: dict[str, Any]) -> None:
    for step in range(2):
        train.report({"step": step, "size": train.world_size()})


@pytest.mark.parametrize("workers", [(1, 2), (3, 4)])
def test_several_elastic_trials_on_few_cpus_do_not_wait_for_each_other(
    workers: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their trainers must not take all that there is before one of them has its workers."""
    monkeypatch.setenv("TRAIN_PLACEMENT_GROUP_TIMEOUT_S", "10")
    results = tune.Tuner(
        DataParallelTrainer(steps, scaling_config=ScalingConfig(num_workers=workers)),
        param_space={"train_loop_config": {"x": tune.grid_search([1, 2, 3, 4])}},
        run_config=RunConfig(name="run", local_dir=str(tmp_path), verbose=0),
    ).fit()
    assert [result.error for result in results] == [None] * 4
    assert all(workers[0] <= result.metrics["size"] <= workers[1] for result in results)
    assert all_is_given_back()
