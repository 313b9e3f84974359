"""tune.run with real actors: what users write, and what they get."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import aktis
from aktis import air, tune
from aktis.air import session as air_session
from aktis.tune import schedulers
from aktis.tune.stopper import FunctionStopper

pytestmark = pytest.mark.usefixtures("session")


def linear(config: dict[str, Any]) -> None:
    for step in range(config.get("steps", 3)):
        tune.report(score=config["x"] * (step + 1))


class Counting(tune.Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self.config = config
        self.count = 0

    def step(self) -> dict[str, Any]:
        self.count += 1
        if self.count == self.config.get("fails_at") and not os.path.exists(self.config["marker"]):
            Path(self.config["marker"]).touch()
            raise ValueError("it broke, once")
        return {"count": self.count, "score": self.count * self.config.get("x", 1)}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"count": self.count}

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.count = checkpoint["count"]


def test_the_program_of_the_first_page() -> None:
    def training_function(config: dict[str, Any]) -> None:
        time.sleep(0.05)
        tune.report(score=config["x"] - config["y"])

    space = {"x": tune.grid_search([0, -1, -2, -3, -4]), "y": tune.grid_search([0, 1, 2, 3, 4])}
    result = tune.run(training_function, config=space, resources_per_trial={"cpu": 0.25}, verbose=0)
    assert len(result.trials) == 25
    assert result.get_best_config(metric="score", mode="min") == {"x": -4, "y": 4}
    assert {trial.status for trial in result.trials} == {"TERMINATED"}


def test_many_trials_that_only_sleep_run_at_once() -> None:
    @aktis.remote(num_cpus=0)
    class Most:
        """How many are there at the same time."""

        def __init__(self) -> None:
            self.now = self.most = 0

        def enter(self, by: int) -> int:
            self.now += by
            self.most = max(self.most, self.now)
            return self.most

    most = Most.remote()

    def sleeps(config: dict[str, Any]) -> None:
        aktis.get(most.enter.remote(1))
        deadline = time.monotonic() + 20
        while aktis.get(most.enter.remote(0)) < 10 and time.monotonic() < deadline:
            time.sleep(0.01)
        aktis.get(most.enter.remote(-1))
        tune.report(ok=1)

    tune.run(sleeps, num_samples=12, resources_per_trial={"cpu": 0.3}, verbose=0)
    assert aktis.get(most.enter.remote(0)) >= 10


def test_files_are_where_tools_look_for_them(tmp_path: Path) -> None:
    analysis = tune.run(
        linear, name="files", config={"x": tune.grid_search([1, 2])}, local_dir=str(tmp_path), verbose=0
    )
    folder = tmp_path / "files"
    assert len(list(folder.glob("experiment_state-*.json"))) == 1
    for trial in analysis.trials:
        logdir = Path(trial.logdir)
        assert logdir.parent == folder
        assert logdir.name.startswith(f"linear_{trial.trial_id}_{trial.experiment_tag}_20")
        rows = [json.loads(line) for line in (logdir / "result.json").read_text().splitlines()]
        assert [row["score"] for row in rows] == [trial.config["x"] * step for step in (1, 2, 3)]
        assert json.loads((logdir / "params.json").read_text()) == trial.config
        assert len((logdir / "progress.csv").read_text().splitlines()) == 4
        assert list(logdir.glob("events.out.tfevents*"))
    assert sorted(analysis.results_df["score"]) == [3, 6]
    again = tune.ExperimentAnalysis(str(folder))
    assert again.get_best_config("score", "max") == {"x": 2}


def test_the_end_of_a_function_is_logged_once() -> None:
    class Listener(tune.Callback):
        def __init__(self) -> None:
            self.heard: list[str] = []

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
            self.heard.append(f"result {result['training_iteration']} {result['config']['x']}")

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            self.heard.append("complete")

        def on_experiment_end(self, trials: Any, **info: Any) -> None:
            self.heard.append(f"end of {len(trials)}")

    listener = Listener()
    tune.run(linear, config={"x": 5, "steps": 2}, callbacks=[listener], verbose=0)
    assert listener.heard == ["result 1 5", "result 2 5", "complete", "end of 1"]


def test_code_after_the_report_that_ends_a_trial_does_not_run(tmp_path: Path) -> None:
    def f(config: dict[str, Any]) -> None:
        for step in range(1, 100):
            tune.report(step=step)
            (tmp_path / f"after-{step}").touch()

    analysis = tune.run(f, stop={"step": 3}, verbose=0)
    assert sorted(path.name for path in tmp_path.glob("after-*")) == ["after-1", "after-2"]
    assert analysis.trials[0].last_result["step"] == 3


@pytest.mark.parametrize(
    "stop",
    [
        {"training_iteration": 2},
        lambda trial_id, result: result["training_iteration"] >= 2,
        tune.stopper.MaximumIterationStopper(2),
        FunctionStopper(lambda trial_id, result: result["score"] >= 2),
    ],
)
def test_every_kind_of_stop(stop: Any) -> None:
    analysis = tune.run(linear, config={"x": 1, "steps": 50}, stop=stop, verbose=0)
    assert analysis.trials[0].last_result["training_iteration"] == 2


def test_a_time_budget_ends_the_run() -> None:
    def endless(config: dict[str, Any]) -> None:
        while True:
            time.sleep(0.02)
            tune.report(a=1)

    analysis = tune.run(endless, num_samples=-1, time_budget_s=3, verbose=0)
    assert {trial.status for trial in analysis.trials} <= {"TERMINATED", "PENDING"}
    assert analysis.trials[0].last_result["a"] == 1


def test_class_trainables_save_restore_and_retry(tmp_path: Path) -> None:
    analysis = tune.run(
        Counting, config={"fails_at": 4, "marker": str(tmp_path / "failed")}, stop={"count": 6}, max_failures=1, checkpoint_freq=2,
        checkpoint_at_end=True, keep_checkpoints_num=1, verbose=0,
    )  # fmt: skip
    trial = analysis.trials[0]
    assert trial.status == "TERMINATED"
    assert (trial.last_result["count"], trial.num_failures) == (6, 1)
    assert trial.last_result["training_iteration"] == 6
    counts = [json.loads(line)["count"] for line in (Path(trial.logdir) / "result.json").read_text().splitlines()]
    assert counts == [1, 2, 3, 3, 4, 5, 6]
    assert [path.name for path in Path(trial.logdir).glob("checkpoint_*")] == ["checkpoint_000006"]
    assert analysis.get_last_checkpoint(trial).to_dict()["count"] == 6
    assert "it broke, once" in (Path(trial.logdir) / "error.txt").read_text()


def test_functions_go_on_from_what_they_reported(tmp_path: Path) -> None:
    def f(config: dict[str, Any]) -> None:
        checkpoint = air_session.get_checkpoint()
        start = checkpoint.to_dict()["step"] if checkpoint else 0
        for step in range(start + 1, 5):
            if step == 3 and not (tmp_path / "failed").exists():
                (tmp_path / "failed").touch()
                os._exit(1)
            air_session.report({"step": step}, checkpoint=air.Checkpoint.from_dict({"step": step}))

    analysis = tune.run(f, max_failures=2, verbose=0)
    trial = analysis.trials[0]
    assert trial.status == "TERMINATED"
    steps = [json.loads(line)["step"] for line in (Path(trial.logdir) / "result.json").read_text().splitlines()]
    assert steps == [1, 2, 3, 4]
    assert trial.num_failures == 1


def test_a_failed_trial_is_an_error_that_names_it_and_has_the_cause() -> None:
    def f(config: dict[str, Any]) -> None:
        tune.report(a=1)
        raise KeyError(f"no {config['x']}")

    with pytest.raises(tune.TuneError, match="1 of 1 trials failed: f_") as caught:
        tune.run(f, config={"x": 7}, verbose=0)
    assert isinstance(caught.value.__cause__, KeyError)
    analysis = tune.run(f, config={"x": 7}, verbose=0, raise_on_failed_trial=False)
    trial = analysis.trials[0]
    assert trial.status == "ERROR"
    text = Path(trial.error_file).read_text()
    assert "KeyError: 'no 7'" in text
    assert "test_run.py" in text


def test_fail_fast_raises_what_was_raised() -> None:
    def f(config: dict[str, Any]) -> None:
        raise ZeroDivisionError("now")

    with pytest.raises(ZeroDivisionError, match="now"):
        tune.run(f, num_samples=50, fail_fast="raise", verbose=0)
    with pytest.raises(tune.TuneError, match="trials failed"):
        tune.run(f, num_samples=50, fail_fast=True, verbose=0)


def test_a_missing_metric_is_an_error_that_names_what_was_reported() -> None:
    with pytest.raises(ValueError, match=r"reported no 'scores'.*\['score'\].*Did you mean 'score'"):
        tune.run(linear, config={"x": 1}, metric="scores", mode="max", verbose=0)


def test_nan_does_not_win() -> None:
    def f(config: dict[str, Any]) -> None:
        tune.report(score=float("nan") if config["x"] == 2 else config["x"])

    analysis = tune.run(f, config={"x": tune.grid_search([1, 2, 3])}, metric="score", mode="max", verbose=0)
    assert analysis.best_config == {"x": 3}


def test_each_trial_has_its_directory_output_and_name(tmp_path: Path) -> None:
    def f(config: dict[str, Any]) -> None:
        print("hello from", config["x"])
        Path("mine.txt").write_text(str(config["x"]))
        tune.report(where=os.getcwd(), name=tune.get_trial_name(), dir=tune.get_trial_dir(), id=tune.get_trial_id())

    before = os.getcwd()
    analysis = tune.run(
        f, config={"x": tune.grid_search([1, 2, 3])}, log_to_file=True, verbose=0,
        trial_name_creator=lambda trial: f"trial-{trial.config['x']}",
        trial_dirname_creator=lambda trial: f"dir-{trial.config['x']}",
    )  # fmt: skip
    assert os.getcwd() == before
    for trial in analysis.trials:
        x = trial.config["x"]
        result = trial.last_result
        assert str(trial) == result["name"] == f"trial-{x}"
        assert os.path.basename(trial.logdir) == f"dir-{x}"
        assert result["where"] == result["dir"] == trial.logdir
        assert (Path(trial.logdir) / "mine.txt").read_text() == str(x)
        assert f"hello from {x}" in (Path(trial.logdir) / "stdout").read_text()
        assert result["id"] == trial.trial_id


def test_actors_are_reused_for_functions() -> None:
    def f(config: dict[str, Any]) -> None:
        tune.report(process=os.getpid())

    analysis = tune.run(f, num_samples=12, max_concurrent_trials=2, verbose=0)
    assert len({trial.last_result["process"] for trial in analysis.trials}) <= 2
    apart = tune.run(f, num_samples=3, max_concurrent_trials=1, reuse_actors=False, verbose=0)
    assert len({trial.last_result["process"] for trial in apart.trials}) == 3


def test_children_run_in_the_bundles_of_the_trial() -> None:
    @aktis.remote(num_cpus=1)
    def child() -> int:
        return os.getpid()

    def f(config: dict[str, Any]) -> None:
        tune.report(children=len(set(aktis.get([child.remote() for _ in range(4)]))))

    bundles = tune.PlacementGroupFactory([{"CPU": 1}, {"CPU": 1}, {"CPU": 1}])
    analysis = tune.run(f, resources_per_trial=bundles, num_samples=2, verbose=0)
    assert all(trial.last_result["children"] <= 2 for trial in analysis.trials)
    assert aktis.util.placement_group_table() == {} or all(
        entry["state"] == "REMOVED" for entry in aktis.util.placement_group_table().values()
    )


@pytest.mark.parametrize("kind", ["function", "class"])
def test_trials_that_hold_all_cpus_lend_them_to_their_children(kind: str) -> None:
    @aktis.remote(num_cpus=1)
    def child(x: int) -> int:
        return x + 1

    def f(config: dict[str, Any]) -> None:
        for step in range(3):
            tune.report(x=aktis.get(child.remote(step)))

    class Asks(tune.Trainable):
        def step(self) -> dict[str, Any]:
            return {"x": aktis.get(child.remote(2)), "done": True}

    analysis = tune.run(f if kind == "function" else Asks, num_samples=4, verbose=0)  # the session has four CPUs
    assert [trial.last_result["x"] for trial in analysis.trials] == [3] * 4


def test_parameters_travel_beside_the_configuration() -> None:
    def f(config: dict[str, Any], data: list[int], factor: int) -> None:
        tune.report(total=sum(data) * factor)

    analysis = tune.run(tune.with_parameters(f, data=list(range(1000)), factor=2), num_samples=2, verbose=0)
    assert [trial.last_result["total"] for trial in analysis.trials] == [999000, 999000]


@pytest.mark.parametrize("name", ["asha", "hyperband", "median_stopping_rule"])
def test_schedulers_by_name(name: str) -> None:
    analysis = tune.run(
        Counting, config={"x": tune.grid_search([1, 2, 3, 4, 5, 6])}, scheduler=name, metric="score", mode="max",
        stop={"training_iteration": 9}, verbose=0,
    )  # fmt: skip
    assert {trial.status for trial in analysis.trials} == {"TERMINATED"}
    assert analysis.best_config["x"] == 6


def test_population_based_training_takes_over_weights_and_mutates(tmp_path: Path) -> None:
    scheduler = schedulers.PopulationBasedTraining(
        time_attr="training_iteration", metric="score", mode="max", perturbation_interval=2,
        hyperparam_mutations={"x": tune.uniform(1, 100)}, synch=True, seed=3,
    )  # fmt: skip
    analysis = tune.run(
        Counting, name="pbt", config={"x": tune.uniform(1, 100)}, num_samples=4, scheduler=scheduler,
        stop={"training_iteration": 12}, local_dir=str(tmp_path), verbose=0,
    )  # fmt: skip
    assert {trial.status for trial in analysis.trials} == {"TERMINATED"}
    policies = (tmp_path / "pbt" / "pbt_global.txt").read_text().splitlines()
    assert policies
    assert any("@perturbed" in trial.experiment_tag for trial in analysis.trials)


def test_experiments_run_together() -> None:
    experiments = {
        "one": {"run": linear, "config": {"x": 1}, "num_samples": 2},
        "two": {"run": Counting, "stop": {"count": 2}, "config": {"x": 1}},
    }
    trials = tune.run_experiments(experiments, verbose=0)
    assert sorted(trial.experiment_name for trial in trials) == ["one", "one", "two"]
    assert {trial.status for trial in trials} == {"TERMINATED"}
    assert {os.path.basename(os.path.dirname(trial.logdir)) for trial in trials} == {"one", "two"}


def test_runs_without_a_name_that_begin_in_the_same_second_have_directories_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aktis.tune._execution.naming.stamp", lambda now: "then")
    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(tune.run, linear, config={"x": x}, verbose=0) for x in range(3)]
    assert sorted(run.result().results_df["score"].item() for run in runs) == [0, 3, 6]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["linear_then", "linear_then-2", "linear_then-3"]


def test_the_same_name_again_is_another_run(tmp_path: Path) -> None:
    first = tune.run(linear, name="again", config={"x": 1}, local_dir=str(tmp_path), verbose=0)
    second = tune.run(linear, name="again", config={"x": 2}, local_dir=str(tmp_path), verbose=0)
    assert first.trials[0].trial_id != second.trials[0].trial_id
    assert os.path.isdir(first.trials[0].logdir)
    resumed = tune.run(linear, name="again", config={"x": 2}, local_dir=str(tmp_path), resume=True, verbose=0)
    assert [trial.trial_id for trial in resumed.trials] == [second.trials[0].trial_id]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"num_samples": 0}, ValueError, "num_samples must be at least 1"),
        ({"num_samples": "many"}, TypeError, "'many'"),
        ({"mode": "best"}, ValueError, "'best'"),
        ({"max_failures": -2}, ValueError, "-2"),
        ({"fail_fast": True, "max_failures": 1}, ValueError, "give one of them"),
        ({"fail_fast": "never"}, ValueError, "'never'"),
        ({"stop": 5}, ValueError, "stop must be"),
        ({"resources_per_trial": {"cpus": -1}}, ValueError, "-1"),
        ({"resources_per_trial": 3}, TypeError, "3"),
        ({"config": [1]}, TypeError, r"\[1\]"),
        ({"name": "a/b"}, ValueError, "'a/b'"),
        ({"verbose": 7}, ValueError, "7"),
        ({"callbacks": ["x"]}, TypeError, "'x'"),
        ({"scheduler": "no-such"}, ValueError, "no-such"),
        ({"search_alg": "no-such"}, ValueError, "no-such"),
        ({"log_to_file": 3}, ValueError, "3"),
        ({"resume": "SOMEHOW"}, ValueError, "SOMEHOW"),
        ({"resume": True, "name": "never-run"}, ValueError, "never-run"),
        ({"checkpoint_freq": 3}, ValueError, "session.report"),
        ({"max_concurrent_trials": -1}, ValueError, "-1"),
        ({"progress_reporter": 1}, TypeError, "1"),
        ({"trial_executor": 1}, tune.TuneError, "trial_executor"),
        ({"restore": "/no/such/place"}, ValueError, "/no/such/place"),
        ({"resources_per_trial": {"cpu": 400}}, tune.TuneError, "400"),
    ],
)
def test_bad_arguments_are_named_before_anything_starts(
    arguments: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    def never(config: dict[str, Any]) -> None:
        (tmp_path / "started").touch()

    with pytest.raises(error, match=words):
        tune.run(never, **{"verbose": 0, **arguments})
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("trainable", [None, 5, "not-registered", object(), int])
def test_what_cannot_be_run_is_an_error_at_once(trainable: Any) -> None:
    with pytest.raises((tune.TuneError, TypeError, ValueError)):
        tune.run(trainable, verbose=0)


def test_a_directory_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(tune.TuneError, match="cannot be made"):
        tune.run(linear, config={"x": 1}, local_dir=str(tmp_path / "file"), verbose=0)


def test_what_cannot_be_pickled_is_named() -> None:
    import threading

    lock = threading.Lock()

    def f(config: dict[str, Any]) -> None:
        with lock:
            tune.report(a=1)

    with pytest.raises(Exception, match="lock"):
        tune.run(f, verbose=0)
