"""ExperimentAnalysis: from trials, from a directory, from what is left of one, from Ray's."""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.tune.analysis.experiments import RAY_EXPERIMENT, make_experiment, make_trial, result_of, write_results
from tests.tune.analysis.test_state_format import unpickling_is_noticed

from aktis.tune.analysis import ExperimentAnalysis
from aktis.tune.analysis import _results as results_module
from aktis.tune.analysis._values import PickledValue
from aktis.tune.analysis.state_format import write_experiment_state
from aktis.tune.error import ExperimentDirectoryError
from aktis.tune.experiment.trial import Trial


def with_scores(directory: Path, *scores: list[float]) -> ExperimentAnalysis:
    trials = []
    directory.mkdir(exist_ok=True)
    for number, values in enumerate(scores):
        trial = make_trial(directory, number, {"x": number}, ["x"])
        write_results(trial, [result_of(trial, i, i == len(values), score=value) for i, value in enumerate(values, 1)])
        trial.status = Trial.TERMINATED
        trials.append(trial)
    write_experiment_state(directory / "experiment_state-1.json", trials)
    return ExperimentAnalysis(directory, default_metric="score", default_mode="max")


def test_from_a_directory_alone(tmp_path: Path) -> None:
    made = make_experiment(tmp_path, 4)
    analysis = ExperimentAnalysis(str(tmp_path), default_metric="acc", default_mode="max")
    best = max(made, key=lambda trial: trial.last_result["acc"])

    assert [trial.trial_id for trial in analysis.trials] == [trial.trial_id for trial in made]
    assert analysis.best_trial == best
    assert analysis.best_config == best.config
    assert analysis.best_logdir == best.logdir
    assert analysis.best_result == best.last_result
    assert len(analysis.best_dataframe) == 5
    assert analysis.best_result_df.loc[best.trial_id, "val/loss"] == best.last_result["val"]["loss"]
    assert set(analysis.results) == {trial.trial_id for trial in made}
    assert list(analysis.results_df.index) == [trial.trial_id for trial in made]
    assert analysis.results_df.loc[best.trial_id, "config/opt/momentum"] == best.config["opt"]["momentum"]
    assert analysis.stats()["timestamp"] - analysis.stats()["start_time"] == 60
    assert "4 TERMINATED" in repr(analysis)


def test_listing_trials_reads_the_state_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_experiment(tmp_path, 3)
    opened: list[str] = []
    monkeypatch.setattr(results_module, "results_file", lambda *args: opened.append(args[0]))
    for directory in tmp_path.iterdir():
        if directory.is_dir():
            for file in directory.iterdir():
                file.unlink()
    analysis = ExperimentAnalysis(tmp_path)
    assert [trial.status for trial in analysis.trials] == ["TERMINATED"] * 3
    assert analysis.get_best_trial("acc", "max") is not None
    assert opened == []


def test_data_frames(tmp_path: Path) -> None:
    analysis = with_scores(tmp_path, [1.0, 5.0, 3.0], [2.0, 1.0, 4.0])
    frame = analysis.dataframe()
    assert list(frame["score"]) == [3.0, 4.0]
    assert list(frame["config/x"]) == [0, 1]
    assert list(frame["logdir"]) == [trial.logdir for trial in analysis.trials]
    assert list(analysis.dataframe("score", "max")["score"]) == [5.0, 4.0]
    assert list(analysis.dataframe("score", "max")["training_iteration"]) == [2, 3]
    assert list(analysis.dataframe("score", "min")["score"]) == [1.0, 1.0]
    frames = analysis.trial_dataframes
    assert [list(frame["score"]) for frame in frames.values()] == [[1.0, 5.0, 3.0], [2.0, 1.0, 4.0]]
    assert analysis.trial_dataframes is frames
    assert not [column for column in frames[analysis.trials[0].logdir] if column.startswith("config")]
    assert list(analysis.dataframe()["score"]) == [3.0, 4.0], "the same from frames that are there already"


def test_questions_that_make_no_sense(tmp_path: Path) -> None:
    analysis = with_scores(tmp_path, [1.0], [2.0])
    with pytest.raises(ValueError, match="give dataframe\\(\\) a metric"):
        analysis.dataframe(mode="max")
    with pytest.raises(ValueError, match="'min' or 'max', got 'best'"):
        analysis.dataframe("score", "best")
    with pytest.raises(KeyError, match="no trial reported 'nope'"):
        analysis.dataframe("nope", "max")
    with pytest.raises(ValueError, match="scope must be one of"):
        analysis.get_best_trial(scope="first")
    with pytest.raises(ValueError, match="json"):
        analysis.set_filetype("xml")
    with pytest.raises(ValueError, match="default_mode must be"):
        ExperimentAnalysis(tmp_path, default_mode="up")
    bare = ExperimentAnalysis(tmp_path)
    with pytest.raises(ValueError, match=r"best_trial compares.*get_best_trial\(metric, mode\)"):
        bare.best_trial
    with pytest.raises(ValueError, match="no metric"):
        bare.get_best_trial(mode="max")
    several = ExperimentAnalysis(tmp_path, default_metric=["score", "x"], default_mode=["max", "min"])
    with pytest.raises(ValueError, match="several metrics"):
        several.get_best_trial()
    assert several.get_best_trial("score", "max") == analysis.trials[1]


@pytest.mark.parametrize(
    ("scope", "mode", "best"),
    [
        ("last", "max", 2),
        ("last", "min", 1),
        ("all", "max", 0),
        ("all", "min", 1),
        ("avg", "max", 0),
        ("last-5-avg", "max", 0),
    ],
)
def test_scopes(tmp_path: Path, scope: str, mode: str, best: int) -> None:
    analysis = with_scores(tmp_path, [9.0, 9.0, 3.0], [5.0, 0.0, 2.0], [4.0, 4.0, 5.0])
    assert analysis.get_best_trial("score", mode, scope) == analysis.trials[best]


def test_nan_and_infinity(tmp_path: Path) -> None:
    analysis = with_scores(tmp_path, [math.nan], [math.inf], [1.0], [math.nan])
    assert analysis.best_trial == analysis.trials[2]
    assert analysis.get_best_trial("score", "min") == analysis.trials[2]
    assert analysis.get_best_trial("score", "max", filter_nan_and_inf=False) == analysis.trials[1]
    only_nan = with_scores(tmp_path / "nan", [math.nan], [math.nan])
    with pytest.warns(UserWarning, match="no trial has a usable value of 'score'"):
        assert only_nan.best_trial is None


def test_a_single_trial_is_the_best_one_whatever_it_reported(tmp_path: Path) -> None:
    analysis = with_scores(tmp_path, [1.0])
    assert analysis.get_best_trial("nope", "max") == analysis.trials[0]
    assert ExperimentAnalysis(tmp_path).get_best_config("nope", "max") == {"x": 0}


def test_a_metric_that_nobody_reported(tmp_path: Path) -> None:
    analysis = with_scores(tmp_path, [1.0], [2.0])
    with pytest.warns(UserWarning, match="no trial reported the metric 'nope': reported were .*score"):
        assert analysis.get_best_trial("nope", "max") is None


def test_csv_and_json(tmp_path: Path) -> None:
    analysis = with_scores(tmp_path, [1.0, 2.0])
    Path(analysis.trials[0].logdir, "result.json").write_text("")
    assert list(analysis.trial_dataframes[analysis.trials[0].logdir]["score"]) == [1.0, 2.0], "from progress.csv"
    analysis.set_filetype("csv")
    assert list(analysis.trial_dataframes[analysis.trials[0].logdir]["score"]) == [1.0, 2.0]
    assert list(analysis.dataframe("score", "max")["score"]) == [2.0]


def test_configs(tmp_path: Path) -> None:
    made = make_experiment(tmp_path, 2)
    analysis = ExperimentAnalysis(tmp_path)
    configs = analysis.get_all_configs()
    assert configs == {trial.logdir: trial.config for trial in made}
    flat = analysis.get_all_configs(prefix=True)
    assert flat[made[0].logdir]["config/opt/momentum"] == made[0].config["opt"]["momentum"]
    assert analysis.get_all_configs() == configs, "asking for flat ones changes nothing"


def test_a_moved_directory(tmp_path: Path) -> None:
    make_experiment(tmp_path / "old", 2)
    shutil.move(tmp_path / "old", tmp_path / "new")
    analysis = ExperimentAnalysis(tmp_path / "new", default_metric="acc", default_mode="max")
    assert all(Path(trial.logdir).parent == tmp_path / "new" for trial in analysis.trials)
    assert len(analysis.dataframe()) == 2
    assert analysis.experiment_path == str(tmp_path / "new")
    assert analysis.trials[0].experiment_dir_name == "new"


def test_a_state_file_a_uri_and_several_experiments(tmp_path: Path) -> None:
    make_experiment(tmp_path / "a", 2)
    make_experiment(tmp_path / "b", 3)
    assert len(ExperimentAnalysis(next((tmp_path / "a").glob("experiment_state*"))).trials) == 2
    assert len(ExperimentAnalysis(f"file://{tmp_path}/a").trials) == 2
    assert len(ExperimentAnalysis(tmp_path).trials) == 5
    with pytest.raises(ExperimentDirectoryError, match="download"):
        ExperimentAnalysis("s3://bucket/experiment")


def test_no_experiment(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file or directory"):
        ExperimentAnalysis(tmp_path / "nope")
    with pytest.raises(ExperimentDirectoryError, match="holds no experiment"):
        ExperimentAnalysis(tmp_path)


def test_the_newest_state_counts_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    trials = make_experiment(tmp_path, 2)
    trials[0].status = Trial.RUNNING
    write_experiment_state(tmp_path / "experiment_state-2026-01-02_00-00-00.json", trials)
    assert ExperimentAnalysis(tmp_path).trials[0].status == Trial.RUNNING
    (tmp_path / "experiment_state-2026-01-03_00-00-00.json").write_text('{"checkpoints": [')
    with pytest.warns(UserWarning, match=r"01-03.*is damaged.*01-02.*is used"):
        assert ExperimentAnalysis(tmp_path).trials[0].status == Trial.RUNNING


def test_trials_without_a_state(tmp_path: Path) -> None:
    made = make_experiment(tmp_path, 3, failing=(1,))
    next(tmp_path.glob("experiment_state*")).unlink()
    with pytest.warns(
        UserWarning, match="experiment_state-.*is missing; its 3 trials are read from their own directories"
    ):
        analysis = ExperimentAnalysis(tmp_path, default_metric="acc", default_mode="max")
    assert [trial.status for trial in analysis.trials] == ["TERMINATED", "ERROR", "TERMINATED"]
    assert [str(trial) for trial in analysis.trials] == [str(trial) for trial in made]
    assert analysis.best_config == max(made, key=lambda trial: trial.last_result["acc"]).config
    assert analysis.trials[0].metric_analysis["acc"] == pytest.approx(made[0].metric_analysis["acc"])


def test_directories_of_trials_that_are_gone_are_named(tmp_path: Path) -> None:
    made = make_experiment(tmp_path, 5)
    shutil.rmtree(made[1].logdir)
    Path(made[2].logdir, "result.json").unlink()
    Path(made[2].logdir, "progress.csv").unlink()
    analysis = ExperimentAnalysis(tmp_path, default_metric="acc", default_mode="max")
    assert len(analysis.trials) == 5
    with pytest.warns(UserWarning) as caught:
        frame = analysis.dataframe()
    texts = [str(one.message) for one in caught]
    assert any("directories of 1 of 5 trials are gone" in text and made[1].logdir in text for text in texts)
    assert any("neither result.json nor progress.csv" in text and made[2].logdir in text for text in texts)
    assert len(frame) == 3


def test_a_result_that_is_half_written(tmp_path: Path) -> None:
    analysis = with_scores(tmp_path, [1.0, 2.0])
    logdir = analysis.trials[0].logdir
    with open(Path(logdir, "result.json"), "a") as file:
        file.write('{"score": 3.0, "trai')
    assert list(analysis.dataframe()["score"]) == [2.0]
    with pytest.warns(UserWarning, match="line 3 of the results is damaged"):
        assert list(analysis.fetch_trial_dataframes()[logdir]["score"]) == [1.0, 2.0]


def test_the_last_result_behind_a_long_tail(tmp_path: Path) -> None:
    analysis = with_scores(tmp_path, [1.0])
    logdir = Path(analysis.trials[0].logdir)
    long = json.dumps({"score": 9.0, "text": "x" * 200_000})
    (logdir / "result.json").write_text(json.dumps({"score": 1.0}) + "\n" + long + "\n")
    assert results_module.last_result(str(logdir))["score"] == 9.0


def test_a_read_only_directory_is_not_written_to(tmp_path: Path) -> None:
    make_experiment(tmp_path / "e", 2)

    def listing() -> list[tuple[str, int]]:
        return sorted((str(path), path.stat().st_mtime_ns) for path in [tmp_path / "e", *(tmp_path / "e").rglob("*")])

    for path in [*(tmp_path / "e").rglob("*"), tmp_path / "e"]:
        path.chmod(stat.S_IREAD | (stat.S_IEXEC if path.is_dir() else 0))
    before = listing()
    try:
        analysis = ExperimentAnalysis(tmp_path / "e", default_metric="acc", default_mode="max")
        assert len(analysis.dataframe()) == 2
        assert len(analysis.trial_dataframes) == 2
        assert analysis.best_trial is not None
        assert listing() == before
    finally:
        for path in [tmp_path / "e", *(tmp_path / "e").rglob("*")]:
            path.chmod(0o700)


# -- checkpoints -----------------------------------------------------------------------------------------------------------


def with_checkpoints(tmp_path: Path, *numbers: int) -> ExperimentAnalysis:
    analysis = with_scores(tmp_path, [1.0, 9.0, 5.0])
    for number in numbers:
        Path(analysis.trials[0].logdir, f"checkpoint_{number:06d}").mkdir()
        Path(analysis.trials[0].logdir, f"checkpoint_{number:06d}", "data").write_text(str(number))
    return analysis


def test_checkpoints_of_a_class_trainable(tmp_path: Path) -> None:
    analysis = with_checkpoints(tmp_path, 1, 2, 3)
    trial = analysis.trials[0]
    paths = analysis.get_trial_checkpoints_paths(trial)
    assert [(os.path.basename(path), score) for path, score in paths] == [
        ("checkpoint_000001", 1.0), ("checkpoint_000002", 9.0), ("checkpoint_000003", 5.0),
    ]  # fmt: skip
    assert analysis.get_trial_checkpoints_paths(trial.logdir) == paths
    assert [value for _, value in analysis.get_trial_checkpoints_paths(trial, "training_iteration")] == [1, 2, 3]
    best = analysis.get_best_checkpoint(trial, "score", "max", return_path=True)
    assert os.path.basename(str(best)) == "checkpoint_000002"
    assert (
        os.path.basename(str(analysis.get_best_checkpoint(trial, mode="min", return_path=True))) == "checkpoint_000001"
    )
    assert analysis.best_checkpoint is not None
    with analysis.best_checkpoint.as_directory() as directory:
        assert Path(directory, "data").read_text() == "2"
    last = analysis.get_last_checkpoint()
    assert last is not None
    assert os.path.basename(str(last.path)) == "checkpoint_000003"


def test_checkpoints_of_a_function_are_counted_from_zero(tmp_path: Path) -> None:
    analysis = with_checkpoints(tmp_path, 0, 2)
    file = Path(analysis.trials[0].logdir, "result.json")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for index in (0, 2):
        rows[index]["should_checkpoint"] = True
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [score for _, score in analysis.get_trial_checkpoints_paths(analysis.trials[0])] == [1.0, 5.0]


def test_no_checkpoint(tmp_path: Path) -> None:
    analysis = with_checkpoints(tmp_path)
    with pytest.warns(UserWarning, match="it has no checkpoints"):
        assert analysis.get_best_checkpoint(analysis.trials[0]) is None
    assert analysis.get_last_checkpoint(analysis.trials[0]) is None


# -- what Ray Tune 2.3.1 wrote ---------------------------------------------------------------------------------------------


def test_an_experiment_of_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = unpickling_is_noticed(monkeypatch)
    analysis = ExperimentAnalysis(RAY_EXPERIMENT, default_metric="score", default_mode="max")
    assert [(str(trial), trial.status) for trial in analysis.trials] == [
        ("fn_7dde8_00000", "TERMINATED"), ("fn_7dde8_00001", "TERMINATED"), ("fn_7dde8_00002", "ERROR"),
    ]  # fmt: skip
    best = analysis.best_trial
    assert best is not None
    assert best.config == {"x": 2, "nest": {"lr": 0.438213162331904}, "act": "relu"}
    assert best.evaluated_params == {"x": 2, "nest/lr": 0.438213162331904}
    assert best.last_result["training_iteration"] == 4
    assert analysis.get_best_trial("sub/loss", "min", scope="avg") == analysis.trials[0], "the first of equals"
    frame = analysis.dataframe("score", "max")
    assert list(frame["training_iteration"]) == [4, 4, 2]
    assert list(frame["config/nest/lr"])[1] == 0.438213162331904
    # Ray counts the checkpoints of functions from 0.
    scores = [score for trial in analysis.trials for _, score in analysis.get_trial_checkpoints_paths(trial)]
    assert scores == pytest.approx([3.3296665071720506, 6.438213162331904, 3.6267784887129383])
    assert "boom at x=3" in str(analysis.trials[2].error)
    assert analysis.runner_data()["_metric"] == "score"
    assert isinstance(analysis.runner_data()["_stopper"], PickledValue)
    assert analysis.runner_data()["_stopper"].description == "ray.tune.stopper.noop.NoopStopper"
    assert seen == []


def test_poison_in_an_experiment_of_ray_does_nothing(tmp_path: Path) -> None:
    shutil.copytree(RAY_EXPERIMENT, tmp_path / "e")
    marker = tmp_path / "ran"

    class Poison:
        def __reduce__(self) -> Any:
            return Path.touch, (marker,)

    poison = pickle.dumps(Poison())
    for file in (tmp_path / "e").glob("experiment_state*"):
        state = json.loads(file.read_text())

        def poisoned(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: poison.hex() if key == "value" else poisoned(item) for key, item in value.items()}
            return value

        state["checkpoints"] = [json.dumps(poisoned(json.loads(text))) for text in state["checkpoints"]]
        state["runner_data"] = poisoned(state["runner_data"])
        file.write_text(json.dumps(state))
    for trial in (tmp_path / "e").glob("fn_*"):
        for name in ("error.pkl", "params.pkl"):
            (trial / name).write_bytes(poison)
        for checkpoint in trial.glob("checkpoint_*"):
            (checkpoint / ".tune_metadata").write_bytes(poison)
    from aktis.tune.result_grid import ResultGrid

    analysis = ExperimentAnalysis(tmp_path / "e", default_metric="score", default_mode="max")
    analysis.trial_dataframes
    analysis.dataframe()
    analysis.get_best_checkpoint(analysis.trials[0], return_path=True)
    grid = ResultGrid(analysis)
    assert len(grid.errors) == 1
    assert [len(result.best_checkpoints) for result in grid] == [1, 1, 1]
    repr(grid)
    assert not marker.exists()
