"""Workers are killed at every moment of a trial's life: other trials do not notice, and nothing of it is left."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from aktis import tune
from aktis.tune import schedulers

pytestmark = pytest.mark.usefixtures("session")


def once(config: dict[str, Any], where: str) -> bool:
    """Whether it is time to die there: the first that comes does."""
    if config["where"] != where:
        return False
    try:
        os.close(os.open(config["mark"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Mortal(tune.Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self.count = 0
        if once(config, "setup"):
            die()

    def step(self) -> dict[str, Any]:
        self.count += 1
        if self.count == 3 and once(self.config, "step"):
            die()
        return {"count": self.count, "score": self.config["x"] * self.count}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        Path(checkpoint_dir, "half").write_text("half")
        if once(self.config, "save"):
            die()
        return {"count": self.count}

    def load_checkpoint(self, checkpoint: Any) -> None:
        if once(self.config, "load"):
            die()
        self.count = checkpoint["count"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        if once(self.config, "reset"):
            die()
        self.count = 0
        return True

    def cleanup(self) -> None:
        if once(self.config, "cleanup"):
            die()


def run(tmp_path: Path, where: str, **more: Any) -> Any:
    config = {"x": tune.grid_search([1, 2, 3, 4]), "where": where, "mark": str(tmp_path / "mark")}
    arguments: dict[str, Any] = {
        "config": config, "stop": {"count": 6}, "max_failures": 1, "verbose": 0, "raise_on_failed_trial": False,
        "local_dir": str(tmp_path), "name": "run", **more,
    }  # fmt: skip
    analysis = tune.run(Mortal, **arguments)
    assert not list(tmp_path.glob("run/*/.writing*"))
    return analysis


def pbt() -> Any:
    return schedulers.PopulationBasedTraining(
        time_attr="count", metric="score", mode="max", perturbation_interval=2, quantile_fraction=0.5, synch=True, seed=1,
        hyperparam_mutations={"x": tune.uniform(1, 9)},
    )  # fmt: skip


@pytest.mark.parametrize("where", ["setup", "step", "save", "cleanup"])
def test_a_trial_survives_the_death_of_its_worker(where: str, tmp_path: Path) -> None:
    analysis = run(tmp_path, where, checkpoint_freq=2)
    assert (tmp_path / "mark").exists()
    assert [(trial.status, trial.last_result["count"]) for trial in analysis.trials] == [("TERMINATED", 6)] * 4
    assert sum(trial.num_failures for trial in analysis.trials) == (where != "cleanup")


@pytest.mark.parametrize("where", ["step", "save", "load"])
def test_a_population_survives_deaths_while_it_exploits(where: str, tmp_path: Path) -> None:
    analysis = run(tmp_path, where, scheduler=pbt(), checkpoint_freq=0 if where == "step" else 2)
    assert (tmp_path / "mark").exists()
    assert [(trial.status, trial.last_result["count"]) for trial in analysis.trials] == [("TERMINATED", 6)] * 4


@pytest.mark.parametrize("where", ["setup", "step", "save"])
def test_brackets_go_on_without_a_trial_that_died_for_good(where: str, tmp_path: Path) -> None:
    scheduler = schedulers.HyperBandScheduler(time_attr="count", metric="score", mode="max", max_t=6)
    analysis = run(tmp_path, where, scheduler=scheduler, max_failures=0)
    assert sorted(trial.status for trial in analysis.trials) == ["ERROR"] + ["TERMINATED"] * 3


def test_the_death_of_an_actor_in_between_is_not_the_fault_of_the_next_trial(tmp_path: Path) -> None:
    analysis = run(tmp_path, "reset", reuse_actors=True, max_concurrent_trials=1, max_failures=0)
    assert (tmp_path / "mark").exists()
    assert [(trial.status, trial.num_failures) for trial in analysis.trials] == [("TERMINATED", 0)] * 4
    assert [trial.last_result["count"] for trial in analysis.trials] == [6] * 4


class Hangs(tune.Trainable):
    def step(self) -> dict[str, Any]:
        if self.config["where"] == "step":
            time.sleep(1000)
        return {"a": 1, "done": True}

    def cleanup(self) -> None:
        time.sleep(1000)


def never_ends(config: dict[str, Any]) -> None:
    while True:
        try:
            tune.report(a=1)
            time.sleep(1000)
        except BaseException:
            pass


@pytest.mark.parametrize("where", ["step", "cleanup"])
def test_what_hangs_is_killed_when_the_run_ends(where: str) -> None:
    analysis = tune.run(Hangs, config={"where": where}, time_budget_s=0.5, verbose=0)
    assert analysis.trials[0].status == "TERMINATED"


@pytest.mark.filterwarnings("ignore:.*has not ended:RuntimeWarning")
def test_a_function_that_will_not_end_is_killed_when_the_run_ends() -> None:
    analysis = tune.run(never_ends, time_budget_s=0.5, verbose=0)
    assert analysis.trials[0].status == "TERMINATED"


def test_a_run_that_fails_does_not_wait_for_what_hangs() -> None:
    class Raises(tune.Callback):
        def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
            if trials and trials[0].status == "RUNNING":
                raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        tune.run(Hangs, config={"where": "step"}, callbacks=[Raises()], verbose=0)
