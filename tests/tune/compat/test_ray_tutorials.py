"""Programs of the kind that tutorials of Ray's era show."""

from __future__ import annotations

import functools
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from aktis import air, tune
from aktis.air import session as air_session
from aktis.tune.schedulers import ASHAScheduler, PopulationBasedTraining

pytestmark = pytest.mark.usefixtures("session")


def train_old_style(config: dict[str, Any], checkpoint_dir: str | None = None, data_dir: str | None = None) -> None:
    weight = float(Path(checkpoint_dir, "weight").read_text()) if checkpoint_dir else 0.0
    for epoch in range(4):
        weight += config["lr"]
        with tune.checkpoint_dir(epoch) as folder:
            Path(folder, "weight").write_text(str(weight))
        tune.report(loss=1 / weight, data=data_dir)


@pytest.mark.filterwarnings("ignore:.*checkpoint_dir is deprecated:DeprecationWarning")
def test_checkpoint_dirs_and_the_best_trial() -> None:
    analysis = tune.run(
        functools.partial(train_old_style, data_dir="/data"), config={"lr": tune.grid_search([0.1, 0.2])},
        resources_per_trial={"cpu": 1, "gpu": 0}, keep_checkpoints_num=2, checkpoint_score_attr="min-loss", verbose=0,
        scheduler=ASHAScheduler(metric="loss", mode="min", max_t=10, grace_period=5),
    )  # fmt: skip
    best = analysis.get_best_trial("loss", "min", "last")
    assert best.config == {"lr": 0.2}
    assert best.last_result["loss"] == pytest.approx(1.25)
    assert best.last_result["data"] == "/data"
    for folder in (best.checkpoint.dir_or_data, best.checkpoint.value, best.checkpoint.to_air_checkpoint().path):
        assert os.path.basename(folder) == "checkpoint_000003"
    assert float(Path(best.checkpoint.dir_or_data, "weight").read_text()) == pytest.approx(0.8)
    assert sorted(name for name in os.listdir(best.logdir) if name.startswith("checkpoint")) == [
        "checkpoint_000002",
        "checkpoint_000003",
    ]


def test_the_dict_of_a_checkpoint_in_memory_is_its_data() -> None:
    assert air.Checkpoint.from_dict({"a": 1}).dir_or_data == {"a": 1}


def test_population_based_training_of_a_function(tmp_path: Path) -> None:
    def f(config: dict[str, Any]) -> None:
        state = {"step": 0, "score": 0.0}
        checkpoint = air_session.get_checkpoint()
        if checkpoint:
            state = checkpoint.to_dict()
        while True:
            state = {"step": state["step"] + 1, "score": state["score"] + config["lr"]}
            air_session.report({**state, "lr": config["lr"]}, checkpoint=air.Checkpoint.from_dict(state))

    scheduler = PopulationBasedTraining(
        time_attr="training_iteration", perturbation_interval=2, metric="score", mode="max", synch=True, quantile_fraction=0.5,
        hyperparam_mutations={"lr": tune.uniform(1, 10)}, custom_explore_fn=lambda config: {**config, "explored": True},
    )  # fmt: skip
    results = tune.Tuner(
        f,
        param_space={"lr": tune.grid_search([1.0, 8.0])},
        run_config=air.RunConfig(name="pbt", local_dir=str(tmp_path), verbose=0, stop={"training_iteration": 6}),
        tune_config=tune.TuneConfig(scheduler=scheduler),
    ).fit()
    assert not results.errors
    assert {result.metrics["step"] for result in results} == {6}
    assert all(result.metrics["score"] > 20 for result in results)  # the worse one took over from the better one
    assert results[0].config["explored"]
    record = json.loads((tmp_path / "pbt" / "pbt_global.txt").read_text().splitlines()[0])
    assert record[:4] == ["0_lr=1.0000", "1_lr=8.0000", 2, 2]
    assert record[4]["lr"] == 8.0  # the one that it took over, before exploring
    assert (tmp_path / "pbt" / f"pbt_policy_{results[0].metrics['trial_id']}.txt").exists()


class Benchmark(tune.Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self.lr, self.accuracy = config["lr"], 0.0

    def step(self) -> dict[str, Any]:
        self.accuracy += self.lr
        return {"accuracy": self.accuracy, "lr": self.lr, "config_lr": self.config["lr"]}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"accuracy": self.accuracy}

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.accuracy = checkpoint["accuracy"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        # Ray calls it with the new configuration in place already.
        assert self.config == new_config
        self.lr = new_config["lr"]
        return True


def test_population_based_training_of_a_class_that_can_be_reset() -> None:
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration", perturbation_interval=3, synch=True,
        hyperparam_mutations={"lr": lambda: random.uniform(1, 9), "other": [1, 2]},
    )  # fmt: skip
    analysis = tune.run(
        Benchmark, scheduler=scheduler, metric="accuracy", mode="max", reuse_actors=True, verbose=0,
        stop={"training_iteration": 9}, config={"lr": tune.grid_search([1.0, 2.0, 3.0, 4.0]), "other": 1},
    )  # fmt: skip
    assert {(trial.status, trial.last_result["training_iteration"]) for trial in analysis.trials} == {("TERMINATED", 9)}
    perturbed = [trial for trial in analysis.trials if "@perturbed[" in trial.experiment_tag]
    assert perturbed
    for trial in perturbed:
        assert trial.last_result["lr"] == trial.last_result["config_lr"] == trial.config["lr"]
        # params.json follows the configuration.
        assert json.loads(Path(trial.logdir, "params.json").read_text())["lr"] == trial.config["lr"]


KINDS = {
    "dict": (dict, None),
    "directory": (str, "checkpoint_000002"),
    "file": (str, "checkpoint_000002/f"),
    "nothing": (str, "checkpoint_000002"),
}


class Saving(tune.Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self.loaded: Any = None

    def step(self) -> dict[str, Any]:
        return {"kind": type(self.loaded).__name__, "tail": self.loaded if isinstance(self.loaded, str) else None}

    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        if self.config["kind"] == "dict":
            return {"a": 1}
        Path(checkpoint_dir, "f").write_text("x")
        return {"directory": checkpoint_dir, "file": f"{checkpoint_dir}/f", "nothing": None}[self.config["kind"]]

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.loaded = checkpoint


@pytest.mark.parametrize("kind", list(KINDS))
def test_load_checkpoint_gets_what_save_checkpoint_gave(kind: str) -> None:
    first = tune.run(
        Saving, config={"kind": kind}, stop={"training_iteration": 2}, checkpoint_freq=1, verbose=0
    ).trials[0]
    again = tune.run(
        Saving, config={"kind": kind}, stop={"training_iteration": 3}, restore=first.checkpoint.dir_or_data, verbose=0
    ).trials[0]
    expected, tail = KINDS[kind]
    assert again.last_result["kind"] == expected.__name__
    assert again.last_result["training_iteration"] == 3
    if tail is not None:
        assert again.last_result["tail"].endswith(tail)


def test_what_functions_may_return() -> None:
    def returns(config: dict[str, Any]) -> Any:
        return {"a": 5}

    def number(config: dict[str, Any]) -> Any:
        return 7

    def yields(config: dict[str, Any]) -> Any:
        yield from ({"a": value} for value in range(3))

    def yields_numbers(config: dict[str, Any]) -> Any:
        yield from range(3)

    def nothing(config: dict[str, Any]) -> None:
        pass

    def old_reporter(config: dict[str, Any], reporter: Any) -> None:
        reporter(a=1)
        reporter(a=2)

    def says_done(config: dict[str, Any]) -> None:
        for value in range(5):
            tune.report(a=value, done=value == 2)

    def last(function: Any) -> Any:
        trial = tune.run(function, verbose=0).trials[0]
        result = trial.last_result
        assert trial.status == "TERMINATED"
        assert result["done"] is True
        return result.get("a", result.get("_metric")), result.get("training_iteration")

    assert last(returns) == (5, 1)
    assert last(number) == (7, 1)
    assert last(yields) == (2, 3)
    assert last(yields_numbers) == (2, 3)  # Ray loses the 0: it takes it for nothing
    assert last(nothing)[0] is None
    assert last(old_reporter) == (2, 2)
    assert last(says_done) == (2, 3)


@pytest.mark.parametrize(
    ("resume", "score", "start"),
    [
        ("AUTO", 1, 0),
        ("LOCAL+ERRORED", 3, 2),
        ("AUTO+ERRORED_ONLY", 3, 2),
        ("LOCAL+RESTART_ERRORED", 3, 0),
        ("LOCAL+RESTART_ERRORED_ONLY", 3, 0),
    ],
)
def test_resuming_failed_trials(tmp_path: Path, resume: str, score: int, start: int) -> None:
    mark = str(tmp_path / "mark")

    def f(config: dict[str, Any]) -> None:
        checkpoint = air_session.get_checkpoint()
        begin = checkpoint.to_dict()["i"] + 1 if checkpoint else 0
        for i in range(begin, 4):
            air_session.report({"i": i, "start": begin}, checkpoint=air.Checkpoint.from_dict({"i": i}))
            if i == 1 and config["x"] == 1 and not os.path.exists(mark):
                Path(mark).touch()
                raise RuntimeError

    def run(**more: Any) -> Any:
        space = {"x": tune.grid_search([0, 1])}
        return tune.run(
            f, name="again", local_dir=str(tmp_path), config=space, raise_on_failed_trial=False, verbose=0, **more
        )

    assert [trial.status for trial in run().trials] == ["TERMINATED", "ERROR"]
    whole, failed = (trial.last_result for trial in run(resume=resume).trials)
    assert (whole["i"], whole["start"]) == (3, 0)
    assert (failed["i"], failed["start"]) == (score, start)


def test_resources_that_depend_on_the_configuration() -> None:
    def f(config: dict[str, Any]) -> None:
        tune.report(cpus=tune.get_trial_resources().required_resources["CPU"])

    analysis = tune.run(
        f,
        config={"x": tune.grid_search([1, 2])},
        resources_per_trial={"cpu": tune.sample_from(lambda spec: spec.config.x + 1)},
        verbose=0,
    )
    assert [trial.last_result["cpus"] for trial in analysis.trials] == [2, 3]
