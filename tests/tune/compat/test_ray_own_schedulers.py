"""Schedulers as people write them for Ray: their hooks get a ``trial_runner``, and use what that has there."""

from __future__ import annotations

from typing import Any

import pytest

from aktis import tune
from aktis.tune.experiment import Trial
from aktis.tune.schedulers import FIFOScheduler, TrialScheduler

pytestmark = pytest.mark.usefixtures("session")


class Counter(tune.Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self.n = 0

    def step(self) -> dict[str, Any]:
        self.n += 1
        return {"n": self.n, "nested": {"n": self.n}}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"n": self.n}

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.n = checkpoint["n"]


class Noting(FIFOScheduler):
    def __init__(self, stop_at: int = 100) -> None:
        super().__init__()
        self.stop_at = stop_at
        self.heard: list[Any] = []

    def on_trial_add(self, trial_runner: Any, trial: Trial) -> None:
        self.heard.append(("add", trial.status))

    def on_trial_error(self, trial_runner: Any, trial: Trial) -> None:
        self.heard.append("error")

    def on_trial_result(self, trial_runner: Any, trial: Trial, result: dict[str, Any]) -> str:
        assert trial in trial_runner.get_live_trials()
        assert "config" not in result
        assert trial.status == Trial.RUNNING
        self.heard.append(("result", result["training_iteration"], result.get("nested/n")))
        return TrialScheduler.STOP if result["training_iteration"] == self.stop_at else TrialScheduler.CONTINUE

    def on_trial_complete(self, trial_runner: Any, trial: Trial, result: dict[str, Any]) -> None:
        self.heard.append(("complete", result.get("training_iteration"), result.get("done")))

    def choose_trial_to_run(self, trial_runner: Any) -> Trial | None:
        for status in (Trial.PENDING, Trial.PAUSED):
            for trial in trial_runner.get_trials():
                if trial.status == status and trial_runner.trial_executor.has_resources_for_trial(trial):
                    return trial
        return None


def test_what_a_scheduler_hears() -> None:
    by_itself = Noting(stop_at=2)
    tune.run(Counter, stop={"n": 3}, scheduler=by_itself, verbose=0)
    assert by_itself.heard == [("add", "PENDING"), ("result", 1, 1), ("result", 2, 2), ("complete", 2, True)]
    by_rule = Noting()
    tune.run(Counter, stop={"n": 2}, scheduler=by_rule, verbose=0)  # stopping rules come before the scheduler
    assert by_rule.heard == [("add", "PENDING"), ("result", 1, 1), ("complete", 2, True)]

    def fails(config: dict[str, Any]) -> None:
        tune.report(a=1)
        raise ValueError

    retried = Noting()
    tune.run(fails, scheduler=retried, max_failures=1, raise_on_failed_trial=False, verbose=0)
    once = [("add", "PENDING"), ("result", 1, None), "error"]
    assert retried.heard == [*once, *once]


def test_a_function_that_returns_is_complete_once() -> None:
    def two(config: dict[str, Any]) -> None:
        tune.report(a=1)
        tune.report(a=2)

    scheduler = Noting()
    tune.run(two, scheduler=scheduler, verbose=0)
    assert scheduler.heard[-1] == ("complete", 2, True)
    assert sum(note[0] == "complete" for note in scheduler.heard) == 1


def test_pausing_by_decision_and_by_hand() -> None:
    class Pausing(Noting):
        def on_trial_result(self, trial_runner: Any, trial: Trial, result: dict[str, Any]) -> str:
            if result["n"] == 2:
                return TrialScheduler.PAUSE
            if result["n"] == 3:
                trial_runner.pause_trial(trial)
                return TrialScheduler.NOOP
            return TrialScheduler.CONTINUE

    config = {"x": tune.grid_search([1, 2])}
    analysis = tune.run(Counter, config=config, stop={"n": 5}, scheduler=Pausing(), verbose=0)
    for trial in analysis.trials:
        result = trial.last_result
        assert (trial.status, result["n"], result["training_iteration"]) == ("TERMINATED", 5, 5)
        assert result["iterations_since_restore"] == 2


def test_stopping_others_saving_and_marking_trials() -> None:
    class Ruthless(Noting):
        def on_trial_result(self, trial_runner: Any, trial: Trial, result: dict[str, Any]) -> str:
            trial_runner.trial_executor.save(trial)
            if result["n"] < 2:
                return TrialScheduler.CONTINUE
            trial.set_experiment_tag(f"{trial.experiment_tag}@winner")
            for other in trial_runner.get_trials():
                if other is not trial and not other.is_finished():
                    trial_runner.stop_trial(other)
            return TrialScheduler.STOP

    config = {"x": tune.grid_search([1, 2, 3])}
    analysis = tune.run(Counter, config=config, stop={"n": 10**6}, scheduler=Ruthless(), verbose=0)
    assert {trial.status for trial in analysis.trials} == {"TERMINATED"}
    (winner,) = (trial for trial in analysis.trials if trial.experiment_tag.endswith("@winner"))
    assert winner.has_checkpoint
    assert [tracked.metrics["n"] for tracked in winner.get_trial_checkpoints()] == [1, 2]
