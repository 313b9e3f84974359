"""Runs that upload, and are taken up again elsewhere."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.tune.syncing.uploads import FolderSyncer, local_files, remote_files, train

import aktis
from aktis import air, tune
from aktis.air import storage
from aktis.tune._execution.journal import Journal
from aktis.tune.error import ExperimentDirectoryError
from aktis.tune.syncer import SyncConfig, SyncerCallback


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    with aktis.init(num_cpus=2, log_to_driver=False):
        yield


@pytest.fixture(autouse=True)
def results_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNE_RESULT_DIR", str(tmp_path / "results"))
    return tmp_path / "results"


@pytest.fixture(params=["memory", "file"])
def upload_dir(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "file":
        yield storage.file_uri(str(tmp_path / "uploads"))
        return
    yield "memory://bucket/uploads"
    storage.delete("memory://bucket")


def tuner(upload_dir: str, **config: Any) -> tune.Tuner:
    return tune.Tuner(
        train,
        param_space={"x": tune.grid_search([1, 2]), **config},
        run_config=air.RunConfig(
            name="run",
            verbose=0,
            sync_config=SyncConfig(upload_dir=upload_dir),
            checkpoint_config=air.CheckpointConfig(num_to_keep=2),
        ),
    )


def test_a_run_is_taken_up_from_its_uri(upload_dir: str, results_dir: Path) -> None:
    uri = f"{upload_dir}/run"
    first = tuner(upload_dir, fails_at=tune.grid_search([None, 3])).fit()
    assert len(first.errors) == 2
    assert remote_files(uri) == local_files(results_dir / "run")
    assert not (results_dir / "run" / ".upload").exists()
    shutil.rmtree(results_dir)
    assert tune.Tuner.can_restore(uri)
    restored = tune.Tuner.restore(uri, resume_errored=True)
    assert {result.metrics["step"] for result in restored.get_results()} == {2, 5}
    results = restored.fit()
    assert [(result.metrics["step"], result.metrics["training_iteration"]) for result in results] == [(5, 6)] * 4
    assert sorted(result.metrics["started_at"] for result in results) == [0, 0, 3, 3], "not from the checkpoints"
    assert remote_files(uri) == local_files(results_dir / "run"), "the run that went on did not upload"
    checkpoints = {name.split("/")[1] for name in remote_files(uri) if "checkpoint_" in name}
    assert checkpoints == {"checkpoint_000004", "checkpoint_000005"}, "what was deleted here was not deleted there"
    shutil.rmtree(results_dir)
    again = tune.Tuner.restore(uri)
    assert len(again.get_results()) == 4
    assert not again.get_results().errors


def test_what_came_from_there_is_not_uploaded_again(tmp_path: Path, results_dir: Path) -> None:
    upload_dir = storage.file_uri(str(tmp_path / "uploads"))
    tuner(upload_dir, fails_at=tune.grid_search([None, 3])).fit()
    shutil.rmtree(results_dir)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "uploads").rglob("*checkpoint_*/**/*")}
    assert before
    tune.Tuner.restore(f"{upload_dir}/run").fit()
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_resume_of_tune_run(upload_dir: str, results_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    def run(resume: Any, **more: Any) -> Any:
        return tune.run(
            train, name="run", config={"x": 1, "fails_at": 3}, verbose=0, resume=resume, raise_on_failed_trial=False,
            sync_config=SyncConfig(upload_dir=upload_dir), **more,
        )  # fmt: skip

    with pytest.raises(ExperimentDirectoryError, match=f"{upload_dir}/run holds no experiment.sqlite"):
        run("REMOTE")
    assert not (results_dir / "run").exists()
    first = run("AUTO")  # nothing is there yet: a new one
    assert first.trials[0].status == "ERROR"
    shutil.rmtree(results_dir)
    second = run("REMOTE+ERRORED")
    assert second.trials[0].trial_id == first.trials[0].trial_id
    assert second.trials[0].last_result["step"] == 5
    third = run("AUTO")
    assert third.trials[0].trial_id == first.trials[0].trial_id
    with pytest.raises(ValueError, match="upload_dir"):
        tune.run(train, name="run", resume="REMOTE")


def test_a_syncer_of_ones_own(tmp_path: Path, results_dir: Path) -> None:
    config = SyncConfig(upload_dir="mine://bucket", syncer=FolderSyncer(str(tmp_path / "mine")))
    arguments: dict[str, Any] = {"name": "run", "verbose": 0, "sync_config": config, "keep_checkpoints_num": 1}
    with pytest.raises(ExperimentDirectoryError):
        tune.run(train, resume="REMOTE", **arguments)
    tune.run(train, config={"fails_at": 4}, raise_on_failed_trial=False, **arguments)
    assert local_files(tmp_path / "mine" / "bucket" / "run") == local_files(results_dir / "run")
    shutil.rmtree(results_dir)
    trial = tune.run(train, config={"fails_at": 4}, resume="REMOTE+ERRORED", **arguments).trials[0]
    assert trial.last_result["started_at"] == 4
    assert local_files(tmp_path / "mine" / "bucket" / "run") == local_files(results_dir / "run")


class Broken(FolderSyncer):
    """A network that fails now and then."""

    failures = 2

    def sync_up(self, local_dir: str, remote_dir: str, exclude: list[str] | None = None) -> bool:
        if self.failures:
            self.failures -= 1
            raise ConnectionError(f"{local_dir}/result.json to {remote_dir}: the network is down")
        return super().sync_up(local_dir, remote_dir, exclude)


@pytest.mark.parametrize("failures", [2, 10**9])
def test_a_broken_network_never_ends_the_run(
    failures: int, tmp_path: Path, results_dir: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aktis.tune._execution.upload.FIRST_DELAY_S", 0.01)
    syncer = Broken(str(tmp_path / "mine"))
    syncer.failures = failures
    config = SyncConfig(upload_dir="mine://bucket", syncer=syncer)
    with caplog.at_level(logging.ERROR):
        analysis = tune.run(train, name="run", verbose=0, sync_config=config)
    assert analysis.trials[0].status == "TERMINATED"
    assert "result.json to mine://bucket/run: the network is down" in caplog.text
    if failures < 10:
        assert local_files(tmp_path / "mine" / "bucket" / "run") == local_files(results_dir / "run")
    else:
        assert "not all results are at mine://bucket" in caplog.text


class CtrlC(tune.Callback):
    """Somebody presses Ctrl-C at the third result."""

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        if result["training_iteration"] == 3:
            signal.raise_signal(signal.SIGINT)


def test_after_ctrl_c_all_is_there(upload_dir: str, results_dir: Path) -> None:
    arguments: dict[str, Any] = {"name": "run", "verbose": 0, "sync_config": SyncConfig(upload_dir=upload_dir)}
    first = tune.run(train, callbacks=[CtrlC()], **arguments)
    assert first.trials[0].status == "PENDING"
    assert remote_files(f"{upload_dir}/run") == local_files(results_dir / "run")
    shutil.rmtree(results_dir)
    second = tune.run(train, resume="REMOTE", **arguments)
    assert second.trials[0].status == "TERMINATED"
    assert second.trials[0].last_result["started_at"] in (3, 4)


class Bad(tune.Callback):
    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        if result["training_iteration"] == 2:
            raise ZeroDivisionError("a callback")


def test_a_run_that_breaks_uploads_what_it_has(upload_dir: str, results_dir: Path) -> None:
    arguments: dict[str, Any] = {"name": "run", "verbose": 0, "sync_config": SyncConfig(upload_dir=upload_dir)}
    with pytest.raises(ZeroDivisionError):
        tune.run(train, callbacks=[Bad()], **arguments)
    shutil.rmtree(results_dir)
    assert tune.run(train, resume="REMOTE", **arguments).trials[0].last_result["step"] == 5


def test_a_directory_is_not_uploaded_to_itself(tmp_path: Path) -> None:
    config = SyncConfig(upload_dir=storage.file_uri(str(tmp_path)))
    with pytest.raises(ValueError, match=r"would be uploaded to itself.*local_dir"):
        tune.run(train, name="run", local_dir=str(tmp_path), sync_config=config, verbose=0)
    with pytest.raises(ValueError, match="nothing says where to upload to"):
        SyncerCallback(SyncConfig())


def test_a_file_uri_as_storage_path_is_a_directory(tmp_path: Path) -> None:
    uri = storage.file_uri(str(tmp_path / "there"))
    analysis = tune.run(train, name="run", storage_path=uri, verbose=0)
    assert analysis.trials[0].logdir.startswith(str(tmp_path / "there" / "run"))
    config = air.RunConfig(name="again", storage_path=uri, verbose=0)
    tune.Tuner(train, run_config=config).fit()
    restored = tune.Tuner.restore(f"{uri}/again")  # the run's own directory: nothing is copied
    assert Path(str(next(iter(restored.get_results())).log_dir)).parent == tmp_path / "there" / "again"
    assert tune.Tuner.can_restore(f"{uri}/again")
    assert not tune.Tuner.can_restore(f"{uri}/nothing")


def test_another_run_of_the_name_does_not_wipe_out_the_first(
    upload_dir: str, results_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = SyncConfig(upload_dir=upload_dir)
    tune.run(train, name="run", config={"x": 1}, verbose=0, sync_config=config)
    shutil.rmtree(results_dir)
    tune.run(train, name="run", config={"x": 2}, verbose=0, sync_config=config)
    kept = [name for name in storage.list_files(f"{upload_dir}/run") if name.startswith("experiment-until-")]
    assert len(kept) == 1
    assert "holds the results of another run" in caplog.text
    storage.download_file(f"{upload_dir}/run", kept[0], results_dir / "experiment.sqlite")
    journal = Journal.open(str(results_dir))
    assert [json.loads(record.data or "")["config"] for record in journal.events(kinds=["added"])] == [{"x": 1}]
    journal.close()


PROGRAM = """
import sys, time
import aktis
from aktis import air, tune
from aktis.air import Checkpoint, session
from aktis.tune.syncer import SyncConfig

def train(config):
    found = session.get_checkpoint()
    for step in range(found.to_dict()["step"] + 1 if found else 0, 100_000):
        session.report({"step": step}, checkpoint=Checkpoint.from_dict({"step": step}))
        time.sleep(0.01)

if __name__ == "__main__":
    aktis.init(num_cpus=2, log_to_driver=False)
    tune.Tuner(train, param_space={"x": tune.grid_search([1, 2])}, run_config=air.RunConfig(
        name="run", verbose=0, local_dir=sys.argv[1], sync_config=SyncConfig(upload_dir=sys.argv[2]),
        checkpoint_config=air.CheckpointConfig(num_to_keep=1))).fit()
"""


def test_a_machine_that_is_lost_leaves_what_can_be_resumed(tmp_path: Path, results_dir: Path) -> None:
    """Killed in the middle of everything; what had been uploaded until then goes on elsewhere."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    upload_dir = storage.file_uri(str(tmp_path / "uploads"))
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "lost"), upload_dir], start_new_session=True
    )
    try:
        journal = tmp_path / "uploads" / "run" / "experiment.sqlite"
        deadline = time.monotonic() + 40
        versions: set[int] = set()
        while len(versions) < 8 and time.monotonic() < deadline and process.poll() is None:
            if journal.exists():
                versions.add(journal.stat().st_mtime_ns)
            time.sleep(0.01)
        assert len(versions) >= 8, "it did not upload after checkpoints"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    restored = tune.Tuner.restore(f"{upload_dir}/run", trainable=train)
    results = restored.fit()  # our train() counts to 5, or ends at once where that is past
    assert not results.errors
    with closing(Journal.open(str(results_dir / "run"))) as resumed:
        restored_trials = {record.trial_id for record in resumed.events(kinds=["saved", "stepped"])}
        assert len(restored_trials) == 2
    for result in results:  # the logs know what the journal knows, and nothing twice
        lines = [json.loads(line) for line in (Path(str(result.log_dir)) / "result.json").read_text().splitlines()]
        steps = [line["training_iteration"] for line in lines]
        assert steps == list(range(1, len(steps) + 1))
