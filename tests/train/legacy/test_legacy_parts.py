"""Parts of the older Trainer that need no workers: directories, shares of CPUs, checkpoints, arguments."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aktis.air.checkpoint import Checkpoint
from aktis.air.exceptions import CheckpointNotFoundError
from aktis.train._legacy.checkpoints import RunCheckpoints, as_checkpoint
from aktis.train._legacy.directories import TrainerDirectory
from aktis.train._legacy.resources import cpus_per_worker
from aktis.train._legacy.run import Attempts
from aktis.train.backend import BackendConfig
from aktis.train.checkpoint import CheckpointStrategy
from aktis.train.error import TrainingFailedError, WorkerLostError
from aktis.train.trainer import Trainer


@pytest.fixture(autouse=True)
def results_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNE_RESULT_DIR", str(tmp_path / "results"))
    return tmp_path / "results"


# -- directories -------------------------------------------------------------------------------------------------------


def test_directories_that_we_name_are_nobody_elses(results_dir: Path) -> None:
    first, second = TrainerDirectory(), TrainerDirectory()
    second.path = first.path  # made in the same second
    first.make()
    second.make()
    second.make()
    assert first.path.parent == results_dir and first.path.name.startswith("train_")
    assert second.path == first.path.with_name(f"{first.path.name}_2")
    assert not list(second.path.iterdir())


def test_directories_that_the_user_names_are_taken_as_they_are(results_dir: Path, tmp_path: Path) -> None:
    assert TrainerDirectory("mine").path == results_dir / "mine"
    assert TrainerDirectory(tmp_path / "other").path == tmp_path / "other"
    assert TrainerDirectory("~/x").path == Path.home() / "x"
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="is a file"):
        TrainerDirectory(tmp_path / "file").make()
    with pytest.raises(TypeError, match="logdir must be a path"):
        TrainerDirectory(3)  # type: ignore[arg-type]


def test_runs_are_counted_on_from_those_of_an_earlier_trainer(tmp_path: Path) -> None:
    directory = TrainerDirectory(tmp_path)
    assert [directory.new_run().name for _ in range(2)] == ["run_001", "run_002"]
    (tmp_path / "run_x").mkdir()
    (tmp_path / "run_999").mkdir()
    assert TrainerDirectory(tmp_path).new_run().name == "run_1000"


# -- resources ---------------------------------------------------------------------------------------------------------


@given(st.integers(1, 500), st.floats(0, 600).map(lambda cpus: round(cpus, 4)))
def test_all_workers_fit(num_workers: int, cpus: float) -> None:
    share = cpus_per_worker(num_workers, cpus)
    units = math.ceil(share * 10_000 - 1e-6)  # as the core counts
    assert units * num_workers <= round(cpus * 10_000)
    assert 0 <= share <= 1
    assert share == 1 or share > cpus / num_workers - 0.0001 - 1e-9


def test_shares_of_cpus() -> None:
    assert cpus_per_worker(4, 4) == 1
    assert cpus_per_worker(4, 2) == 0.5
    assert cpus_per_worker(3, 2) == pytest.approx(0.6666)
    assert cpus_per_worker(3, 0) == 0


# -- checkpoints -------------------------------------------------------------------------------------------------------


def save(checkpoints: RunCheckpoints, values: dict[str, Any], metrics: dict[str, Any] | None = None) -> None:
    written = checkpoints.directory.parent / f".writing_{os.urandom(4).hex()}"
    Checkpoint.from_dict(values).to_directory(written)
    checkpoints.add(str(written), metrics or {})
    assert not written.exists()


def names(checkpoints: RunCheckpoints) -> list[str]:
    return sorted(path.name for path in checkpoints.directory.iterdir())


def test_all_checkpoints_are_kept_and_the_newest_is_the_best(tmp_path: Path) -> None:
    checkpoints = RunCheckpoints(tmp_path / "checkpoints")
    assert checkpoints.latest is None and checkpoints.best_path is None
    for epoch in range(3):
        save(checkpoints, {"epoch": epoch})
    checkpoints.close()
    assert names(checkpoints) == [f"checkpoint_00000{number}" for number in (1, 2, 3)]
    assert checkpoints.best_path == checkpoints.directory / "checkpoint_000003"
    assert checkpoints.latest is not None and checkpoints.latest.to_dict() == {"epoch": 2}


def test_the_best_are_kept_and_the_latest_in_memory(tmp_path: Path) -> None:
    strategy = CheckpointStrategy(num_to_keep=2, checkpoint_score_attribute="loss", checkpoint_score_order="min")
    checkpoints = RunCheckpoints(tmp_path / "checkpoints", strategy)
    save(checkpoints, {"loss": math.nan})
    save(checkpoints, {"loss": 3})
    save(checkpoints, {"loss": 5})
    save(checkpoints, {"loss": 7})
    assert names(checkpoints) == [f"checkpoint_00000{number}" for number in (2, 3, 4)]  # a restart needs the latest
    checkpoints.close()
    assert names(checkpoints) == ["checkpoint_000002", "checkpoint_000003"]
    assert checkpoints.latest is not None and checkpoints.latest.to_dict() == {"loss": 7}
    assert checkpoints.best_path == checkpoints.directory / "checkpoint_000002"


def test_the_score_may_be_reported_with_the_checkpoint(tmp_path: Path) -> None:
    checkpoints = RunCheckpoints(tmp_path / "c", CheckpointStrategy(1, "accuracy"))
    save(checkpoints, {"epoch": 0}, {"accuracy": 0.9})
    save(checkpoints, {"epoch": 1, "accuracy": 0.1}, {"accuracy": 0.8})
    checkpoints.close()
    assert names(checkpoints) == ["checkpoint_000001"]


def test_none_on_disk(tmp_path: Path) -> None:
    checkpoints = RunCheckpoints(tmp_path / "c", CheckpointStrategy(num_to_keep=0))
    for epoch in range(2):
        save(checkpoints, {"epoch": epoch})
        assert names(checkpoints) == []
    checkpoints.close()
    assert checkpoints.best_path is None
    assert checkpoints.latest is not None and checkpoints.latest.to_dict() == {"epoch": 1}


def test_a_score_that_is_missing_or_no_number_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    checkpoints = RunCheckpoints(tmp_path / "c", CheckpointStrategy(checkpoint_score_attribute="loss"))
    with pytest.raises(ValueError, match="'loss' is neither in the checkpoint .* there is: accuracy, epoch"):
        save(checkpoints, {"epoch": 0}, {"accuracy": 1})
    with pytest.raises(ValueError, match="must be a number"):
        save(checkpoints, {"loss": "low"})
    assert names(checkpoints) == []
    assert checkpoints.latest is None
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize(
    "arguments",
    [{"num_to_keep": -1}, {"num_to_keep": 1.5}, {"checkpoint_score_order": "up"}, {"checkpoint_score_attribute": 3}],
)
def test_strategies_that_make_no_sense(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} must be"):
        CheckpointStrategy(**arguments)


def test_what_a_run_may_begin_with(tmp_path: Path) -> None:
    path = Checkpoint.from_dict({"epoch": 3}).to_directory(tmp_path / "c")
    given: list[Any] = [{"epoch": 3}, path, Path(path), Checkpoint.from_directory(path)]
    for value in given:
        found = as_checkpoint(value)
        assert found is not None and found.to_dict() == {"epoch": 3}
    assert as_checkpoint(None) is None
    assert Trainer.load_checkpoint_from_path(path) == {"epoch": 3}
    with pytest.raises(TypeError, match="must be a dict, the path"):
        as_checkpoint([1])
    with pytest.raises(CheckpointNotFoundError):
        Trainer.load_checkpoint_from_path(tmp_path / "none")


# -- retries and arguments ---------------------------------------------------------------------------------------------


def test_attempts_are_limited() -> None:
    attempts = Attempts(2)
    error = WorkerLostError("it died", [1])
    attempts.after(error)
    attempts.after(error)
    with pytest.raises(TrainingFailedError, match="failed 3 times .* max_retries=2 .*it died") as raised:
        attempts.after(error)
    assert raised.value.__cause__ is error
    for _ in range(10):
        Attempts(-1).after(error)
    with pytest.raises(TrainingFailedError):
        Attempts(0).after(error)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"backend": 5}, TypeError, "backend must be 'torch', 'tensorflow' or an instance"),
        ({"backend": BackendConfig}, TypeError, "backend must be"),
        ({"backend": "jax"}, ValueError, "not 'jax'"),
        ({"backend": "horovod"}, ValueError, "backend='horovod' is not supported.*backend='torch'"),
        ({"num_workers": 0}, ValueError, "num_workers must be 1 or more, not 0"),
        ({"num_workers": "2"}, TypeError, "num_workers must be a whole number"),
        ({"max_retries": -2}, ValueError, "max_retries must be 0 or more"),
        ({"resources_per_worker": {"GPU": 1}}, ValueError, "use_gpu is False"),
        ({"resources_per_worker": {"GPU": 0}, "use_gpu": True}, ValueError, "use_gpu is True"),
        ({"resources_per_worker": {"cpu": 1}}, ValueError, "'CPU'"),
        ({"logdir": 7}, TypeError, "logdir"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Trainer(**{"backend": BackendConfig(), "num_workers": 2, **arguments})


def test_newer_programs_find_their_names_here() -> None:
    from aktis.train import trainer
    from aktis.train.base_trainer import BaseTrainer

    assert trainer.BaseTrainer is BaseTrainer
    with pytest.raises(AttributeError, match="'Nothing'"):
        trainer.Nothing


def test_a_trainer_that_was_not_started_has_no_results_and_no_files(results_dir: Path) -> None:
    trainer = Trainer(BackendConfig(), num_workers=2)
    assert trainer.latest_run_dir is trainer.latest_checkpoint is trainer.latest_checkpoint_dir is None
    assert trainer.best_checkpoint is trainer.best_checkpoint_path is None
    with pytest.raises(RuntimeError, match="call start\\(\\) first"):
        trainer.run(lambda: 1)
    trainer.shutdown()
    assert not results_dir.exists()


def test_a_training_function_runs_in_workers_only() -> None:
    from aktis.train import SessionMisuseError
    from aktis.train._legacy.session import TrainFunction

    with pytest.raises(SessionMisuseError, match="in its workers only"):
        TrainFunction(lambda: 1, takes_config=False, detailed=False)({})
