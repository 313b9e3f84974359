"""Trials that report rubbish: such a trial fails, or what it said is kept as well as it can be; the run stays sound."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aktis import air, tune
from aktis.air import session as air_session

pytestmark = pytest.mark.usefixtures("session")


class NoPickle:
    def __reduce__(self) -> Any:
        raise TypeError("not me")


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {"x": 1}
    for _ in range(depth):
        found = {"k": found}
    return found


FINE: dict[str, Callable[[], dict[str, Any]]] = {
    "not a number": lambda: {"a": float("nan"), "b": float("inf")},
    "nested": lambda: {"a": {"b": {"c": [1, {"d": 2}]}}},
    "deep": lambda: nested(100),
    "sets and bytes": lambda: {"a": {1, 2}, "b": b"x", "c": 1j},
    "a lambda": lambda: {"a": 1, "f": lambda: 3},
    "a long text": lambda: {"a": "x" * 1_000_000},
    "odd names": lambda: {"a/b": 1, "a": {"b": 2}, "../x": 3, "": 4, "n\0l": 5, "\ud800": 6},
    "nested keys that are no texts": lambda: {"a": {1: 2, (3, 4): 5}},
    "our own names": lambda: {
        "config": {"x": 9},
        "trial_id": 5,
        "pid": "x",
        "date": 3,
        "time_total_s": "x",
        "timestamp": [],
    },
    "our own tag": lambda: {"a": {"__aktis__": "pickle", "v": "zzz"}},
    "a negative iteration": lambda: {"training_iteration": -5},
    "nothing": dict,
}

BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "names that are no texts": (lambda: {1: 2}, "must be strings, not 1"),
    "no dict": (lambda: [1], r"must be a dict.*\[1\]"),
    "a lock": (lambda: {"lock": threading.Lock()}, "'lock' cannot be sent"),
    "what cannot be pickled": (lambda: {"o": NoPickle()}, "'o' cannot be sent.*not me"),
    "an iteration that is a text": (
        lambda: {"training_iteration": "seven"},
        "training_iteration must be a number, not 'seven'",
    ),
    "an iteration that is nothing": (
        lambda: {"training_iteration": None},
        "training_iteration must be a number, not None",
    ),
    "an endless number": (lambda: {"a": 10**5000}, "cannot be written to the journal"),
    "far too deep": (lambda: nested(5000), "recursion|nested too deeply"),
}


def run(make: Callable[[], Any], tmp_path: Path, **more: Any) -> Any:
    def reports(config: dict[str, Any]) -> None:
        for _ in range(2):
            air_session.report(make())

    arguments: dict[str, Any] = {
        "name": "run",
        "local_dir": str(tmp_path),
        "verbose": 0,
        "raise_on_failed_trial": False,
        **more,
    }
    analysis = tune.run(reports, **arguments)
    again = tune.run(reports, resume=True, **arguments)
    assert [trial.status for trial in again.trials] == [trial.status for trial in analysis.trials]
    assert len(tune.ExperimentAnalysis(str(tmp_path / "run")).trials) == 1
    return analysis.trials[0]


@pytest.mark.parametrize("what", FINE)
def test_strange_results_are_kept(what: str, tmp_path: Path) -> None:
    trial = run(FINE[what], tmp_path)
    assert trial.status == "TERMINATED", trial.error
    assert len(list(Path(trial.logdir).glob("result.json"))) == 1


@pytest.mark.parametrize("what", BAD)
def test_impossible_results_fail_the_trial_and_say_why(what: str, tmp_path: Path) -> None:
    make, words = BAD[what]
    trial = run(make, tmp_path)
    assert trial.status == "ERROR"
    with pytest.raises(Exception, match=f"(?s){words}"):
        raise trial.error


class Odd(tune.Trainable):
    def step(self) -> Any:
        what = self.config["what"]
        if what == "exit":
            sys.exit(3)
        return {"none": None, "list": [1], "number": 3.0, "done": {"done": "yes"}}[what]

    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        return 5


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("none", "None"),
        ("list", r"\[1\]"),
        ("number", "3.0"),
        ("exit", r"sys\.exit\(3\)"),
        ("done", "save_checkpoint.*not 5"),
    ],
)
def test_classes_that_return_rubbish_fail(what: str, words: str, tmp_path: Path) -> None:
    analysis = tune.run(Odd, config={"what": what}, checkpoint_at_end=True, verbose=0, raise_on_failed_trial=False)
    assert analysis.trials[0].status == "ERROR"
    with pytest.raises(Exception, match=f"(?s){words}"):
        raise analysis.trials[0].error
    assert not list(Path(analysis.trials[0].logdir).glob(".*writing*"))


def test_a_checkpoint_that_is_none_is_named(tmp_path: Path) -> None:
    def wrong(config: dict[str, Any]) -> None:
        air_session.report({"a": 1}, checkpoint=air.Checkpoint.from_dict({"lock": threading.Lock()}))

    analysis = tune.run(wrong, verbose=0, raise_on_failed_trial=False)
    assert "'lock'" in str(analysis.trials[0].error)
    assert not list(Path(analysis.trials[0].logdir).glob(".*writing*"))


@pytest.mark.filterwarnings("ignore:.*has not ended:RuntimeWarning")
def test_a_function_that_swallows_everything_is_ended() -> None:
    def stubborn(config: dict[str, Any]) -> None:
        while True:
            try:
                tune.report(a=1)
            except BaseException:
                continue

    analysis = tune.run(stubborn, stop={"training_iteration": 3}, verbose=0)
    assert analysis.trials[0].last_result["training_iteration"] == 3


def test_big_configurations_are_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "aktis.tune"):
        tune.run(lambda config: None, config={"data": "x" * 3_000_000}, num_samples=2, verbose=0)
    assert caplog.text.count("tune.with_parameters") == 1
