"""The state file: what is written comes back, Ray's form is kept, pickles stay shut."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tune.analysis.experiments import make_experiment, make_trial

from aktis.air.placement import PlacementGroupFactory
from aktis.air.retention import CheckpointManager, TrackedCheckpoint
from aktis.tune.analysis import state_format
from aktis.tune.analysis._values import PickledValue, dump_json
from aktis.tune.analysis.state_format import (
    ExperimentState,
    StoredTrialError,
    read_experiment_state,
    trial_from_json,
    trial_to_json,
    write_experiment_state,
)
from aktis.tune.error import ExperimentDirectoryError
from aktis.tune.experiment.trial import Trial

FIELDS = (
    "trainable_name", "trial_id", "config", "evaluated_params", "experiment_tag", "status", "last_result", "metric_analysis",
    "num_failures", "num_restores", "start_time", "last_update_time", "relative_logdir", "max_failures", "custom_name",
    "placement_group_factory",
)  # fmt: skip


def unpickling_is_noticed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is unpickled from here on."""
    import cloudpickle

    seen: list[bytes] = []
    loads = pickle.loads

    def noticed(data: bytes, *args: Any, **kwargs: Any) -> Any:
        seen.append(data)
        return loads(data, *args, **kwargs)

    monkeypatch.setattr(pickle, "loads", noticed)
    monkeypatch.setattr(cloudpickle, "loads", noticed)
    return seen


def test_a_trial_comes_back_as_it_was(tmp_path: Path) -> None:
    trial = make_experiment(tmp_path, 1)[0]
    trial.num_failures, trial.num_restores, trial.max_failures, trial.custom_name = 2, 1, 3, "mine"
    trial.placement_group_factory = PlacementGroupFactory([{}, {"CPU": 1, "GPU": 0.5}], strategy="SPREAD")

    again = trial_from_json(trial_to_json(trial), tmp_path)

    for field in FIELDS:
        assert getattr(again, field) == getattr(trial, field), field
    assert again.logdir == trial.logdir
    assert str(again) == "mine"
    assert again.error is None


def test_a_failure_comes_back_with_the_text_of_its_file(tmp_path: Path) -> None:
    trial = make_experiment(tmp_path, 1, failing=(0,))[0]
    again = trial_from_json(trial_to_json(trial), tmp_path)
    assert again.error is not None
    assert "line 7" in str(again.error)
    assert again.error.summary == "RuntimeError: out of memory"
    assert again.error_file == trial.error_file

    Path(trial.logdir, "error.txt").unlink()
    assert str(again.error) == "RuntimeError: out of memory"


def test_checkpoints_come_back_with_their_metrics(tmp_path: Path) -> None:
    trial = make_experiment(tmp_path, 1)[0]
    trial.checkpoints = CheckpointManager(base_dir=trial.logdir)
    for number, acc in ((2, 0.5), (4, 0.9)):
        path = Path(trial.logdir, f"checkpoint_{number:06d}")
        path.mkdir()
        (path / "weights").write_text("1")
        trial.checkpoints.register(TrackedCheckpoint(str(path), {"acc": acc, "config": {}}, number))
    moved = tmp_path.parent / "moved"
    text = trial_to_json(trial)
    tmp_path.rename(moved)

    again = trial_from_json(text, moved)

    assert again.checkpoints is not None
    assert [(one.path, one.metrics) for one in again.checkpoints.kept] == [
        (str(moved / trial.relative_logdir / "checkpoint_000002"), {"acc": 0.5}),
        (str(moved / trial.relative_logdir / "checkpoint_000004"), {"acc": 0.9}),
    ]
    assert again.checkpoint is not None
    with again.checkpoint.as_directory() as directory:
        assert Path(directory, "weights").read_text() == "1"


def test_values_that_json_cannot_hold(tmp_path: Path) -> None:
    def objective() -> int:
        return 7

    class Odd:
        def __reduce__(self) -> Any:
            raise RuntimeError("no")

        def __repr__(self) -> str:
            return "<odd>"

    config = {
        "function": objective, "integer": numpy.int64(3), "number": numpy.float32(0.5), "array": numpy.arange(3), "odd": Odd(),
        "big": numpy.zeros(300_000), "nan": math.nan, "tuple": (1, 2), "keys": {1: "one", ("a", 2): "two"},
    }  # fmt: skip
    trial = make_trial(tmp_path, 0, config, [])
    text = trial_to_json(trial)

    again = trial_from_json(text, tmp_path).config

    assert again["integer"] == 3
    assert again["number"] == 0.5
    assert again["array"] == [0, 1, 2]
    assert again["tuple"] == [1, 2]
    assert math.isnan(again["nan"])
    assert again["keys"] == {"1": "one", "('a', 2)": "two"}
    assert again["odd"]["repr"] == "<odd>"
    assert "can't be pickled" in again["odd"]["reason"]
    assert "2400" in again["big"]["reason"]
    assert isinstance(again["function"], PickledValue)
    assert "objective" in repr(again["function"])
    assert again["function"].load()() == 7
    assert trial_from_json(text, tmp_path, load_pickles=True).config["function"]() == 7
    assert (
        trial_from_json(trial_to_json(trial_from_json(text, tmp_path)), tmp_path).config["function"]
        == again["function"]
    )


def test_a_value_that_holds_itself_is_named_and_ends() -> None:
    value: dict[str, Any] = {"a": 1}
    value["self"] = value
    assert json.loads(dump_json(value))["self"]["_type"] == "aktis.circular"


def test_nothing_is_unpickled_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "ran"
    trial = make_trial(tmp_path, 0, {"evil": _Touch(str(marker))}, [])
    write_experiment_state(tmp_path / "experiment_state-1.json", [trial], {"_stopper": _Touch(str(marker))})
    seen = unpickling_is_noticed(monkeypatch)

    state = read_experiment_state(tmp_path / "experiment_state-1.json")

    assert repr(state.trials[0].config["evil"]).startswith("<pickled")
    assert "_stopper" in state.runner_data
    assert not marker.exists()
    assert seen == []
    read_experiment_state(tmp_path / "experiment_state-1.json", load_pickles=True)
    assert marker.exists()


class _Touch:
    """Unpickling it makes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.path),)


def test_the_form_of_the_file_is_rays(tmp_path: Path) -> None:
    trial = make_experiment(tmp_path, 1)[0]
    file = tmp_path / "experiment_state-x.json"
    write_experiment_state(file, [trial], {"_metric": "acc"}, {"start_time": 1.0, "timestamp": 2.0})

    state = json.loads(file.read_text())

    assert state["runner_data"] == {"_metric": "acc"}
    assert state["stats"] == {"start_time": 1.0, "timestamp": 2.0}
    inner = json.loads(state["checkpoints"][0])
    # What Ray's ExperimentAnalysis and Trial.from_json_state read.
    assert {
        "stub",
        "trainable_name",
        "status",
        "trial_id",
        "relative_logdir",
        "_last_result",
        "metric_analysis",
        "config",
    } <= set(inner)
    assert inner["relative_logdir"] == trial.relative_logdir
    assert str(tmp_path) not in file.read_text(), "paths are relative, so that the directory can be moved"


def test_texts_that_were_made_before_are_taken_as_they_are(tmp_path: Path) -> None:
    trials = make_experiment(tmp_path, 2)
    file = tmp_path / "experiment_state-x.json"
    write_experiment_state(file, [trial_to_json(trials[0]), trials[1]])
    assert [trial.trial_id for trial in read_experiment_state(file).trials] == [trial.trial_id for trial in trials]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "experiment_state-x.json"
    write_experiment_state(file, make_experiment(tmp_path / "e", 1))
    before = file.read_text()

    def trials() -> Any:
        yield make_trial(tmp_path, 0, {}, [])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_experiment_state(file, trials())
    assert file.read_text() == before
    assert [path.name for path in tmp_path.iterdir() if path.name != "e"] == [file.name]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"checkpoints": 3}',
        '{"checkpoints": ["{"]}',
        '{"checkpoints": ["{}"]}',
        '{"checkpoints": [null]}',
    ],
)
def test_damaged_files_are_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "experiment_state-x.json"
    file.write_text(text)
    with pytest.raises(ExperimentDirectoryError, match=r"experiment_state-x\.json|a trial in the state of"):
        read_experiment_state(file)


def test_a_newer_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = make_experiment(tmp_path, 1)
    monkeypatch.setattr(state_format, "FORMAT", 2)
    file = tmp_path / "experiment_state-y.json"
    write_experiment_state(file, trials)
    monkeypatch.undo()
    with pytest.raises(ExperimentDirectoryError, match=r"format 2.*upgrade with `pip install -U aktis-tune`"):
        read_experiment_state(file)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text(max_size=5), json_values, max_size=4),
    st.dictionaries(st.text(max_size=4), json_values, max_size=4),
)
def test_any_plain_config_and_result_come_back(config: dict[str, Any], result: dict[str, Any]) -> None:
    trial = Trial("f", trial_id="1", config=config)
    trial.last_result = result
    again = trial_from_json(trial_to_json(trial), "/x")
    assert again.config == config
    assert again.last_result == result


def test_what_a_file_says_and_how_a_trial_failed(tmp_path: Path) -> None:
    trial = make_trial(tmp_path, 1, {"a": 1}, ["a"])
    trial.status = Trial.ERROR
    trial.error = ValueError("no room")
    path = tmp_path / "experiment_state-now.json"
    write_experiment_state(path, [trial], {"_metric": "loss"}, {"start_time": 1.5})
    state = read_experiment_state(path)
    assert isinstance(state, ExperimentState)
    assert (state.path, state.runner_data, state.stats) == (path, {"_metric": "loss"}, {"start_time": 1.5})
    (again,) = state.trials
    assert isinstance(again.error, StoredTrialError)
    assert again.error.trial_id == trial.trial_id
    assert "no room" in str(again.error)
    assert again.error.message == "ValueError: no room"  # what the state says, since there is no error.txt
    Path(again.error.path).parent.mkdir(parents=True, exist_ok=True)
    Path(again.error.path).write_text("Traceback\nValueError: no room, with all about it\n")
    assert again.error.message.endswith("with all about it")
    assert pickle.loads(pickle.dumps(again.error)).message == again.error.message
