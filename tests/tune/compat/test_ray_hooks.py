"""The hooks of callbacks: which are called, in which order, with what. As Ray 2.3.1 calls them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from aktis import air, tune
from aktis.air import session as air_session
from aktis.tune.logger import LoggerCallback

pytestmark = pytest.mark.usefixtures("session")


class Counter(tune.Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self.n = 0

    def step(self) -> dict[str, Any]:
        self.n += 1
        if self.n == 3 and "fails" in self.config and not os.path.exists(self.config["fails"]):
            Path(self.config["fails"]).touch()
            raise ValueError("once")
        return {"n": self.n}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"n": self.n}

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.n = checkpoint["n"]


class Listener(tune.Callback):
    """Notes each hook but those of turns."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.setup_info: dict[str, Any] = {}

    def setup(self, *args: Any, **info: Any) -> None:
        assert not args
        self.setup_info = info

    def on_trial_start(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        assert trial in trials
        self.heard.append("start")

    def on_trial_restore(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        self.heard.append("restore")

    def on_trial_save(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        self.heard.append("save")

    def on_trial_result(self, iteration: int, trials: Sequence[Any], trial: Any, result: Any, **info: Any) -> None:
        assert result["config"] == trial.config
        self.heard.append(f"result {result['n']}" + (" done" if result["done"] else ""))

    def on_trial_complete(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        assert trial.last_result["done"]
        self.heard.append("complete")

    def on_trial_error(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        self.heard.append("error")

    def on_checkpoint(self, iteration: int, trials: Sequence[Any], trial: Any, checkpoint: Any, **info: Any) -> None:
        self.heard.append("checkpoint")

    def on_experiment_end(self, trials: Sequence[Any], **info: Any) -> None:
        self.heard.append(f"end of {len(trials)}")


def heard(run: Any, **arguments: Any) -> list[str]:
    listener = Listener()
    tune.run(run, callbacks=[listener], verbose=0, raise_on_failed_trial=False, **arguments)
    return listener.heard


def test_the_result_that_ends_a_trial_gets_its_checkpoint_too() -> None:
    saved = ["checkpoint", "save"]
    assert heard(Counter, stop={"n": 3}, checkpoint_freq=1) == [
        "start", "result 1", *saved, "result 2", *saved, "result 3 done", *saved, "complete", "end of 1",
    ]  # fmt: skip
    assert heard(Counter, stop={"n": 2}, checkpoint_at_end=True) == [
        "start", "result 1", "result 2 done", *saved, "complete", "end of 1",
    ]  # fmt: skip


def test_a_trial_that_is_tried_again_starts_and_then_restores(tmp_path: Path) -> None:
    config = {"fails": str(tmp_path / "failed")}
    assert heard(Counter, config=config, stop={"n": 3}, checkpoint_freq=2, max_failures=1) == [
        "start", "result 1", "result 2", "checkpoint", "save", "start", "restore", "result 3 done", "complete", "end of 1",
    ]  # fmt: skip


def test_functions_report_first_and_their_checkpoint_follows() -> None:
    def f(config: dict[str, Any]) -> None:
        air_session.report({"n": 1})
        air_session.report({"n": 2}, checkpoint=air.Checkpoint.from_dict({"n": 2}))

    assert heard(f) == ["start", "result 1", "result 2", "checkpoint", "save", "complete", "end of 1"]


def test_no_listener_hears_of_the_error_of_a_trial_that_never_began() -> None:
    class Broken(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            raise RuntimeError("in setup")

    assert heard(Broken) == ["start", "error", "end of 1"]

    class Keyed(LoggerCallback):
        """As people write them: what log_trial_start() opened is closed in log_trial_end()."""

        def __init__(self) -> None:
            self.open: dict[Any, list[str]] = {}

        def log_trial_start(self, trial: Any) -> None:
            self.open[trial] = []

        def log_trial_end(self, trial: Any, failed: bool = False) -> None:
            self.open[trial].append("failed" if failed else "done")

    keyed = Keyed()
    analysis = tune.run(Broken, callbacks=[keyed], verbose=0, raise_on_failed_trial=False)
    assert list(keyed.open.values()) == [["failed"]]
    # Ray leaves the parameters of such a trial, too.
    assert {"params.json", "error.txt"} <= set(os.listdir(analysis.trials[0].logdir))


def test_setup_says_what_will_be_run() -> None:
    listener = Listener()
    tune.run(
        Counter, config={"x": tune.grid_search([1, 2])}, num_samples=2, stop={"n": 1}, time_budget_s=100, callbacks=[listener],
        verbose=0,
    )  # fmt: skip
    info = listener.setup_info
    assert (info["stop"], info["num_samples"], info["total_num_samples"], info["time_budget_s"]) == (
        {"n": 1},
        2,
        4,
        100,
    )
