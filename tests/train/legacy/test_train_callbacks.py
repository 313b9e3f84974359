"""The callbacks that come with the older Trainer, called as a run calls them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tests.train.legacy.driving import drive, report
from tests.tune.logger.events import read, scalars

from aktis.train import constants
from aktis.train.callbacks import (
    JsonLoggerCallback,
    PrintCallback,
    TBXLoggerCallback,
    TorchTensorboardProfilerCallback,
    TrainingCallback,
)
from aktis.train.callbacks.logging import RunDirectory
from aktis.train.callbacks.results_preprocessors import AverageResultsPreprocessor
from aktis.train.constants import PYTORCH_PROFILER_KEY


def test_results_are_preprocessed_before_they_are_handled(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    callback = PrintCallback()
    callback.results_preprocessor = AverageResultsPreprocessor(["loss"])
    drive(callback, tmp_path, [[{"loss": 1.0}, {"loss": 2.0}]])
    assert capsys.readouterr().out == "[{'loss': 1.0, 'avg(loss)': 1.5}, {'loss': 2.0, 'avg(loss)': 1.5}]\n"


def test_handlers_of_old_scripts_take_nothing_but_results(tmp_path: Path) -> None:
    seen = []

    class Old(TrainingCallback):
        def handle_result(self, results):  # type: ignore[no-untyped-def,override]
            seen.append(results)

    drive(Old(), tmp_path, [report(1)])
    assert seen == [report(1)]


def test_the_json_file_is_complete_after_each_report(tmp_path: Path) -> None:
    callback = JsonLoggerCallback()
    with pytest.raises(RuntimeError, match="none has started"):
        _ = callback.log_path
    callback.start_training(logdir=str(tmp_path), config={})
    assert callback.log_path == tmp_path / "results.json"
    assert json.loads(callback.log_path.read_text()) == []
    for number in range(1, 4):
        callback.process_results(report(number, loss=1 / number, odd={1, 2}))
        entries = json.loads(callback.log_path.read_text())
        assert [entry[0]["_training_iteration"] for entry in entries] == list(range(1, number + 1))
    assert [len(entry) for entry in entries] == [1, 1, 1]  # rank 0 alone
    callback.finish_training()
    drive(callback, tmp_path, [report(7)])
    assert len(json.loads(callback.log_path.read_text())) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json"]


def test_the_json_file_of_all_workers_in_a_place_of_ones_own(tmp_path: Path) -> None:
    callback = JsonLoggerCallback(str(tmp_path / "own" / "place"), "mine.json", workers_to_log=None)
    drive(callback, tmp_path / "run", [report(1, loss=math.nan)])
    (entry,) = json.loads((tmp_path / "own" / "place" / "mine.json").read_text())
    assert [result["rank"] for result in entry] == [0, 1]
    assert math.isnan(entry[0]["loss"])


def test_tensorboard_shows_one_worker(tmp_path: Path) -> None:
    callback = TBXLoggerCallback(worker_to_log=1)
    results = [report(1, loss=0.5, weights=[1, 2, 3], name="x"), report(2, loss=0.25, nested={"a": 1})]
    results[0][0]["loss"] = 99.0
    drive(callback, tmp_path, results)
    found = scalars(str(tmp_path))
    assert found["loss"] == [(1, 0.5), (2, 0.25)]
    assert found["nested/a"] == [(2, 1.0)]
    assert "_training_iteration" not in found
    tags = {value.tag for event in read(str(tmp_path)) for value in event.summary.value if value.HasField("histo")}
    assert tags == {"weights"}
    with pytest.raises(TypeError, match="worker_to_log"):
        TBXLoggerCallback(worker_to_log=[0, 1])  # type: ignore[arg-type]


def test_traces_of_the_profiler_become_files(tmp_path: Path) -> None:
    trace = ("../worker_0.pt.trace.json", '{"traceEvents": []}')
    results: list[dict[str, Any]] = [{PYTORCH_PROFILER_KEY: [trace]}, {PYTORCH_PROFILER_KEY: [("other", b"x")]}]
    callback = TorchTensorboardProfilerCallback(workers_to_log=0)
    drive(callback, tmp_path, [results, [{"loss": 1}, {}]])
    assert callback.logdir == tmp_path / "pytorch_profiler"
    assert [path.name for path in callback.logdir.iterdir()] == ["worker_0.pt.trace.json"]
    assert json.loads((callback.logdir / "worker_0.pt.trace.json").read_text()) == {"traceEvents": []}
    everyone = TorchTensorboardProfilerCallback(str(tmp_path / "all"))
    drive(everyone, tmp_path, [results])
    assert len(list(everyone.logdir.iterdir())) == 2


def test_a_callback_writes_where_it_is_told_or_where_the_run_does(tmp_path: Path) -> None:
    chosen, given = RunDirectory(tmp_path / "own"), RunDirectory(None)
    assert chosen.path == tmp_path / "own"
    with pytest.raises(RuntimeError, match="none has started"):
        given.path
    for directory, expected in ((chosen, tmp_path / "own"), (given, tmp_path / "run" / "deep")):
        assert directory.start(tmp_path / "run" / "deep") == directory.path == expected
        assert expected.is_dir()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATE", "_date"), ("HOSTNAME", "_hostname"), ("NODE_IP", "_node_ip"), ("PID", "_pid"), ("TIMESTAMP", "_timestamp"),
        ("TIME_THIS_ITER_S", "_time_this_iter_s"), ("RESULT_FILE_JSON", "results.json"), ("WILDCARD_KEY", "*"),
        ("TRAIN_CHECKPOINT_SUBDIR", "checkpoints"), ("TRAIN_PLACEMENT_GROUP_TIMEOUT_S_ENV", "TRAIN_PLACEMENT_GROUP_TIMEOUT_S"),
    ],
)  # fmt: skip
def test_names_are_those_that_programs_read_results_with(name: str, value: str) -> None:
    assert getattr(constants, name) == value
