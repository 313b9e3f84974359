"""Weights & Biases, offline: what is in the files that the real client writes."""

from __future__ import annotations

import json
import os
import struct
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.helpers.loggers import FakeTrial, LoggerConformance, result
from tests.helpers.offline import no_network  # noqa: F401  # a fixture, and settings that come before the client
from tests.helpers.sessions import Recorder

from aktis.air import session_host
from aktis.air.callbacks import Callback
from aktis.air.integrations.wandb import WandbLoggerCallback, setup_wandb

wandb = pytest.importorskip("wandb", exc_type=ImportError)
pytestmark = [pytest.mark.filterwarnings("ignore")]  # of the client and of what it imports

CALLS: list[Any] = []


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("WANDB_PROJECT", "WANDB_PROJECT_NAME", "WANDB_GROUP_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false", "WANDB_CONSOLE": "off",
        "WANDB_API_KEY": "", "WANDB_DIR": str(tmp_path), "WANDB_CONFIG_DIR": str(tmp_path / "config"),
        "NETRC": str(tmp_path / "netrc"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    CALLS.clear()
    yield
    wandb.teardown()


class Logged:
    """One run, from its file: a log in LevelDB's format with a header of its own."""

    def __init__(self, path: Path) -> None:
        from wandb.proto import wandb_internal_pb2

        self.metrics: list[dict[str, Any]] = []
        self.config: dict[str, Any] = {}
        self.exit_code: int | None = None
        self.run: Any = None
        self.artifacts: list[str] = []
        for data in self._records(path.read_bytes()):
            record = wandb_internal_pb2.Record.FromString(data)
            if record.HasField("run"):
                self.run = record.run
                self._update(record.run.config.update)
            elif record.HasField("config"):
                self._update(record.config.update)
            elif record.HasField("history"):
                self.metrics.append(
                    {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in record.history.item}
                )
            elif record.HasField("exit"):
                self.exit_code = record.exit.exit_code
            elif record.HasField("artifact"):
                self.artifacts.append(record.artifact.name)
            elif record.request.HasField("log_artifact"):
                self.artifacts.append(record.request.log_artifact.artifact.name)

    def _update(self, items: Any) -> None:
        for item in items:
            self.config[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)

    @staticmethod
    def _records(content: bytes) -> Iterator[bytes]:
        at, data = 7, b""
        while at + 7 <= len(content):
            if 32768 - at % 32768 < 7:  # the rest of a block
                at += 32768 - at % 32768
                continue
            length, kind = struct.unpack_from("<HB", content, at + 4)
            data += content[at + 7 : at + 7 + length]
            at += 7 + length
            if kind in (1, 4):  # whole, or the last part
                yield data
                data = b""


def runs(folder: str | Path) -> list[Logged]:
    wandb.teardown()  # files are complete when the service has ended
    return [Logged(path) for path in sorted(Path(folder).glob("wandb/offline-run-*/*.wandb"))]


class TestWandb(LoggerConformance):
    DEFERRED = True

    def make(self, tmp_path: Path) -> Callback:
        return WandbLoggerCallback(project="p")

    def logged(self, tmp_path: Path, trial: FakeTrial) -> list[float]:
        (run,) = runs(trial.logdir)
        return [metrics["score"] for metrics in run.metrics]


@pytest.fixture
def trial(tmp_path: Path) -> FakeTrial:
    return LoggerConformance.new_trial(tmp_path, "t1")


def test_what_is_in_a_run(trial: FakeTrial) -> None:
    callback = WandbLoggerCallback(project="p", excludes=["secret", "net/x"], tags=["one"])
    trial.config["net"]["x"] = 1
    LoggerConformance.run(
        callback, [trial], [result(1, loss=0.5, n={"a": 1}, secret={"b": 1}), result(2, loss=0.25, text="x")]
    )
    (run,) = runs(trial.logdir)
    assert (run.run.project, run.run.run_group, run.run.display_name, run.run.run_id) == (
        "p",
        "experiment",
        "train_t1",
        "t1",
    )
    assert list(run.run.tags) == ["one"]
    assert run.exit_code == 0
    assert [metrics["loss"] for metrics in run.metrics] == [0.5, 0.25]
    first, second = run.metrics
    assert first["n/a"] == 1 and second["text"] == "x"
    assert not {"secret/b", "done", "config", "config/lr", "pid", "hostname", "timesteps_total"} & set(first)
    assert run.config["lr"] == 0.1 and run.config["net"] == {"layers": [1, 2]}
    assert run.config["hostname"] == "somewhere" and run.config["pid"] == 4242


def test_runs_of_a_failed_trial_and_of_configurations_that_change(trial: FakeTrial) -> None:
    callback = WandbLoggerCallback(project="p", log_config=True, group="g")
    LoggerConformance.run(callback, [trial], [result(1, loss=0.5)], failed=True)
    (run,) = runs(trial.logdir)
    assert run.exit_code == 1
    assert run.run.run_group == "g"
    assert run.metrics[0]["config/lr"] == 0.1


def test_no_process_is_left(trial: FakeTrial) -> None:
    before = set(psutil.Process().children())
    LoggerConformance.run(WandbLoggerCallback(project="p"), [trial], [result(1, loss=0.5)])
    _, left = psutil.wait_procs(set(psutil.Process().children()) - before, timeout=10)
    assert left == []


def test_a_run_of_the_user_is_not_ended(tmp_path: Path, trial: FakeTrial) -> None:
    mine = wandb.init(project="mine", dir=str(tmp_path))
    LoggerConformance.run(WandbLoggerCallback(project="p"), [trial], [result(1, loss=0.5)])
    mine.log({"still": 1})
    mine.finish()
    (run,) = runs(tmp_path)
    assert run.metrics[-1]["still"] == 1


def test_the_project_and_the_key_are_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pass project or set WANDB_PROJECT_NAME"):
        WandbLoggerCallback().setup()
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(ValueError, match="WANDB_API_KEY, pass api_key or api_key_file"):
        WandbLoggerCallback(project="p").setup()
    (tmp_path / "key").write_text("k" * 40 + "\n")
    with pytest.raises(ValueError, match="pass one of them"):
        WandbLoggerCallback(project="p", api_key="x", api_key_file=str(tmp_path / "key")).setup()
    WandbLoggerCallback(project="p", api_key_file=str(tmp_path / "key")).setup()
    assert os.environ["WANDB_API_KEY"] == "k" * 40


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("hooks_of_a_test")
    module.key = lambda: "h" * 40  # type: ignore[attr-defined]
    module.location = lambda: os.environ.update(WANDB_PROJECT_NAME="hooked", WANDB_GROUP_NAME="group")  # type: ignore[attr-defined]
    module.begun = CALLS.append  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "hooks_of_a_test", module)
    for variable, name in {
        "SETUP_API_KEY": "key",
        "POPULATE_RUN_LOCATION": "location",
        "PROCESS_RUN_INFO": "begun",
    }.items():
        monkeypatch.setenv(f"WANDB_{variable}_HOOK", f"hooks_of_a_test.{name}")
    monkeypatch.setenv("WANDB_PROJECT_NAME", "")
    monkeypatch.setenv("WANDB_GROUP_NAME", "")


def test_hooks(trial: FakeTrial, hooks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    LoggerConformance.run(WandbLoggerCallback(), [trial], [result(1, loss=0.5)])
    (run,) = runs(trial.logdir)
    assert (run.run.project, run.run.run_group) == ("hooked", "group")
    assert [run.id for run in CALLS] == ["t1"]
    monkeypatch.setenv("WANDB_MODE", "online")
    WandbLoggerCallback(project="p").setup()
    assert os.environ["WANDB_API_KEY"] == "h" * 40
    monkeypatch.setenv("WANDB_POPULATE_RUN_LOCATION_HOOK", "nowhere.at_all")
    monkeypatch.setenv("WANDB_PROJECT_NAME", "")
    with pytest.raises(ValueError, match=r"WANDB_POPULATE_RUN_LOCATION_HOOK=nowhere.at_all names no function"):
        WandbLoggerCallback().setup()


def test_setup_in_a_trial(tmp_path: Path) -> None:
    with session_host.installed(Recorder(tmp_path)):
        run = setup_wandb({"lr": 0.1, "wandb": {"project": "p", "tags": ["x"]}}, dir=str(tmp_path))
        run.log({"loss": 0.5})
        run.finish()
    (logged,) = runs(tmp_path)
    assert (logged.run.run_id, logged.run.display_name, logged.run.run_group) == ("t1", "train_t1", "experiment")
    assert logged.config["lr"] == 0.1 and "wandb" not in logged.config
    assert [metrics["loss"] for metrics in logged.metrics] == [0.5]


def test_setup_of_other_ranks_is_disabled(tmp_path: Path) -> None:
    with session_host.installed(Recorder(tmp_path, rank=1)):
        run = setup_wandb({}, project="p", dir=str(tmp_path))
        run.log({"loss": 1})
    assert run.disabled
    assert runs(tmp_path) == []


def test_without_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(__import__("sys").modules, "wandb", None)
        with pytest.raises(ImportError, match=r'pip install "aktis-air\[wandb\]"'):
            WandbLoggerCallback(project="p")
