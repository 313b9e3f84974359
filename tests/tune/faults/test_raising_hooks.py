"""What users give to a run raises, at each hook: that error ends the run, says whose it is, and the run can be resumed."""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import aktis
from aktis import air, tune
from aktis.air import session as air_session
from aktis.tune import schedulers, stopper
from aktis.tune.search import Searcher

pytestmark = pytest.mark.usefixtures("session")


class Boom(Exception):
    pass


class Switch:
    """Raises as long as it is on. What is pickled of it asks the class, so switching works for copies, too."""

    on = True


def raising(kind: type, hook: str, *arguments: Any) -> Any:
    original = getattr(kind, hook)

    def fail(self: Any, *args: Any, **info: Any) -> Any:
        if Switch.on:
            raise Boom(hook)
        return original(self, *args, **info)

    return type("Raising", (kind,), {hook: fail})(*arguments)


class Constant(Searcher):
    def __init__(self) -> None:
        super().__init__(metric="a", mode="max")
        self.ended: list[str] = []

    def suggest(self, trial_id: str) -> dict[str, Any]:
        return {"x": 1}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        self.ended.append(trial_id)

    def get_state(self) -> dict[str, Any]:
        return {"ended": self.ended}

    def set_state(self, state: dict[str, Any]) -> None:
        self.ended = list(state["ended"])


class Patient(stopper.Stopper):
    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return False


def train(config: dict[str, Any]) -> None:
    checkpoint = air_session.get_checkpoint()
    for step in range(checkpoint.to_dict()["step"] + 1 if checkpoint else 0, 3):
        air_session.report({"a": step}, checkpoint=air.Checkpoint.from_dict({"step": step}))
    if config.get("fails"):
        raise KeyError("as it was told to")


def all_is_free() -> None:
    """Actors end a moment after they were killed."""
    deadline = time.monotonic() + 20
    while aktis.available_resources().get("CPU") != 4:
        assert time.monotonic() < deadline, aktis.available_resources()
        time.sleep(0.01)


CALLBACKS = [
    "setup", "on_step_begin", "on_step_end", "on_trial_start", "on_trial_save", "on_trial_result", "on_trial_complete",
    "on_trial_error", "on_checkpoint", "on_experiment_end",
]  # fmt: skip
CASES: dict[str, Any] = {
    **{f"callback {hook}": lambda hook=hook: {"callbacks": [raising(tune.Callback, hook)]} for hook in CALLBACKS},
    **{
        f"scheduler {hook}": lambda hook=hook: {"scheduler": raising(schedulers.FIFOScheduler, hook)}
        for hook in ("on_trial_add", "on_trial_error", "on_trial_result", "on_trial_complete", "choose_trial_to_run")
    },
    **{
        f"searcher {hook}": lambda hook=hook: {"search_alg": raising(Constant, hook)}
        for hook in ("suggest", "on_trial_result", "on_trial_complete")
    },
    **{f"stopper {hook}": lambda hook=hook: {"stop": raising(Patient, hook)} for hook in ("__call__", "stop_all")},
    "trial_name_creator": lambda: {"trial_name_creator": named},
    "trial_dirname_creator": lambda: {"trial_dirname_creator": named},
    "resources": lambda: {"resources_per_trial": needed},
}


def named(trial: Any) -> str:
    if Switch.on:
        raise Boom("the name")
    return f"trial_{trial.trial_id}"


def needed(config: dict[str, Any]) -> dict[str, float]:
    if Switch.on:
        raise Boom("the resources")
    return {"cpu": 1}


@pytest.mark.parametrize("case", CASES)
def test_what_a_hook_raises_ends_the_run_which_can_be_resumed(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Switch, "on", True)
    fails = case.endswith("_error")
    arguments: dict[str, Any] = {
        "config": {"fails": fails}, "num_samples": 3, "name": "run", "local_dir": str(tmp_path), "verbose": 0,
        "raise_on_failed_trial": False, **CASES[case](),
    }  # fmt: skip
    with pytest.raises(Boom) as caught:
        tune.run(train, **arguments)
    if sys.version_info >= (3, 11):
        notes = " ".join(caught.value.__notes__)
        assert "Raising" in notes or case in notes or "resources" in notes, notes
        assert notes.count("raised") == 1
    all_is_free()
    monkeypatch.setattr(Switch, "on", False)
    analysis = tune.run(train, **{**arguments, **CASES[case]()}, resume=True)
    assert [trial.status for trial in analysis.trials] == ["ERROR" if fails else "TERMINATED"] * 3
    assert all(trial.last_result["training_iteration"] == 3 for trial in analysis.trials)


def test_a_search_algorithm_hears_of_every_end_once_though_a_callback_raised(tmp_path: Path) -> None:
    class Raises(tune.Callback):
        def on_trial_complete(self, *args: Any, **info: Any) -> None:
            raise Boom("complete")

    common: dict[str, Any] = {"num_samples": 3, "name": "run", "local_dir": str(tmp_path), "verbose": 0}
    with pytest.raises(Boom):
        tune.run(train, search_alg=Constant(), callbacks=[Raises()], **common)
    searcher = Constant()
    analysis = tune.run(train, search_alg=searcher, resume=True, **common)
    assert len(searcher.ended) == 3
    assert len(set(searcher.ended)) == len(analysis.trials) == 3


def test_the_script_of_today_counts_when_a_run_is_resumed(tmp_path: Path) -> None:
    """A scheduler that is defined in the script is mended there; the run goes on with the mended one, and its state."""

    def made(bug: bool) -> Any:
        class Mine(schedulers.FIFOScheduler):
            def __init__(self) -> None:
                super().__init__()
                self.seen = 0

            def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
                if bug and self.seen == 2:
                    raise Boom("a bug")
                self.seen += 1
                return self.CONTINUE

        return Mine()

    common: dict[str, Any] = {"name": "run", "local_dir": str(tmp_path), "verbose": 0}
    with pytest.raises(Boom):
        tune.run(train, scheduler=made(True), **common)
    gc.collect()  # else the class of then may still be there, and be found instead of the pickled one
    analysis = tune.run(train, scheduler=made(False), resume=True, **common)
    assert [trial.last_result["training_iteration"] for trial in analysis.trials] == [3]


def test_every_callback_hears_of_the_end_when_another_raises(tmp_path: Path) -> None:
    class Closes(tune.Callback):
        closed = 0

        def on_experiment_end(self, trials: Any, **info: Any) -> None:
            self.closed += 1

    for hook in ("on_trial_result", "on_experiment_end"):
        closes = Closes()
        with pytest.raises(Boom):
            tune.run(train, callbacks=[raising(tune.Callback, hook), closes], verbose=0)
        assert closes.closed == 1


def test_resources_that_are_none_are_named() -> None:
    with pytest.raises(TypeError, match=r"made 5 \(int\) of the configuration"):
        tune.run(train, resources_per_trial=lambda config: 5, verbose=0)
