"""The loggers that write files: what is in the files."""

from __future__ import annotations

import csv
import json
import os
import pickle
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
from tests.helpers.loggers import FakeTrial, LoggerConformance, open_files, result
from tests.tune.logger.events import scalars

from aktis.air.callbacks import Callback
from aktis.tune.logger import (
    CSVLogger,
    CSVLoggerCallback,
    JsonLogger,
    JsonLoggerCallback,
    LegacyLoggerCallback,
    Logger,
    NoopLogger,
    TBXLogger,
    TBXLoggerCallback,
    UnifiedLogger,
)


def json_scores(folder: str) -> list[float]:
    lines = (Path(folder) / "result.json").read_text().splitlines()
    return [json.loads(line)["score"] for line in lines]


def csv_rows(folder: str) -> list[dict[str, str]]:
    path = Path(folder) / "progress.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class TestJson(LoggerConformance):
    def make(self, tmp_path: Path) -> Callback:
        return JsonLoggerCallback()

    def logged(self, tmp_path: Path, trial: FakeTrial) -> list[float]:
        return json_scores(trial.logdir)


class TestCsv(LoggerConformance):
    def make(self, tmp_path: Path) -> Callback:
        return CSVLoggerCallback()

    def logged(self, tmp_path: Path, trial: FakeTrial) -> list[float]:
        return [float(row["score"]) for row in csv_rows(trial.logdir)]


class TestTensorBoard(LoggerConformance):
    def make(self, tmp_path: Path) -> Callback:
        return TBXLoggerCallback()

    def logged(self, tmp_path: Path, trial: FakeTrial) -> list[float]:
        return [value for _, value in scalars(trial.logdir).get("ray/tune/score", [])]


class TestLegacy(LoggerConformance):
    def make(self, tmp_path: Path) -> Callback:
        return LegacyLoggerCallback([JsonLogger, CSVLogger, TBXLogger, NoopLogger])

    def logged(self, tmp_path: Path, trial: FakeTrial) -> list[float]:
        found = json_scores(trial.logdir)
        assert [float(row["score"]) for row in csv_rows(trial.logdir)] == found
        assert [value for _, value in scalars(trial.logdir).get("ray/tune/score", [])] == found
        return found


class TestUnified(TestLegacy):
    def make(self, tmp_path: Path) -> Callback:
        return LegacyLoggerCallback([UnifiedLogger])


@pytest.fixture
def trial(tmp_path: Path) -> FakeTrial:
    return LoggerConformance.new_trial(tmp_path, "trial")


def log(callback: Any, trial: FakeTrial, *results: dict[str, Any], failed: bool = False) -> None:
    callback.log_trial_start(trial)
    for number, reported in enumerate(results):
        trial.last_result = reported
        callback.log_trial_result(number, trial, reported)
    callback.log_trial_end(trial, failed)


# The lines that Ray 2.3.1 writes for this result.
RAY_RESULT = {
    "a": 1, "n": {"x": 1.5, "y": {"z": float("nan")}}, "s": "text", "np": np.float32(0.5), "arr": np.arange(3),
    "none": None, "b": True, "l": [1, 2],
    "inf": float("inf"), "npb": np.bool_(True), "tup": (1, 2), "set": {3}, "ed": {}, "comma": 'a,b"c\nd',
    "config": {"lr": 0.1},
}  # fmt: skip
RAY_JSON = (
    '{"a": 1, "n": {"x": 1.5, "y": {"z": NaN}}, "s": "text", "np": 0.5, "arr": [0, 1, 2], "none": null, "b": true, "l": [1, 2], '
    '"inf": Infinity, "npb": true, "tup": [1, 2], "set": "{3}", "ed": {}, "comma": "a,b\\"c\\nd", "config": {"lr": 0.1}}\n'
)
RAY_CSV = (
    "a,s,np,arr,none,b,l,inf,npb,tup,set,comma,n/x,n/y/z\r\n"
    '1,text,0.5,[0 1 2],,True,"[1, 2]",inf,True,"(1, 2)",{3},"a,b""c\nd",1.5,nan\r\n'
    '2,text2,3,"[[0. 0.]\n [0. 0.]]",,3.0,,-inf,,,,,2.5,\r\n'
)
RAY_SECOND = {
    "a": 2, "n": {"x": 2.5, "new": 1}, "s": "text2", "np": np.int64(3), "late": 7, "arr": np.zeros((2, 2)), "inf": float("-inf"),
    "b": np.float64(3),
}  # fmt: skip


def test_json_lines_are_those_of_ray(trial: FakeTrial) -> None:
    log(JsonLoggerCallback(), trial, RAY_RESULT)
    assert (Path(trial.logdir) / "result.json").read_text() == RAY_JSON


def test_csv_rows_are_those_of_ray(trial: FakeTrial) -> None:
    log(CSVLoggerCallback(), trial, RAY_RESULT, RAY_SECOND)
    assert (Path(trial.logdir) / "progress.csv").read_bytes().decode() == RAY_CSV


def test_configuration_files(trial: FakeTrial) -> None:
    trial.config = {"lr": np.float64(0.1), "b": {"z": 1, "a": [1, 2]}, "f": sum}
    log(JsonLoggerCallback(), trial)
    text = (Path(trial.logdir) / "params.json").read_text()
    assert text == json.dumps({"b": {"a": [1, 2], "z": 1}, "f": "<built-in function sum>", "lr": 0.1}, indent=2)
    assert cloudpickle.loads((Path(trial.logdir) / "params.pkl").read_bytes()) == trial.config
    assert sorted(os.listdir(trial.logdir)) == ["params.json", "params.pkl", "result.json"]


def test_a_configuration_that_cannot_be_pickled_is_said_and_not_written(
    trial: FakeTrial, caplog: pytest.LogCaptureFixture
) -> None:
    trial.config = {"lock": __import__("threading").Lock(), 1: "mixed keys"}
    log(JsonLoggerCallback(), trial, result(1, score=1.0))
    assert "params.pkl" in caplog.text and "pickle" in caplog.text
    assert not (Path(trial.logdir) / "params.pkl").exists()
    assert json_scores(trial.logdir) == [1.0]


def test_the_duplicate_at_the_end_is_not_written(trial: FakeTrial) -> None:
    for callback in (JsonLoggerCallback(), CSVLoggerCallback(), TBXLoggerCallback()):
        log(callback, trial, result(1, score=1.0), {**result(1, score=1.0), "__duplicate__": True})
    assert json_scores(trial.logdir) == [1.0]
    assert len(csv_rows(trial.logdir)) == 1
    assert len(scalars(trial.logdir)["ray/tune/score"]) == 1


def test_lines_are_in_the_file_before_the_hook_returns(trial: FakeTrial) -> None:
    callbacks: list[Any] = [JsonLoggerCallback(), CSVLoggerCallback(), TBXLoggerCallback()]
    for callback in callbacks:
        callback.log_trial_start(trial)
        callback.log_trial_result(0, trial, result(1, score=1.0))
    assert json_scores(trial.logdir) == [1.0]
    assert len(csv_rows(trial.logdir)) == 1
    assert len(scalars(trial.logdir)["ray/tune/score"]) == 1


def test_another_process_appends_without_a_second_header(trial: FakeTrial) -> None:
    log(CSVLoggerCallback(), trial, {"a": 1, "b": 2})
    log(CSVLoggerCallback(), trial, {"c": 5, "b": 3, "a": 4})
    assert (Path(trial.logdir) / "progress.csv").read_bytes() == b"a,b\r\n1,2\r\n4,3\r\n"


@pytest.mark.parametrize("kind", [JsonLoggerCallback, CSVLoggerCallback, TBXLoggerCallback])
def test_many_trials_need_few_open_files_and_no_memory_after_their_end(tmp_path: Path, kind: Any) -> None:
    callback = kind()
    before = open_files()
    trials = [LoggerConformance.new_trial(tmp_path, f"t{i}") for i in range(200)]
    for trial in trials:
        callback.log_trial_start(trial)
    for iteration in (1, 2):
        for trial in trials:
            callback.log_trial_result(iteration, trial, result(iteration, score=1.0, a={"b": 1}))
    assert open_files() - before <= 64
    for trial in trials:
        callback.log_trial_end(trial)
    assert open_files() == before
    assert not callback._logs
    if kind is CSVLoggerCallback:
        assert all(len(csv_rows(trial.logdir)) == 2 for trial in trials)


@pytest.mark.parametrize("kind", [JsonLoggerCallback, CSVLoggerCallback, TBXLoggerCallback])
def test_a_full_disk_is_said_once_and_the_run_goes_on(
    trial: FakeTrial, kind: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = kind()
    callback.log_trial_start(trial)
    callback.log_trial_result(0, trial, result(1, score=1.0))
    sizes = {path.name: path.stat().st_size for path in Path(trial.logdir).iterdir()}
    real, written = os.write, []

    def full(descriptor: int, data: bytes) -> int:
        written.append(data)
        if len(written) % 2 == 0:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[:10])  # half of a line fits

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        callback.log_trial_result(1, trial, result(2, score=2.0))
        callback.log_trial_result(2, trial, result(3, score=3.0))
    assert {path.name: path.stat().st_size for path in Path(trial.logdir).iterdir()} == sizes  # no half line
    assert caplog.text.count("No space left") == 1
    callback.log_trial_result(3, trial, result(4, score=4.0))
    assert sum(path.stat().st_size for path in Path(trial.logdir).iterdir()) > sum(sizes.values())


def test_results_without_a_start_begin_the_log(trial: FakeTrial) -> None:
    for callback in (JsonLoggerCallback(), CSVLoggerCallback(), TBXLoggerCallback(), LegacyLoggerCallback([CSVLogger])):
        callback.log_trial_result(0, trial, result(1, score=1.0))
        callback.log_trial_end(trial)
    assert json_scores(trial.logdir) == [1.0]
    assert len(csv_rows(trial.logdir)) == 2


def test_legacy_loggers_get_what_they_got(trial: FakeTrial) -> None:
    calls: list[Any] = []

    class Mine(Logger):
        def _init(self) -> None:
            calls.append(("init", dict(self.config), self.logdir, self.trial))

        def on_result(self, result: dict[str, Any]) -> None:
            calls.append(("result", result["a"]))

        def update_config(self, config: dict[str, Any]) -> None:
            calls.append(("config", config))

        def flush(self) -> None:
            calls.append(("flush",))

        def close(self) -> None:
            calls.append(("close",))

    callback = LegacyLoggerCallback([Mine])
    callback.log_trial_start(trial)
    callback.log_trial_result(0, trial, {"a": 1})
    callback.log_trial_save(trial)
    config = trial.config
    trial.config = {"lr": 2}
    callback.log_trial_start(trial)
    callback.log_trial_end(trial)
    assert calls == [
        ("init", config, trial.logdir, trial),
        ("result", 1),
        ("flush",),
        ("config", {"lr": 2}),
        ("close",),
    ]
    with pytest.raises(TypeError, match="subclasses of Logger, got 3"):
        LegacyLoggerCallback([3])  # type: ignore[list-item]


def test_legacy_json_logger_writes_a_new_configuration(tmp_path: Path) -> None:
    logger = JsonLogger({"a": 1}, str(tmp_path))
    logger.on_result({"x": 1})
    logger.update_config({"a": 2})
    logger.close()
    assert json.loads((tmp_path / "params.json").read_text()) == {"a": 2}
    with (tmp_path / "params.pkl").open("rb") as file:
        assert pickle.load(file) == {"a": 2}
    assert (tmp_path / "result.json").read_text() == '{"x": 1}\n'


def test_a_copy_knows_no_trials(trial: FakeTrial) -> None:
    callback = CSVLoggerCallback()
    callback.log_trial_start(trial)
    assert callback._logs and not cloudpickle.loads(cloudpickle.dumps(callback))._logs
