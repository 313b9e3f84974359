"""Experiments whose directory was moved, half deleted or damaged since, and disks that are full."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aktis import air, tune
from aktis.air import session as air_session
from aktis.tune.error import ExperimentDirectoryError

pytestmark = pytest.mark.usefixtures("session")


def interrupted_once(config: dict[str, Any]) -> None:
    """Six reports; the fifth fails until the flag is there."""
    checkpoint = air_session.get_checkpoint()
    start = checkpoint.to_dict()["step"] + 1 if checkpoint else 0
    for step in range(start, 6):
        if step == 4 and not os.path.exists(config["flag"]):
            raise RuntimeError("stop here")
        air_session.report({"step": step, "start": start}, checkpoint=air.Checkpoint.from_dict({"step": step}))


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """Two trials that failed after four reports, and would go on now."""
    space = {"x": tune.grid_search([1, 2]), "flag": str(tmp_path / "flag")}
    tuner = tune.Tuner(
        interrupted_once, param_space=space, run_config=air.RunConfig(name="run", local_dir=str(tmp_path), verbose=0)
    )
    assert tuner.fit().num_errors == 2
    (tmp_path / "flag").touch()
    return tmp_path / "run"


def first_trial(path: Path) -> Path:
    return next(path.glob("*_x=1_*"))


def checkpoints(path: Path) -> list[Path]:
    return sorted(first_trial(path).glob("checkpoint_*"))


def restored(path: Path) -> Any:
    results = tune.Tuner.restore(str(path), resume_errored=True).fit()
    assert [result.error for result in results] == [None, None]
    assert [result.metrics["step"] for result in results] == [5, 5]
    return results


def execute(path: Path, *statements: str) -> None:
    with sqlite3.connect(path / "experiment.sqlite") as database:
        for statement in statements:
            database.execute(statement)
    database.close()


def test_a_moved_experiment_finds_its_checkpoints(experiment: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "under another name"
    target.parent.mkdir()
    shutil.move(experiment, target)
    results = restored(target)
    assert [result.metrics["start"] for result in results] == [4, 4]
    assert [result.checkpoint.to_dict()["step"] for result in results] == [5, 5]
    assert not experiment.exists()


def damage_metadata(path: Path) -> None:
    (path / ".tune_metadata.json").write_text("{half")


@pytest.mark.parametrize("damage", [shutil.rmtree, damage_metadata])
def test_without_the_latest_checkpoint_an_earlier_one_is_taken(
    damage: Callable[[Path], None], experiment: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damage(checkpoints(experiment)[-1])
    with caplog.at_level(logging.WARNING, "aktis.tune"):
        results = restored(experiment)
    assert [result.metrics["start"] for result in results] == [3, 4]
    assert "goes on from checkpoint_000002" in caplog.text


@pytest.mark.parametrize("what", ["checkpoints", "directory"])
def test_without_any_checkpoint_a_trial_starts_anew(
    what: str, experiment: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for path in checkpoints(experiment) if what == "checkpoints" else [first_trial(experiment)]:
        shutil.rmtree(path)
    with caplog.at_level(logging.WARNING, "aktis.tune"):
        results = restored(experiment)
    assert [result.metrics["start"] for result in results] == [0, 4]
    assert "The trial starts anew" in caplog.text


def test_an_unreadable_snapshot_is_done_without(experiment: Path, caplog: pytest.LogCaptureFixture) -> None:
    execute(
        experiment, "UPDATE snapshots SET data = X'0011' WHERE part = 'brain'", "DELETE FROM trials WHERE number = 0"
    )
    with caplog.at_level(logging.WARNING, "aktis.tune"):
        results = restored(experiment)
    assert [result.metrics["start"] for result in results] == [4, 4]
    assert "all events since the beginning" in caplog.text


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        (["DELETE FROM snapshots", "UPDATE events SET data = '{half' WHERE seq = 5"], "event 5 is unreadable"),
        (["UPDATE meta SET value = '99' WHERE key = 'format'"], "newer version"),
        (["UPDATE meta SET value = 'x' WHERE key = 'format'"], "cannot be read"),
        (["DELETE FROM meta"], "no format number"),
    ],
)
def test_a_damaged_or_newer_journal_is_named(statements: list[str], words: str, experiment: Path) -> None:
    execute(experiment, *statements)
    with pytest.raises(ExperimentDirectoryError, match=words) as caught:
        restored(experiment)
    assert "experiment.sqlite" in str(caught.value)
    assert len(tune.ExperimentAnalysis(str(experiment)).trials) == 2


@pytest.mark.parametrize("tenth", range(10))
def test_garbage_anywhere_in_the_journal_is_an_error_or_harmless(tenth: int, experiment: Path) -> None:
    journal = experiment / "experiment.sqlite"
    with open(journal, "r+b") as file:
        file.seek(journal.stat().st_size * tenth // 10)
        file.write(bytes(range(256)) * 12)
    try:
        restored(experiment)
    except ExperimentDirectoryError as error:
        assert "experiment.sqlite" in str(error)


@pytest.mark.parametrize("size", [0, 100, 20_000])
def test_a_journal_that_was_cut_off_is_an_error(size: int, experiment: Path) -> None:
    os.truncate(experiment / "experiment.sqlite", size)
    with pytest.raises(ExperimentDirectoryError, match=r"experiment\.sqlite"):
        restored(experiment)


def test_a_directory_that_vanishes_under_a_run_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Deletes(tune.Callback):
        def on_trial_result(self, *args: Any, **info: Any) -> None:
            (tmp_path / "run" / "experiment.sqlite").unlink(missing_ok=True)

    with caplog.at_level(logging.ERROR, "aktis.tune"):
        analysis = tune.run(
            lambda config: tune.report(a=1), name="run", local_dir=str(tmp_path), callbacks=[Deletes()], verbose=0
        )
    assert analysis.trials[0].status == "TERMINATED"
    assert caplog.text.count("was deleted while the run is going on") == 1


# -- full disks -----------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", path], capture_output=True).returncode
    ):
        pytest.skip("only root may mount a small disk")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


class Filler(tune.Callback):
    """Fills the disk after some results, but for a few bytes."""

    def __init__(self, disk: Path, leave: int) -> None:
        self.ballast = disk / "ballast"
        self.leave = leave
        self.count = 0

    def on_trial_result(self, *args: Any, **info: Any) -> None:
        self.count += 1
        if self.count == 3:
            with open(self.ballast, "wb") as file:
                while True:
                    disk = os.statvfs(self.ballast.parent)
                    try:
                        os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - self.leave)
                        return
                    except OSError:  # trials have written in between
                        continue


def reports(config: dict[str, Any]) -> None:
    checkpoint = air_session.get_checkpoint()
    for step in range(checkpoint.to_dict()["step"] + 1 if checkpoint else 0, 8):
        data = {"step": step, "weights": b"x" * config["size"]}
        saved = air.Checkpoint.from_dict(data) if config["size"] else None
        air_session.report({"step": step, "text": "y" * config["text"]}, checkpoint=saved)


@pytest.mark.parametrize("what", ["journal", "checkpoint"])
@pytest.mark.parametrize("loggers", ["0", "1"])
def test_a_full_disk_ends_what_cannot_be_written_which_then_goes_on(
    what: str, loggers: str, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", loggers)
    config = {"x": tune.grid_search([1, 2]), "size": 0, "text": 100_000}
    if what == "checkpoint":
        config |= {"size": 1_200_000, "text": 1}  # all 16 of them fit on the disk, but not beside the filler's
    filler = Filler(small_disk, 300_000 if what == "journal" else 1_900_000)
    arguments: dict[str, Any] = {
        "config": config, "name": "run", "local_dir": str(small_disk), "verbose": 0, "raise_on_failed_trial": False,
    }  # fmt: skip
    if what == "journal":
        with pytest.raises(
            tune.TuneError, match=r"experiment\.sqlite cannot be written to \(database or disk is full\)"
        ):
            tune.run(reports, callbacks=[filler], **arguments)
    else:
        try:
            analysis = tune.run(reports, callbacks=[filler], **arguments)
        except tune.TuneError as error:  # it may be the journal that finds the disk full first
            assert "disk is full" in str(error)
        else:
            failed = [trial for trial in analysis.trials if trial.status == "ERROR"]
            assert failed
            for trial in failed:
                assert "No space left on device" in str(trial.error)
                assert trial.logdir in str(trial.error)
    assert not list(small_disk.glob("run/*/.*writing*"))
    filler.ballast.unlink()
    analysis = tune.run(reports, resume="LOCAL+ERRORED", **arguments)
    assert [(trial.status, trial.last_result["step"]) for trial in analysis.trials] == [("TERMINATED", 7)] * 2
    for path in small_disk.glob("run/*/result.json"):
        steps = [json.loads(line)["step"] for line in path.read_text().splitlines()]
        assert sorted(set(steps)) == list(range(8))
