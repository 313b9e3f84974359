"""Disks that are full, and directories that vanish."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aktis import train, tune
from aktis.air import Checkpoint
from aktis.air.config import RunConfig, ScalingConfig
from aktis.train import DataParallelTrainer, TrainingFailedError

MIB = 1 << 20
pytestmark = pytest.mark.usefixtures("session")
TWO = ScalingConfig(num_workers=2)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(path)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def fill(disk: Path, leave: int) -> None:
    with open(disk / "ballast", "wb") as file:
        free = os.statvfs(disk)
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - leave)


def writes(config: dict[str, Any]) -> None:
    """A checkpoint of a mebibyte and more per step, of both ranks where they are folders; before step 3 the disk gets full."""
    checkpoint = train.get_checkpoint()
    start = checkpoint.to_dict()["step"] + 1 if checkpoint else 0
    rank = train.world_rank()
    for step in range(start, 6):
        if step == 3 and start == 0 and rank == config["filler"]:
            fill(Path(config["disk"]), leave=2 * MIB + MIB // 2)
        data = Checkpoint.from_dict({"step": step, "weights": os.urandom(MIB)})
        if not config["folders"]:
            train.report({"step": step, "start": start}, checkpoint=data)
            continue
        with data.as_directory() as folder:
            Path(folder, f"rank{rank}").write_bytes(os.urandom(MIB))
            train.report({"step": step, "start": start}, checkpoint=Checkpoint.from_directory(folder))


@pytest.mark.parametrize("folders", [False, True], ids=["a dictionary of rank 0", "a folder of each rank"])
def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(
    folders: bool, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    config = {"disk": str(small_disk), "folders": folders, "filler": 0}
    trainer = DataParallelTrainer(
        writes,
        train_loop_config=config,
        scaling_config=TWO,
        run_config=RunConfig(name="run", local_dir=str(small_disk), verbose=0),
    )
    with pytest.raises(TrainingFailedError) as caught:
        trainer.fit()
    text = str(caught.value)
    assert "No space left on device" in text and str(small_disk / "run") in text, text
    (trial,) = (path for path in (small_disk / "run").iterdir() if path.is_dir() and path.name.startswith("Data"))
    kept = sorted(trial.glob("checkpoint_*"))
    assert len(kept) >= 3
    for number, path in enumerate(kept):
        assert Checkpoint.from_directory(str(path)).to_dict()["step"] == number
        assert not folders or len(list(path.glob("rank?"))) == 2
    (small_disk / "ballast").unlink()
    result = DataParallelTrainer.restore(str(small_disk / "run")).fit()
    assert result.metrics is not None and (result.metrics["start"], result.metrics["step"]) == (len(kept), 5)
    assert len(list(trial.glob("checkpoint_*"))) == 6
    assert not list(trial.glob(".writing_*")), "what was half written is gone"


def vanishing(config: dict[str, Any]) -> None:
    for step in range(4):
        if step == 2 and train.world_rank() == 0:
            shutil.rmtree(config["gone"])
        train.report({"step": step}, checkpoint=Checkpoint.from_dict({"step": step}))
        time.sleep(0.05)


def test_a_place_for_uploads_that_vanishes_is_made_again(tmp_path: Path) -> None:
    target = tmp_path / "uploads"
    result = DataParallelTrainer(
        vanishing,
        train_loop_config={"gone": str(target)},
        scaling_config=TWO,
        run_config=RunConfig(
            name="run",
            local_dir=str(tmp_path / "local"),
            sync_config=tune.SyncConfig(upload_dir=f"file://{target}"),
            verbose=0,
        ),
    ).fit()
    assert result.metrics is not None and result.metrics["step"] == 3
    assert result.checkpoint is not None and result.checkpoint.to_dict()["step"] == 3
    assert DataParallelTrainer.can_restore(f"file://{target}/run")


def test_a_directory_of_the_run_that_vanishes_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "aktis.tune"):
        result = DataParallelTrainer(
            vanishing,
            train_loop_config={"gone": str(tmp_path / "run")},
            scaling_config=TWO,
            run_config=RunConfig(name="run", local_dir=str(tmp_path), verbose=0),
        ).fit()
    assert f"{tmp_path / 'run' / 'experiment.sqlite'} was deleted while the run is going on" in caplog.text
    assert result.metrics is not None and result.metrics["step"] == 3
    assert result.checkpoint is not None and result.checkpoint.to_dict()["step"] == 3
