"""What every logger has to stand: a trial as loggers see it, odd results, and the conformance tests."""

from __future__ import annotations

import copy
import dataclasses
import gc
import math
import os
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from aktis.air.callbacks import Callback, CallbackList


class Mute:
    """An object that nothing can be said of."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    def __reduce__(self) -> Any:
        raise TypeError("cannot be pickled")


@dataclasses.dataclass
class FakeTrial:
    """No more than :class:`aktis.air.callbacks.TrialInfo` promises."""

    trial_id: str
    logdir: str
    config: dict[str, Any] = dataclasses.field(default_factory=lambda: {"lr": 0.1, "net": {"layers": [1, 2]}})
    evaluated_params: dict[str, Any] = dataclasses.field(default_factory=lambda: {"lr": 0.1})
    trainable_name: str = "train"
    experiment_tag: str = "0_lr=0.1"
    status: str = "RUNNING"
    last_result: dict[str, Any] = dataclasses.field(default_factory=dict)
    experiment_dir_name: str = "experiment"

    def __str__(self) -> str:
        return f"{self.trainable_name}_{self.trial_id}"

    def __hash__(self) -> int:
        return hash(self.trial_id)


def result(iteration: int, **metrics: Any) -> dict[str, Any]:
    """A result with what the trial runner fills in."""
    return {
        **metrics,
        "training_iteration": iteration,
        "trial_id": "t",
        "date": "2030-01-02_03-04-05",
        "timestamp": 1_900_000_000 + iteration,
        "time_total_s": iteration * 0.5,
        "timesteps_total": None,
        "done": False,
        "pid": 4242,
        "hostname": "somewhere",
        "node_ip": "127.0.0.1",
        "config": {"lr": 0.1},
    }


def cycle() -> dict[str, Any]:
    """A dictionary that holds itself."""
    value: dict[str, Any] = {"x": 1}
    value["self"] = value
    return value


ODD_RESULTS: dict[str, dict[str, Any]] = {
    "nan and infinities": {"nan": math.nan, "inf": math.inf, "minus": -math.inf, "n": {"nan": math.nan}},
    "numpy scalars": {"f16": np.float16(0.5), "f32": np.float32(0.5),
        "i8": np.int8(-3), "u64": np.uint64(2**64 - 1), "b": np.bool_(True)},
    "numpy arrays": {"a": np.arange(3), "m": np.zeros((2, 2)), "zero": np.array(3.0),
        "none": np.array([]), "o": np.array([None, 1])},
    "none and strings": {"none": None, "text": "a,b\"c\nd\r\ne", "unicode": "é✓\ud800", "empty": "", "bytes": b"\xff"},
    "nested": {"a": {"b": {"c": {"d": 1}}, "e": {}}, "f": {"g": [1, {"h": 2}]}},
    "odd keys": {"a b": 1, "a/b": 2, "ü": 3, "": 4, "x" * 300: 5, "=@|": 6, "int": {5: 1, None: 2, (1, 2): 3}},
    "lists": {"numbers": [1, 2.5], "mixed": [1, "a", None], "ragged": [[1], [2, 3]], "none": [], "tuple": (1, 2), "set": {1}},
    "objects": {"object": object(), "mute": Mute(), "type": int, "function": len, "cycle": cycle()},
    "large numbers": {"int": 10**400, "small": 5e-324, "float": 1.7e308, "list": [1.7e308, -1.7e308], "complex": 1 + 2j},
    "empty": {},
}  # fmt: skip

ODD_NAMES = ["with space", "a=1,b=[2],c='x'", "ünï✓", "per%cent{}", "dots..", "x" * 200]


class LoggerConformance:
    """Every logger passes these. Subclasses define :meth:`make` and, for what was logged, :meth:`logged`."""

    #: Whether what happened is known only after the end of the experiment.
    DEFERRED = False

    def make(self, tmp_path: Path) -> Callback:
        """A new callback."""
        raise NotImplementedError

    def logged(self, tmp_path: Path, trial: FakeTrial) -> list[float]:
        """The values of the metric ``score`` that were logged for a trial, in order."""
        raise NotImplementedError

    @pytest.fixture
    def trial(self, tmp_path: Path) -> FakeTrial:
        return self.new_trial(tmp_path, "t1")

    @staticmethod
    def new_trial(tmp_path: Path, name: str, trial_id: str | None = None, **more: Any) -> FakeTrial:
        folder = tmp_path / "experiment" / name
        folder.mkdir(parents=True, exist_ok=True)
        return FakeTrial(trial_id or name, str(folder), **more)

    @staticmethod
    def run(callback: Callback, trials: list[FakeTrial], results: list[dict[str, Any]], failed: bool = False) -> None:
        """A whole run, in which the trials report in turns."""
        hooks = CallbackList([callback])
        hooks.call("setup", stop=None, num_samples=1, total_num_samples=len(trials))
        for trial in trials:
            hooks.call("on_trial_start", 0, trials, trial)
        for turn, reported in enumerate(results):
            hooks.call("on_step_begin", turn, trials)
            for trial in trials:
                trial.last_result = dict(reported)
                hooks.call("on_trial_result", turn, trials, trial, trial.last_result)
            hooks.call("on_step_end", turn, trials)
        for trial in trials:
            trial.status = "ERROR" if failed else "TERMINATED"
            hooks.call("on_trial_error" if failed else "on_trial_complete", 9, trials, trial)
        hooks.call("on_experiment_end", trials)

    @pytest.mark.parametrize("failed", [False, True], ids=["complete", "failed"])
    def test_all_results_are_logged_in_order(self, tmp_path: Path, trial: FakeTrial, failed: bool) -> None:
        results = [result(i, score=float(i)) for i in (1, 2, 3)]
        self.run(self.make(tmp_path), [trial], results, failed=failed)
        assert self.logged(tmp_path, trial) == [1.0, 2.0, 3.0]

    def test_trials_at_the_same_time(self, tmp_path: Path) -> None:
        trials = [self.new_trial(tmp_path, f"t{i}") for i in range(3)]
        self.run(self.make(tmp_path), trials, [result(i, score=float(i)) for i in (1, 2)])
        assert [self.logged(tmp_path, trial) for trial in trials] == [[1.0, 2.0]] * 3

    def test_odd_results_do_not_end_the_run(self, tmp_path: Path, trial: FakeTrial) -> None:
        odd = list(ODD_RESULTS.values())
        results = [result(i + 1, score=float(i), **values) for i, values in enumerate(odd)]
        self.run(self.make(tmp_path), [trial], results)
        assert self.logged(tmp_path, trial) == [float(i) for i in range(len(odd))]

    def test_results_are_not_changed(self, tmp_path: Path, trial: FakeTrial) -> None:
        reported = result(1, score=1.0, a={"b": 1}, excluded=None)
        before = {key: dict(value) if isinstance(value, dict) else value for key, value in reported.items()}
        self.run(self.make(tmp_path), [trial], [reported])
        assert reported == before

    def test_odd_configurations(self, tmp_path: Path, trial: FakeTrial) -> None:
        trial.config = {
            "f": np.float32(1),
            "o": object(),
            "n": {1: {"x": None}},
            "l": [1, {"a": Mute()}],
            "c": cycle(),
            "s": "é" * 9000,
        }
        trial.evaluated_params = {"a/b": np.int64(3), "o": object(), "l": [1], "n": None, "s": "x", "b": np.bool_(True)}
        self.run(self.make(tmp_path), [trial], [result(1, score=1.0)])
        assert self.logged(tmp_path, trial) == [1.0]

    def test_odd_names_of_directories(self, tmp_path: Path) -> None:
        trials = [self.new_trial(tmp_path, name, trial_id=f"id{i}") for i, name in enumerate(ODD_NAMES)]
        self.run(self.make(tmp_path), trials, [result(1, score=5.0)])
        assert [self.logged(tmp_path, trial) for trial in trials] == [[5.0]] * len(ODD_NAMES)

    def test_a_trial_without_results(self, tmp_path: Path, trial: FakeTrial) -> None:
        self.run(self.make(tmp_path), [trial], [])
        assert self.logged(tmp_path, trial) == []

    def test_a_trial_that_is_started_again_goes_on_with_its_log(self, tmp_path: Path, trial: FakeTrial) -> None:
        callback = self.make(tmp_path)
        hooks = CallbackList([callback])
        hooks.call("setup")
        for iteration in (1, 2):  # paused in between, with another configuration after
            trial.config = {"lr": iteration * 0.1}
            hooks.call("on_trial_start", 0, [trial], trial)
            trial.last_result = result(iteration, score=float(iteration))
            hooks.call("on_trial_result", 0, [trial], trial, trial.last_result)
        hooks.call("on_trial_complete", 0, [trial], trial)
        hooks.call("on_experiment_end", [trial])
        assert self.logged(tmp_path, trial) == [1.0, 2.0]

    def test_the_end_of_an_experiment_ends_the_logs_of_trials_that_still_run(
        self, tmp_path: Path, trial: FakeTrial
    ) -> None:
        hooks = CallbackList([self.make(tmp_path)])
        hooks.call("setup")
        hooks.call("on_trial_start", 0, [trial], trial)
        hooks.call("on_trial_result", 0, [trial], trial, result(1, score=1.0))
        hooks.call("on_experiment_end", [trial])
        assert self.logged(tmp_path, trial) == [1.0]

    def test_a_copy_is_another_logger(self, tmp_path: Path, trial: FakeTrial) -> None:
        callback = self.make(tmp_path)
        hooks = CallbackList([callback])
        hooks.call("setup")
        hooks.call("on_trial_start", 0, [trial], trial)
        hooks.call("on_trial_result", 0, [trial], trial, result(1, score=1.0))
        others = [cloudpickle.loads(cloudpickle.dumps(callback)), copy.deepcopy(callback)]
        more = [self.new_trial(tmp_path, f"another{number}") for number in range(len(others))]
        for other, another in zip(others, more):
            self.run(other, [another], [result(1, score=7.0)])
        del others, other
        hooks.call("on_trial_result", 0, [trial], trial, result(2, score=2.0))
        hooks.call("on_trial_complete", 0, [trial], trial)
        hooks.call("on_experiment_end", [trial])
        assert [self.logged(tmp_path, each) for each in (trial, *more)] == [[1.0, 2.0], [7.0], [7.0]]

    def test_nothing_stays_open(self, tmp_path: Path, trial: FakeTrial) -> None:
        callback = self.make(tmp_path)
        self.run(callback, [trial], [result(1, score=1.0)])
        before = open_files()
        self.run(callback, [self.new_trial(tmp_path, "t2")], [result(1, score=1.0)])
        assert open_files() <= before


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))
