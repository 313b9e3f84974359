"""The actor of a trial, as a real actor."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aktis
from aktis.air import session
from aktis.air.checkpoint import Checkpoint
from aktis.air.exceptions import SessionError
from aktis.tune.error import TuneError
from aktis.tune.trainable import Trainable, wrap_function
from aktis.tune.trainable import session as tune
from aktis.tune.trainable.host import TrialActor
from aktis.tune.trainable.messages import SavedCheckpoint, StartInfo, StepResult, StopInfo, TrialSetup


@pytest.fixture(scope="module", params=["native", "inline"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    mode: str = request.param
    with aktis.init(mode=mode, num_cpus=2, log_to_driver=False):
        yield mode


class Driver:
    """The runner's side, as far as it is needed here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.actors: list[Any] = []

    def actor(self, trainable: Any) -> Any:
        cls = trainable if isinstance(trainable, type) else wrap_function(trainable)
        actor = aktis.remote(TrialActor).options(num_cpus=0).remote(aktis.put(cls))
        self.actors.append(actor)
        return actor

    def setup(self, name: str = "a", **kwargs: Any) -> TrialSetup:
        return TrialSetup(
            trial_id=name,
            trial_name=f"trial_{name}",
            experiment_name="experiment",
            logdir=str(self.folder / name),
            **kwargs,
        )

    def run(self, trainable: Any, **kwargs: Any) -> list[Any]:
        actor = self.actor(trainable)
        info = aktis.get(actor.start.remote(self.setup(**kwargs)))
        assert isinstance(info, StartInfo) and not info.was_reset and not info.needs_new_actor and info.pid > 0
        found = []
        while not found or not found[-1].done:
            found.append(aktis.get(actor.train.remote()))
        assert all(isinstance(each, StepResult) for each in found)
        aktis.get(actor.stop.remote())
        return found


@pytest.fixture
def driver(engine: str, tmp_path: Path) -> Iterator[Driver]:
    before = process_facts()
    threads = set(threading.enumerate())
    driver = Driver(tmp_path)
    yield driver
    for actor in driver.actors:
        aktis.kill(actor)
    assert process_facts() == before
    driver.actors.clear()
    assert engine == "native" or not [thread for thread in threading.enumerate() if not ended(thread, threads)]


def ended(thread: threading.Thread, before: set[threading.Thread]) -> bool:
    """Whether a thread that was started since has ended, or does so now."""
    if thread in before:
        return True
    thread.join(5)
    return not thread.is_alive()


def process_facts() -> Any:
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return os.getcwd(), environment, sys.stdout, sys.stderr


class Counter(Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self.x = 0
        self.facts = facts()

    def step(self) -> dict[str, Any]:
        self.x += 1
        if self.config.get("fail") == self.x:
            raise ZeroDivisionError("boo")
        if self.config.get("exit") == self.x:
            sys.exit(3)
        return {"x": self.x, "in_setup": self.facts, "in_step": facts(), "done": self.x >= self.config.get("steps", 3)}

    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        if self.config.get("as_file"):
            path = os.path.join(checkpoint_dir, "x")
            Path(path).write_text(str(self.x))
            return path
        return {"x": self.x}

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.x = int(Path(checkpoint).read_text()) if isinstance(checkpoint, str) else checkpoint["x"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.x = 0
        self.facts = facts()
        return bool(new_config.get("resets", True))

    def cleanup(self) -> None:
        print("cleaning up", flush=True)
        Path("cleaned").touch()
        if self.config.get("dirty"):
            raise RuntimeError("cannot clean up")

    def _export_model(self, export_formats: Any, export_dir: str) -> dict[str, str]:
        return {name: os.path.join(export_dir, name) for name in export_formats}


def facts() -> dict[str, Any]:
    return {
        "cwd": os.getcwd(),
        "original_cwd": os.environ.get("TUNE_ORIG_WORKING_DIR"),
        "env": os.environ.get("TRIAL_VARIABLE"),
        "id": tune.get_trial_id(),
        "name": tune.get_trial_name(),
        "dir": tune.get_trial_dir(),
        "experiment": session.get_experiment_name(),
        "resources": repr(tune.get_trial_resources()),
        "enabled": tune.is_session_enabled(),
        "actor": aktis.get_runtime_context().get_actor_id() is not None,
    }


def function(config: dict[str, Any]) -> None:
    checkpoint = session.get_checkpoint()
    start = checkpoint.to_dict()["x"] + 1 if checkpoint is not None else 1
    for x in range(start, config.get("steps", 3) + 1):
        if config.get("fail") == x:
            raise ZeroDivisionError("boo")
        print(f"step {x}", flush=True)
        print(f"error {x}", file=sys.stderr, flush=True)
        session.report(
            {"x": x, "in_step": facts()}, checkpoint=Checkpoint.from_dict({"x": x}) if config.get("save") else None
        )


BOTH = pytest.mark.parametrize("trainable", [Counter, function])


# -- results ------------------------------------------------------------------------------------------


@BOTH
def test_results(driver: Driver, engine: str, trainable: Any) -> None:
    found = driver.run(trainable, config={"steps": 2, "large": "x" * 1000})
    if trainable is function:
        assert [(one.metrics["x"], one.done, one.duplicate) for one in found] == [
            (1, False, False), (2, False, False), (2, True, True),
        ]  # fmt: skip
    else:
        assert [(one.metrics["x"], one.done, one.duplicate) for one in found] == [(1, False, False), (2, True, False)]
    metrics = found[-1].metrics
    assert metrics["trial_id"] == "a" and metrics["training_iteration"] == 2 and metrics["done"]
    assert (metrics["pid"] == os.getpid()) == (engine == "inline")
    assert "config" not in metrics and "__duplicate__" not in metrics


@BOTH
def test_surroundings(driver: Driver, trainable: Any) -> None:
    found = driver.run(trainable, env={"TRIAL_VARIABLE": "yes"}, resources={"CPU": 2.0})
    logdir = str(driver.folder / "a")
    for result in found:
        for place in ("in_step", "in_setup")[: 2 if trainable is Counter else 1]:
            assert result.metrics[place] == {
                "cwd": logdir,
                "original_cwd": os.getcwd(),
                "env": "yes",
                "id": "a",
                "name": "trial_a",
                "dir": logdir,
                "experiment": "experiment",
                "resources": "PlacementGroupFactory([{'CPU': 2}])",
                "enabled": True,
                "actor": True,
            }


@BOTH
def test_the_working_directory_may_stay(driver: Driver, trainable: Any) -> None:
    (first, *_) = driver.run(trainable, chdir=False)
    assert first.metrics["in_step"]["cwd"] == os.getcwd()


@BOTH
def test_output_goes_to_files_too(driver: Driver, trainable: Any) -> None:
    driver.run(trainable, log_to_file=("out.log", "err.log"))
    out = (driver.folder / "a" / "out.log").read_text()
    if trainable is function:
        assert out == "step 1\nstep 2\nstep 3\n"
        assert (driver.folder / "a" / "err.log").read_text() == "error 1\nerror 2\nerror 3\n"
    else:
        assert out == "cleaning up\n"


def test_output_in_one_file(driver: Driver) -> None:
    driver.run(function, log_to_file=("all", "all"), config={"steps": 1})
    assert (driver.folder / "a" / "all").read_text() == "step 1\nerror 1\n"


def test_steps_in_one_call(driver: Driver) -> None:
    actor = driver.actor(function)
    aktis.get(actor.start.remote(driver.setup(config={"steps": 5})))
    assert [one.metrics["x"] for one in aktis.get(actor.train_buffered.remote(1e9, 2))] == [1, 2]
    assert [one.metrics["x"] for one in aktis.get(actor.train_buffered.remote(0))] == [3]
    assert [one.done for one in aktis.get(actor.train_buffered.remote(1e9))] == [False, False, True]
    aktis.get(actor.start.remote(driver.setup("b", config={"steps": 5, "save": True})))
    assert len(aktis.get(actor.train_buffered.remote(1e9))) == 1, "each checkpoint is handed over at once"


# -- errors -------------------------------------------------------------------------------------------


@BOTH
def test_errors_show_the_users_code(driver: Driver, trainable: Any) -> None:
    actor = driver.actor(trainable)
    aktis.get(actor.start.remote(driver.setup(config={"fail": 2})))
    aktis.get(actor.train.remote())
    with pytest.raises(ZeroDivisionError, match="boo") as caught:
        aktis.get(actor.train.remote())
    assert 'raise ZeroDivisionError("boo")' in str(caught.value)
    text = str(caught.value)
    assert Path(__file__).name in text
    assert "trainable.py" not in text and "function_run.py" not in text, "our frames are in the way"
    stopped = aktis.get(actor.stop.remote(keep=True))
    assert stopped == StopInfo(False, "ZeroDivisionError in a step")
    assert aktis.get(actor.start.remote(driver.setup("b"))).needs_new_actor


def test_an_exit_does_not_end_the_actor(driver: Driver) -> None:
    actor = driver.actor(Counter)
    aktis.get(actor.start.remote(driver.setup(config={"exit": 1})))
    with pytest.raises(TuneError, match=r"Counter called sys\.exit\(3\)"):
        aktis.get(actor.train.remote())
    aktis.get(actor.stop.remote())


class FailsToStart(Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        raise OSError("no such data")


def test_an_error_in_setup(driver: Driver) -> None:
    actor = driver.actor(FailsToStart)
    with pytest.raises(OSError, match="no such data"):
        aktis.get(actor.start.remote(driver.setup()))
    with pytest.raises(TuneError, match="no trial runs in this actor"):
        aktis.get(actor.train.remote())
    assert aktis.get(actor.start.remote(driver.setup("b"))).reason == "OSError at the start of trial a"


def test_an_error_while_cleaning_up(driver: Driver) -> None:
    actor = driver.actor(Counter)
    aktis.get(actor.start.remote(driver.setup(config={"dirty": True})))
    with pytest.raises(RuntimeError, match="cannot clean up"):
        aktis.get(actor.stop.remote())


def reports_from_a_class(self: Any) -> dict[str, Any]:
    session.report({"x": 1})
    return {}


def test_a_class_does_not_report(driver: Driver) -> None:
    actor = driver.actor(type("Reports", (Trainable,), {"step": reports_from_a_class}))
    aktis.get(actor.start.remote(driver.setup()))
    with pytest.raises(SessionError, match=r"return the metrics from step\(\)"):
        aktis.get(actor.train.remote())
    aktis.get(actor.stop.remote())


# -- checkpoints --------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_file", [False, True])
def test_a_class_goes_on_in_another_actor(driver: Driver, as_file: bool) -> None:
    config = {"as_file": as_file, "steps": 5}
    first = driver.actor(Counter)
    aktis.get(first.start.remote(driver.setup(config=config)))
    for _ in range(2):
        aktis.get(first.train.remote())
    saved = aktis.get(first.save.remote())
    assert saved == SavedCheckpoint(str(driver.folder / "a" / "checkpoint_000002"), 2)
    aktis.get(first.stop.remote())
    second = driver.actor(Counter)
    aktis.get(second.start.remote(driver.setup("b", config=config, checkpoint=saved.path)))
    result = aktis.get(second.train.remote())
    assert result.metrics["x"] == 3 and result.metrics["training_iteration"] == 3
    aktis.get(second.restore.remote(saved.path))
    assert aktis.get(second.train.remote()).metrics["x"] == 3
    aktis.get(second.stop.remote())


def test_a_function_goes_on_in_another_actor(driver: Driver) -> None:
    first = driver.actor(function)
    aktis.get(first.start.remote(driver.setup(config={"save": True})))
    assert aktis.get(first.save.remote()) is None
    for number in range(2):
        result = aktis.get(first.train.remote())
        assert result.checkpoint == str(driver.folder / "a" / f"checkpoint_{number:06d}")
    saved = aktis.get(first.save.remote())
    assert saved == SavedCheckpoint(result.checkpoint, 2)
    aktis.get(first.stop.remote())
    second = driver.actor(function)
    for start, iteration in ((saved.path, None), (Checkpoint.from_directory(saved.path), 2)):
        aktis.get(second.start.remote(driver.setup("b", checkpoint=start, iteration=iteration)))
        result = aktis.get(second.train.remote())
        assert result.metrics["x"] == 3 and result.metrics["training_iteration"] == 3
    aktis.get(second.stop.remote())


@BOTH
def test_a_checkpoint_that_says_nothing_of_iterations(driver: Driver, trainable: Any) -> None:
    actor = driver.actor(trainable)
    checkpoint = Checkpoint.from_dict({"x": 1})
    aktis.get(actor.start.remote(driver.setup(checkpoint=checkpoint, iteration=7)))
    result = aktis.get(actor.train.remote())
    assert result.metrics["x"] == 2 and result.metrics["training_iteration"] == 8
    aktis.get(actor.stop.remote())


def test_what_a_killed_actor_left_is_cleared_away(driver: Driver) -> None:
    left = driver.folder / "a" / ".writing_checkpoint_000001.abc"
    left.mkdir(parents=True)
    driver.run(Counter)
    assert not left.exists()


def test_models_are_exported(driver: Driver) -> None:
    actor = driver.actor(Counter)
    aktis.get(actor.start.remote(driver.setup()))
    assert aktis.get(actor.export.remote(["onnx"])) == {"onnx": str(driver.folder / "a" / "onnx")}
    aktis.get(actor.stop.remote())


# -- reuse --------------------------------------------------------------------------------------------


@BOTH
def test_an_actor_is_used_again(driver: Driver, trainable: Any) -> None:
    actor = driver.actor(trainable)
    pids = set()
    for name in "abc":
        started = aktis.get(
            actor.start.remote(
                driver.setup(name, config={"steps": 9}, env={"TRIAL_VARIABLE": name}, log_to_file=("out", "err"))
            )
        )
        assert started.was_reset == (name != "a") and not started.needs_new_actor
        for x in (1, 2):
            metrics = aktis.get(actor.train.remote()).metrics
            assert metrics["x"] == metrics["training_iteration"] == x and metrics["trial_id"] == name
            assert metrics["in_step"]["cwd"] == str(driver.folder / name)
            assert metrics["in_step"]["env"] == name
        pids.add(started.pid)
        if name == "b":  # else the next start stops it
            assert aktis.get(actor.stop.remote(keep=True)) == StopInfo(True)
    aktis.get(actor.stop.remote())
    assert len(pids) == 1
    if trainable is function:
        for name in "abc":
            assert (driver.folder / name / "out").read_text() == "step 1\nstep 2\n"


def test_a_class_that_cannot_be_reset(driver: Driver) -> None:
    actor = driver.actor(Counter)
    aktis.get(actor.start.remote(driver.setup()))
    aktis.get(actor.stop.remote(keep=True))
    started = aktis.get(actor.start.remote(driver.setup("b", config={"resets": False})))
    assert started.needs_new_actor and "reset_config() of Counter returned False" in started.reason


def never_ends(config: dict[str, Any]) -> None:
    release = threading.Event()
    try:
        session.report({"x": 1})
    finally:
        release.wait(1)  # longer than the timeout, and then it goes


@pytest.mark.filterwarnings("ignore:never_ends has not ended:RuntimeWarning")
def test_a_function_that_does_not_end_takes_its_actor_along(driver: Driver, engine: str) -> None:
    actor = driver.actor(never_ends)
    aktis.get(actor.start.remote(driver.setup(env={"TUNE_FUNCTION_THREAD_TIMEOUT_S": "0.01"})))
    aktis.get(actor.train.remote())
    stopped = aktis.get(actor.stop.remote(keep=True))
    assert stopped == StopInfo(False, "the function never_ends has not ended")
    assert aktis.get(actor.start.remote(driver.setup("b"))).needs_new_actor
    for thread in threading.enumerate():
        if thread.name == "never_ends":
            thread.join()


def starts_tasks(config: dict[str, Any]) -> None:
    square = aktis.remote(lambda x: x * x).options(num_cpus=0)
    session.report({"x": aktis.get([square.remote(x) for x in range(3)])})
    session.report({"x": aktis.get(square.remote(5))})


def test_functions_start_tasks(driver: Driver) -> None:
    assert [one.metrics["x"] for one in driver.run(starts_tasks)] == [[0, 1, 4], 25, 25]


def test_trials_take_turns_in_one_process(driver: Driver) -> None:
    """In inline mode all functions live in this process: each sees its own surroundings, whoever comes next."""
    actors = {name: driver.actor(function) for name in "ab"}
    for name, actor in actors.items():
        aktis.get(actor.start.remote(driver.setup(name, env={"TRIAL_VARIABLE": name})))
    for _ in range(3):
        for name, actor in actors.items():
            seen = aktis.get(actor.train.remote()).metrics["in_step"]
            assert (seen["cwd"], seen["env"], seen["id"]) == (str(driver.folder / name), name, name)
    for actor in actors.values():
        aktis.get(actor.stop.remote())


def test_setups_are_checked() -> None:
    with pytest.raises(ValueError, match="logdir of trial a must be an absolute path, not 'x'"):
        TrialSetup(trial_id="a", trial_name="a", logdir="x")
    with pytest.raises(ValueError, match="log_to_file must be None or the names of two files"):
        TrialSetup(trial_id="a", trial_name="a", logdir="/x", log_to_file="out")  # type: ignore[arg-type]
