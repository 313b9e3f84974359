"""Ranks that wait in gloo for one that left; subprocesses of killed workers; Ctrl-C."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from aktis import train
from aktis.air import Checkpoint
from aktis.air.config import FailureConfig, RunConfig, ScalingConfig
from aktis.train import TrainingFailedError
from aktis.train.error import WorkerHungError
from aktis.train.torch import TorchTrainer

pytest.importorskip("torch")
pytestmark = [pytest.mark.usefixtures("session"), pytest.mark.torch]
TWO = ScalingConfig(num_workers=2)


def leaves(config: dict[str, Any]) -> None:
    """In the middle of an all_reduce of rank 0, rank 1 returns, or raises."""
    import torch

    train.report({"step": 0})
    if train.world_rank() == 1:
        if config["raises"]:
            raise ValueError("rank 1 has had enough")
        return
    torch.distributed.all_reduce(torch.ones(1))


@pytest.mark.parametrize("raises", [False, True], ids=["returns", "raises"])
def test_a_rank_that_waits_for_one_that_left(
    raises: bool, run_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAIN_REPORT_TIMEOUT_S", "1")
    trainer = TorchTrainer(leaves, train_loop_config={"raises": raises}, scaling_config=TWO, run_config=run_config)
    with pytest.raises(TrainingFailedError) as caught:
        trainer.fit()
    if raises:
        assert isinstance(caught.value.__cause__, ValueError)
        return
    assert isinstance(caught.value.__cause__, WorkerHungError)
    text = str(caught.value.__cause__)
    assert "rank 0 did not report within 1 s after another rank had returned" in text
    assert "all_reduce" in text.partition("Stack of rank 0:")[2]


def with_helpers(config: dict[str, Any]) -> None:
    """Starts a process and two workers of a DataLoader, notes their ids; the first time, rank 1 is killed then."""
    import torch

    checkpoint = train.get_checkpoint()
    data = torch.utils.data.TensorDataset(torch.arange(400.0))
    loader = torch.utils.data.DataLoader(data, batch_size=4, num_workers=2, multiprocessing_context="fork")
    batches = iter(loader)
    next(batches)
    pids = [worker.pid for worker in batches._workers]  # type: ignore[attr-defined]
    pids.append(subprocess.Popen(["sleep", "1000"]).pid)
    folder = Path(config["folder"])
    with open(folder / "pids", "a") as file:
        file.write(" ".join(map(str, pids)) + "\n")
    train.report({"step": 0}, checkpoint=Checkpoint.from_dict({"step": 0}))
    if checkpoint is None and train.world_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    train.report({"step": 1})


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + 20
    while any(lives(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_nothing_that_a_killed_worker_had_started_is_left(tmp_path: Path, run_config: RunConfig) -> None:
    result = TorchTrainer(
        with_helpers,
        train_loop_config={"folder": str(tmp_path)},
        scaling_config=TWO,
        run_config=dataclasses.replace(run_config, failure_config=FailureConfig(max_failures=1)),
    ).fit()
    assert result.metrics is not None and result.metrics["step"] == 1
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 12
    assert gone(pids)


DRIVER = """
import sys, time
import torch
import aktis
from aktis import air, train
from aktis.train.torch import TorchTrainer, prepare_model

def loop(config):
    model = prepare_model(torch.nn.Linear(2, 1))
    checkpoint = train.get_checkpoint()
    step = checkpoint.to_dict()["step"] + 1 if checkpoint else 0
    last = step + 3 if checkpoint else 100000
    while step < last:
        model(torch.ones(1, 2)).sum().backward()
        train.report({"step": step}, checkpoint=air.Checkpoint.from_dict({"step": step}))
        if train.world_rank() == 0:
            print("step", step, file=sys.stderr, flush=True)
        if not checkpoint:
            time.sleep(config["pause"])
        step += 1

with aktis.init(num_cpus=4):
    folder, pause, restore = sys.argv[1:]
    trainer = TorchTrainer(
        loop, train_loop_config={"pause": float(pause)}, scaling_config=air.ScalingConfig(num_workers=2),
        run_config=air.RunConfig(name="run", local_dir=folder, verbose=0),
    )
    if restore == "yes":
        trainer = TorchTrainer.restore(folder + "/run")
    try:
        print("ended", trainer.fit().metrics["step"], flush=True)
    except BaseException as error:
        print("raised", type(error).__name__, flush=True)
        raise
"""


def driver(folder: Path, pause: float, restore: str, mark: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(folder), str(pause), restore],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "FAULTS_MARK": mark, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def marked(mark: str) -> list[int]:
    """Processes that inherited the mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if f"FAULTS_MARK={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("times", "pause"), [(1, 0.01), (2, 1000.0)], ids=["once", "twice, in the middle of a step"])
def test_ctrl_c_ends_a_run_that_can_be_taken_up_again(times: int, pause: float, tmp_path: Path) -> None:
    mark = f"{os.getpid()}-{times}"
    process = driver(tmp_path, pause, "no", mark)
    assert process.stdout is not None and process.stderr is not None
    for line in process.stderr:
        if "step 0" in line:
            break
    for number in range(times):
        os.kill(process.pid, signal.SIGINT)
        if number + 1 < times:
            for line in process.stderr:
                if "Ctrl-C" in line:
                    break
    out, err = process.communicate(timeout=60)
    assert "ended" in out or "raised KeyboardInterrupt" in out or "raised TrainingFailedError" in out, err
    assert gone(marked(mark))
    again = driver(tmp_path, 0, "yes", mark)
    out, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    assert out.startswith("ended")
    assert gone(marked(mark))
