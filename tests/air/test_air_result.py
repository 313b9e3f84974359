"""Results: what they hold, and what a trial's directory says."""

from __future__ import annotations

import functools
import json
import pickle
from pathlib import Path
from typing import Any

import pandas
import pytest

from aktis.air.checkpoint import Checkpoint
from aktis.air.exceptions import AirError
from aktis.air.result import Result


def table(rows: int) -> pandas.DataFrame:
    return pandas.DataFrame({"loss": range(rows)})


def test_what_a_result_holds(tmp_path: Path) -> None:
    checkpoint = Checkpoint.from_dict({"a": 1})
    result = Result({"loss": 1, "config": {"lr": 2}}, checkpoint, None, tmp_path, table(2), [(checkpoint, {"loss": 1})])
    assert result.config == {"lr": 2}
    assert result.log_dir == tmp_path
    assert result.path == str(tmp_path)
    assert result.metrics_dataframe is not None
    assert len(result.metrics_dataframe) == 2
    assert result.best_checkpoints == [(checkpoint, {"loss": 1})]
    assert repr(result) == f"Result(metrics={{'loss': 1}}, path='{tmp_path}', checkpoint=Checkpoint(a dict of a))"


def test_a_result_of_nothing() -> None:
    result = Result()
    assert (result.metrics, result.config, result.path, result.checkpoint, result.error) == (None,) * 5
    assert result.metrics_dataframe is None
    assert result.best_checkpoints == []
    assert result.get_best_checkpoint("loss", "min") is None


def test_an_error_is_shown_in_brief() -> None:
    assert repr(Result({"a": 1}, error=ValueError("first line\nsecond"))) == (
        "Result(error='ValueError: first line', metrics={'a': 1}, path=None)"
    )


def test_tables_are_loaded_when_they_are_asked_for() -> None:
    calls: list[int] = []

    def load() -> pandas.DataFrame:
        calls.append(1)
        return table(3)

    def best() -> list[Any]:
        calls.append(2)
        return []

    result = Result(metrics={}, metrics_dataframe=load, best_checkpoints=best)
    repr(result)
    assert calls == []
    for _ in range(2):
        assert result.metrics_dataframe is not None
        assert len(result.metrics_dataframe) == 3
        assert result.best_checkpoints == []
    assert calls == [1, 2]


def test_results_are_pickled() -> None:
    result = pickle.loads(pickle.dumps(Result({"a": 1}, metrics_dataframe=functools.partial(table, 2))))
    assert len(result.metrics_dataframe) == 2


def test_the_best_checkpoint() -> None:
    pairs = [
        (Checkpoint.from_dict({"n": n}), metrics)
        for n, metrics in enumerate([{"s": 1}, {"s": 3}, {"s": float("nan")}, {}])
    ]
    result = Result(best_checkpoints=pairs)
    for mode, number in (("max", 1), ("min", 0)):
        best = result.get_best_checkpoint("s", mode)
        assert best is not None
        assert best.to_dict() == {"n": number}
    with pytest.raises(ValueError, match="'other'"):
        result.get_best_checkpoint("other", "max")
    with pytest.raises(ValueError, match="'up'"):
        result.get_best_checkpoint("s", "up")


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    path = tmp_path / "train_1"
    path.mkdir()
    rows = [{"training_iteration": n, "loss": 1 / n, "nested": {"x": n}} for n in (1, 2, 3)]
    (path / "result.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / "params.json").write_text('{"lr": 0.1}')
    for number in (1, 3):
        Checkpoint.from_dict({"n": number}).to_directory(path / f"checkpoint_{number:06d}")
    return path


def test_from_the_directory_of_a_trial(trial: Path) -> None:
    result = Result.from_path(trial)
    assert result.metrics is not None
    assert result.metrics["loss"] == 1 / 3
    assert result.config == {"lr": 0.1}
    assert result.error is None
    assert result.path == str(trial)
    assert result.checkpoint is not None
    assert result.checkpoint.to_dict() == {"n": 3}
    assert [(checkpoint.to_dict()["n"], metrics["loss"]) for checkpoint, metrics in result.best_checkpoints] == [
        (1, 1.0),
        (3, 1 / 3),
    ]
    assert result.metrics_dataframe is not None
    assert list(result.metrics_dataframe["nested/x"]) == [1, 2, 3]
    assert pickle.loads(pickle.dumps(result)).metrics_dataframe.shape == (3, 3)


def test_what_a_killed_run_leaves_is_read(trial: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open(trial / "result.json", "a") as file:
        file.write('not json\n{"training_iteration": 4, "lo')
    torn = trial / "checkpoint_000004" / ".aktis_checkpoint"
    torn.mkdir(parents=True)
    (trial / "error.txt").write_text("Traceback: it broke")
    result = Result.from_path(str(trial))
    assert result.metrics is not None
    assert result.metrics["training_iteration"] == 3
    assert result.checkpoint is not None
    assert result.checkpoint.to_dict() == {"n": 3}
    assert isinstance(result.error, AirError)
    assert "it broke" in str(result.error)
    assert "line 4 is no JSON" in caplog.text
    assert "checkpoint_000004 is left out" in caplog.text


def test_errors_come_back(trial: Path) -> None:
    (trial / "error.pkl").write_bytes(pickle.dumps(KeyError("gone")))
    assert isinstance(Result.from_path(trial).error, KeyError)
    (trial / "error.pkl").write_bytes(b"nonsense")
    assert Result.from_path(trial).error is None
    (trial / "error.txt").write_text("the text")
    assert str(Result.from_path(trial).error) == "the text"


def test_names_of_checkpoints_in_the_results(trial: Path) -> None:
    row = {"training_iteration": 9, "checkpoint_dir_name": "checkpoint_000001", "loss": -1}
    with open(trial / "result.json", "a") as file:
        file.write(json.dumps(row) + "\n")
    assert Result.from_path(trial).best_checkpoints[0][1]["loss"] == -1


def test_csv_alone(tmp_path: Path) -> None:
    (tmp_path / "progress.csv").write_text("loss\n1\n2\n")
    result = Result.from_path(tmp_path)
    assert result.metrics_dataframe is not None
    assert list(result.metrics_dataframe["loss"]) == [1, 2]


def test_no_trial_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Result.from_path(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="not the directory of a trial"):
        Result.from_path(tmp_path)
