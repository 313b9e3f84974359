"""Drivers that are killed, workers that raise while others report, and many runs in one session."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import aktis
from aktis import train
from aktis.air import Checkpoint
from aktis.air.config import RunConfig, ScalingConfig
from aktis.train import DataParallelTrainer, TrainingFailedError

pytestmark = pytest.mark.usefixtures("session")
TWO = ScalingConfig(num_workers=2)

DRIVER = """
import sys, time
import aktis
from aktis import air, train
from aktis.train import DataParallelTrainer

def loop(config):
    checkpoint = train.get_checkpoint()
    for step in range(checkpoint.to_dict()["step"] + 1 if checkpoint else 0, 12):
        train.report({"step": step}, checkpoint=air.Checkpoint.from_dict({"step": step}))
        if step == config["pause_after"] and checkpoint is None:
            time.sleep(1000)

folder, pause_after = sys.argv[1:]
with aktis.init(num_cpus=4, log_to_driver=False):
    if DataParallelTrainer.can_restore(folder + "/run"):
        trainer = DataParallelTrainer.restore(folder + "/run")
    else:
        trainer = DataParallelTrainer(
            loop, train_loop_config={"pause_after": int(pause_after)}, scaling_config=air.ScalingConfig(num_workers=2),
            run_config=air.RunConfig(name="run", local_dir=folder, verbose=0),
        )
    result = trainer.fit()
    print("ended", result.metrics["step"], result.checkpoint.to_dict()["step"], flush=True)
"""


def reported(folder: Path) -> list[int]:
    """The steps in result.json; whole lines only."""
    found: list[int] = []
    for path in folder.glob("run/*/result.json"):
        found += [
            json.loads(line)["step"] for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")
        ]
    return found


def start(folder: Path, mark: str, pause_after: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(folder), str(pause_after)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "FAULTS_MARK": mark},
    )  # fmt: skip


def processes_of(mark: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if f"FAULTS_MARK={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(entry.name)
            except OSError:
                continue
    return found


def await_that(condition: Any, seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("pause_after", [pytest.param(0, marks=pytest.mark.slow), 7])
def test_a_run_whose_driver_is_killed_loses_nothing_that_was_reported(pause_after: int, tmp_path: Path) -> None:
    before = {path.name for path in Path("/dev/shm").iterdir()}
    mark = f"{os.getpid()}-{pause_after}"
    process = start(tmp_path, mark, pause_after)
    assert await_that(lambda: pause_after in reported(tmp_path)), "it gets there"
    process.kill()
    process.communicate()
    assert await_that(lambda: not processes_of(mark)), "its session ends with it"
    left = {path.name for path in Path("/dev/shm").iterdir()} - before
    assert not [name for name in left if "aktis" in name and str(process.pid) in name]
    out, err = start(tmp_path, mark, pause_after).communicate(timeout=60)
    assert out == "ended 11 11\n", err
    assert reported(tmp_path) == list(range(12)), "no step is lost or there twice"
    (trial,) = tmp_path.glob("run/Data*")
    steps = [Checkpoint.from_directory(str(path)).to_dict()["step"] for path in sorted(trial.glob("checkpoint_*"))]
    assert steps == list(range(12))
    assert not list(trial.glob(".writing*"))


@pytest.mark.parametrize("size", [2, 4])
def test_a_rank_raises_while_the_others_wait_in_report(size: int, run_config: RunConfig) -> None:
    def loop() -> None:
        train.report({"step": 0}, checkpoint=Checkpoint.from_dict({"step": 0}))
        if train.world_rank() == 1:
            time.sleep(0.2)
            raise KeyError("of rank 1")
        train.report({"step": 1}, checkpoint=Checkpoint.from_dict({"step": 1}))

    scaling = ScalingConfig(num_workers=size, trainer_resources={"CPU": 0})
    with pytest.raises(TrainingFailedError) as caught:
        DataParallelTrainer(loop, scaling_config=scaling, run_config=run_config).fit()
    assert isinstance(caught.value.__cause__, KeyError)
    assert "rank=1 failed: KeyError" in str(caught.value)
    (trial,) = Path(str(run_config.local_dir), "run").glob("Data*")
    assert len(list(trial.glob("checkpoint_*"))) == 1, "the round was not complete"


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident(pid: int) -> int:
    return next(
        int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line
    )


def node_pid() -> int:
    """The process of the node: whoever is named so, below this one."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        if Path(f"/proc/{child.pid}/comm").read_text().strip() == "aktis-node":
            return child.pid
    raise AssertionError("there is no node")


def short(config: dict[str, Any]) -> None:
    for step in range(2):
        train.report({"step": step}, checkpoint=Checkpoint.from_dict({"step": step}))
    if config["dies"] and train.world_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_many_runs_in_one_session_leave_nothing(tmp_path: Path) -> None:
    """Every third one fails."""
    node = node_pid()

    def run(number: int) -> None:
        trainer = DataParallelTrainer(
            short,
            train_loop_config={"dies": number % 3 == 0},
            scaling_config=TWO,
            run_config=RunConfig(name=f"run{number}", local_dir=str(tmp_path), verbose=0),
        )
        try:
            trainer.fit()
        except TrainingFailedError:
            assert number % 3 == 0
        else:
            assert number % 3
        gc.collect()

    for number in range(6):
        run(number)
    pids = (os.getpid(), node)
    before = [(descriptors(pid), resident(pid)) for pid in pids]
    for number in range(6, 36):
        run(number)
    await_that(lambda: aktis.available_resources().get("CPU") == 4)
    after = [(descriptors(pid), resident(pid)) for pid in pids]
    for (files, memory), (files_after, memory_after) in zip(before, after):
        assert files_after <= files + 6, (before, after)  # workers come and go
        assert memory_after <= memory + 12_000, (before, after)  # KiB: 400 for a run
    assert aktis.available_resources().get("CPU") == 4
