"""ResultGrid: results that are made when asked for, the best one, and errors."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import pytest
from tests.tune.analysis.experiments import make_experiment
from tests.tune.analysis.test_experiment_analysis import with_checkpoints, with_scores

from aktis.air.result import Result
from aktis.tune.analysis import ExperimentAnalysis
from aktis.tune.error import TrialError
from aktis.tune.experiment.trial import Trial
from aktis.tune.result_grid import ResultGrid


def grid_of(directory: Path, metric: str | None = "acc", mode: str | None = "max", **kwargs: bool) -> ResultGrid:
    return ResultGrid(ExperimentAnalysis(directory, default_metric=metric, default_mode=mode, **kwargs))


def test_a_sequence_of_results(tmp_path: Path) -> None:
    made = make_experiment(tmp_path, 3, failing=(2,))
    grid = grid_of(tmp_path)
    assert len(grid) == 3
    assert all(isinstance(result, Result) for result in grid)
    assert grid[0].metrics["acc"] == made[0].last_result["acc"]
    assert grid[-1].config == made[2].config
    assert [result.log_dir for result in grid[:2]] == [Path(trial.logdir) for trial in made[:2]]
    assert (grid.num_errors, grid.num_terminated) == (1, 2)
    with pytest.raises(IndexError, match="no result 3: the experiment has 3 trials"):
        grid[3]


def test_frames_and_checkpoints_are_read_when_asked_for(tmp_path: Path) -> None:
    analysis = with_checkpoints(tmp_path, 1, 3)
    result = ResultGrid(analysis)[0]
    file = Path(analysis.trials[0].logdir, "result.json")
    rows = file.read_text().splitlines(keepends=True)
    file.write_text("".join(rows[:2]))
    assert result.metrics_dataframe is not None
    assert list(result.metrics_dataframe["score"]) == [1.0, 9.0]
    assert [metrics["score"] for _, metrics in result.best_checkpoints[:1]] == [1.0]
    assert result.checkpoint is not None
    assert str(result.checkpoint.path).endswith("checkpoint_000003")


def test_the_best_result(tmp_path: Path) -> None:
    analysis = with_scores(tmp_path, [9.0, 1.0], [2.0, 3.0], [math.nan])
    grid = ResultGrid(analysis)
    assert grid.get_best_result().config == {"x": 1}
    assert grid.get_best_result(scope="all").config == {"x": 0}
    assert grid.get_best_result("score", "min").config == {"x": 0}


def test_what_the_best_result_needs(tmp_path: Path) -> None:
    make_experiment(tmp_path, 2, failing=(1,))
    grid = grid_of(tmp_path, None, None)
    with pytest.raises(ValueError, match=r"get_best_result\(metric=\.\.\.\), or set it in TuneConfig"):
        grid.get_best_result()
    with pytest.raises(ValueError, match="depends on a mode"):
        grid.get_best_result("acc")
    with pytest.raises(ValueError, match="'min' or 'max', got 'up'"):
        grid.get_best_result("acc", "up")
    with pytest.raises(ValueError, match="scope must be one of"):
        grid.get_best_result("acc", "max", scope="first")
    with pytest.raises(
        RuntimeError, match=r"no trial reported the metric 'nope': .*; 1 of 2 trials failed, see \.errors"
    ):
        grid.get_best_result("nope", "max")


def test_one_trial_needs_no_metric(tmp_path: Path) -> None:
    make_experiment(tmp_path, 1)
    assert grid_of(tmp_path, None, None).get_best_result().metrics["training_iteration"] == 5


def test_the_data_frame_needs_both_or_neither(tmp_path: Path) -> None:
    grid = ResultGrid(with_scores(tmp_path, [1.0, 3.0, 2.0]))
    assert list(grid.get_dataframe()["score"]) == [2.0]
    assert list(grid.get_dataframe("score", "max")["score"]) == [3.0]
    with pytest.raises(ValueError, match="filter_metric without filter_mode"):
        grid.get_dataframe("score")
    with pytest.raises(ValueError, match="filter_mode without filter_metric"):
        grid.get_dataframe(filter_mode="max")


def test_errors(tmp_path: Path) -> None:
    made = make_experiment(tmp_path, 2, failing=(1,))
    # Of a run: the exceptions themselves.
    grid = ResultGrid(ExperimentAnalysis(tmp_path, trials=made))
    assert grid.errors == [made[1].error]
    assert grid[1].error is made[1].error
    assert grid[0].error is None
    # Of a directory: the text, or, when the directory is trusted, what was pickled.
    stored = grid_of(tmp_path)
    assert isinstance(stored.errors[0], TrialError)
    assert "RuntimeError: out of memory" in str(stored.errors[0])
    Path(made[1].logdir, "error.pkl").write_bytes(pickle.dumps(KeyError("x")))
    assert isinstance(grid_of(tmp_path).errors[0], TrialError)
    assert isinstance(grid_of(tmp_path, load_pickles=True).errors[0], KeyError)
    Path(made[1].logdir, "error.pkl").write_bytes(b"broken")
    assert isinstance(grid_of(tmp_path, load_pickles=True).errors[0], TrialError)


def test_it_can_be_looked_at(tmp_path: Path) -> None:
    made = make_experiment(tmp_path, 25, failing=(3,))
    text = repr(grid_of(tmp_path))
    assert text.startswith("ResultGrid(25 trials: 24 TERMINATED, 1 ERROR)")
    best = max(made, key=lambda trial: trial.last_result["acc"])
    assert str(best) in text.splitlines()[2], "the best one comes first"
    assert "... and 5 more" in text
    html = grid_of(tmp_path)._repr_html_()
    assert "<table>" in html
    assert str(best) in html
    empty = ResultGrid(ExperimentAnalysis(tmp_path, trials=[]))
    assert repr(empty) == "ResultGrid(no trials)"
    with pytest.raises(RuntimeError, match="no trials"):
        empty.get_best_result("acc", "max")


def test_trials_that_never_reported(tmp_path: Path) -> None:
    trial = Trial("f", trial_id="1", config={"a": 1}, experiment_dir=str(tmp_path))
    grid = ResultGrid(ExperimentAnalysis(tmp_path, trials=[trial]))
    assert grid[0].config == {"a": 1}
    assert grid[0].checkpoint is None
    assert grid[0].metrics_dataframe is None
    assert grid.get_dataframe().empty
