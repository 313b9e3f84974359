"""The class API, without actors."""

from __future__ import annotations

import json
import os
import pickle
import time
from pathlib import Path
from typing import Any

import pytest

from aktis.tune.trainable import Trainable

FILLED_IN = {
    "config", "date", "done", "episodes_total", "experiment_id", "hostname", "iterations_since_restore", "node_ip", "pid",
    "time_since_restore", "time_this_iter_s", "time_total_s", "timestamp", "timesteps_since_restore", "timesteps_total",
    "training_iteration", "trial_id", "warmup_time",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_RESULT_DIR", str(tmp_path / "results"))


class Counter(Trainable):
    """Counts, and reports what the configuration says."""

    def setup(self, config: dict[str, Any]) -> None:
        self.x = 0
        self.report = config.get("report", {})

    def step(self) -> Any:
        self.x += 1
        return {"x": self.x, **self.report} if isinstance(self.report, dict) else self.report

    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        return {"x": self.x}

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.loaded = checkpoint
        self.x = checkpoint["x"]


class InFiles(Counter):
    """Saves into a file; what it returns comes from the configuration."""

    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        self.saved_to = checkpoint_dir
        Path(checkpoint_dir, "sub").mkdir()
        Path(checkpoint_dir, "sub", "x.txt").write_text(str(self.x))
        name = self.config.get("returns")
        return os.path.join(checkpoint_dir, name) if isinstance(name, str) else name

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.loaded = checkpoint


# -- results ------------------------------------------------------------------------------------------


def test_a_result_has_everything_that_users_know() -> None:
    trainable = Counter({"report": {"timesteps_this_iter": 5, "episodes_this_iter": 2, "mean_loss": 2.0}})
    first, second = trainable.train(), trainable.train()
    assert first.keys() >= FILLED_IN
    assert first["x"] == 1 and second["x"] == 2
    assert (first["training_iteration"], second["training_iteration"]) == (1, 2)
    assert (first["timesteps_total"], second["timesteps_total"]) == (5, 10)
    assert (first["episodes_total"], second["episodes_total"]) == (2, 4)
    assert second["timesteps_since_restore"] == 10
    assert second["neg_mean_loss"] == -2.0
    assert second["done"] is False
    assert second["pid"] == os.getpid()
    assert second["trial_id"] == "default"
    assert second["config"] is trainable.config
    assert second["time_total_s"] == pytest.approx(first["time_this_iter_s"] + second["time_this_iter_s"])
    assert time.strptime(second["date"], "%Y-%m-%d_%H-%M-%S")
    assert abs(second["timestamp"] - time.time()) < 100
    assert first["warmup_time"] == second["warmup_time"] > 0
    assert first["experiment_id"] == second["experiment_id"]


def test_without_counts_there_are_no_totals() -> None:
    result = Counter().train()
    assert result["timesteps_total"] is None and result["episodes_total"] is None
    assert result["timesteps_since_restore"] == 0
    assert "neg_mean_loss" not in result


def test_what_the_user_reports_wins_where_it_means_something() -> None:
    own = {"time_this_iter_s": 3.0, "timesteps_total": 70, "episodes_total": 7, "training_iteration": 50, "done": True}
    trainable = Counter({"report": own})
    result = trainable.train()
    assert {key: result[key] for key in own} == own
    assert result["time_total_s"] == 3.0
    assert trainable.iteration == 1


def test_facts_of_the_process_cannot_be_made_up() -> None:
    result = Counter({"report": {"pid": -1, "time_total_s": 77, "iterations_since_restore": 99}}).train()
    assert result["pid"] == os.getpid()
    assert result["time_total_s"] < 77
    assert result["iterations_since_restore"] == 1


@pytest.mark.parametrize("rubbish", [5, None, [1], "x"])
def test_step_must_return_a_dict(rubbish: Any) -> None:
    with pytest.raises(TypeError, match=r"Counter\.step\(\) must return a dict of metrics, not"):
        Counter({"report": rubbish}).train()


def test_metrics_have_strings_as_keys() -> None:
    with pytest.raises(TypeError, match="strings as keys: 7"):
        Counter({"report": {7: 1}}).train()


def test_a_step_does_not_see_what_is_filled_in() -> None:
    reported: dict[str, Any] = {}

    class Same(Trainable):
        def step(self) -> dict[str, Any]:
            return reported

    Same().train()
    assert reported == {}


def test_setup_gets_a_copy_of_the_configuration() -> None:
    class Careless(Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            config["list"].append(1)

    config: dict[str, Any] = {"list": []}
    assert Careless(config).get_config() == {"list": []}


def test_log_result_is_called_with_complete_results() -> None:
    seen: list[dict[str, Any]] = []

    class Logs(Counter):
        def log_result(self, result: dict[str, Any]) -> None:
            seen.append(result)

    assert [Logs().train()] == seen


def test_a_logger_gets_the_results_and_gives_the_directory(tmp_path: Path) -> None:
    class Logger:
        def __init__(self, config: dict[str, Any]) -> None:
            self.logdir = str(tmp_path)
            self.calls: list[Any] = []

        def on_result(self, result: dict[str, Any]) -> None:
            self.calls.append(result["x"])

        def flush(self) -> None:
            self.calls.append("flush")

        def close(self) -> None:
            self.calls.append("close")

    made: list[Logger] = []

    def creator(config: dict[str, Any]) -> Logger:
        made.append(Logger(config))
        return made[-1]

    trainable = Counter({}, creator)
    trainable.train()
    assert trainable.logdir == str(tmp_path)
    trainable.stop()
    assert made[0].calls == [1, "flush", "close"]


@pytest.mark.parametrize(
    ("report", "seconds", "length", "expected"),
    [({}, 0.0, 10, 1), ({}, 1e9, 4, 4), ({"done": True}, 1e9, 10, 1), ({"should_checkpoint": True}, 1e9, 10, 1)],
)
def test_buffered_steps(report: dict[str, Any], seconds: float, length: int, expected: int) -> None:
    assert len(Counter({"report": report}).train_buffered(seconds, length)) == expected


# -- checkpoints --------------------------------------------------------------------------------------


def test_a_dict_comes_back_as_that_dict() -> None:
    trainable = Counter({"report": {"timesteps_this_iter": 5}})
    for _ in range(3):
        trainable.train()
    path = trainable.save()
    assert os.path.basename(path) == "checkpoint_000003"
    assert os.path.dirname(path) == trainable.logdir
    other = Counter({"report": {"timesteps_this_iter": 5}})
    other.restore(path)
    assert other.loaded == {"x": 3}
    result = other.train()
    assert result["x"] == 4
    assert result["training_iteration"] == 4 and result["iterations_since_restore"] == 1
    assert result["timesteps_total"] == 20 and result["timesteps_since_restore"] == 5
    assert result["time_total_s"] > result["time_since_restore"]
    assert result["experiment_id"] == trainable.train()["experiment_id"]


def test_an_empty_dict_is_a_checkpoint_too() -> None:
    class Stateless(Counter):
        def save_checkpoint(self, checkpoint_dir: str) -> Any:
            return {}

        def load_checkpoint(self, checkpoint: Any) -> None:
            self.loaded = checkpoint

    trainable = Stateless()
    trainable.restore(trainable.save())
    assert trainable.loaded == {}


@pytest.mark.parametrize("returns", [None, "", ".", "sub", "sub/x.txt"])
def test_a_path_comes_back_where_it_is_now(returns: str | None) -> None:
    trainable = InFiles({"returns": returns})
    trainable.train()
    saved = trainable.save()
    directory = os.path.join(trainable.logdir, "checkpoint_000001")
    expected = os.path.normpath(os.path.join(directory, returns or ""))
    assert saved == expected
    assert not os.path.exists(trainable.saved_to), "the temporary name is gone"
    other = InFiles({})
    for given in (saved, directory):  # both are accepted, and mean the same
        other.restore(given)
        assert other.loaded == expected
        assert other.iteration == 1


def test_a_checkpoint_can_be_moved(tmp_path: Path) -> None:
    trainable = InFiles({"returns": "sub/x.txt"})
    trainable.save()
    os.rename(os.path.join(trainable.logdir, "checkpoint_000000"), tmp_path / "moved")
    trainable.restore(str(tmp_path / "moved"))
    assert trainable.loaded == str(tmp_path / "moved" / "sub" / "x.txt")


@pytest.mark.parametrize("returns", ["..", "../elsewhere", "/tmp/elsewhere"])
def test_a_path_outside_is_refused(returns: str) -> None:
    trainable = InFiles({"returns": returns})
    with pytest.raises(ValueError, match="not in the directory that it was given"):
        trainable.save()
    assert os.listdir(trainable.logdir) == []


def test_rubbish_is_no_checkpoint() -> None:
    trainable = InFiles({"returns": 5})
    with pytest.raises(TypeError, match=r"InFiles\.save_checkpoint\(\) must return a dict, a path"):
        trainable.save()
    assert os.listdir(trainable.logdir) == []


def test_an_error_while_saving_leaves_nothing() -> None:
    class Fails(Counter):
        def save_checkpoint(self, checkpoint_dir: str) -> Any:
            Path(checkpoint_dir, "half").write_text("half")
            raise OSError("the disk is full")

    trainable = Fails()
    with pytest.raises(OSError, match="the disk is full"):
        trainable.save()
    assert os.listdir(trainable.logdir) == []


def test_while_it_is_written_nothing_looks_like_a_checkpoint() -> None:
    seen: list[str] = []

    class Looks(Counter):
        def save_checkpoint(self, checkpoint_dir: str) -> Any:
            seen.extend(os.listdir(self.logdir))

    trainable = Looks()
    trainable.save()
    assert seen and not any(name.startswith("checkpoint") for name in seen)
    assert os.listdir(trainable.logdir) == ["checkpoint_000000"]


def test_saving_twice_in_one_iteration_replaces_the_checkpoint() -> None:
    trainable = Counter()
    trainable.train()
    first = trainable.save()
    trainable.x = 10
    assert trainable.save() == first
    assert os.listdir(trainable.logdir) == ["checkpoint_000001"]
    trainable.restore(first)
    assert trainable.loaded == {"x": 10}


def test_files_beside_a_checkpoint_are_plain(tmp_path: Path) -> None:
    trainable = Counter({"secret": object()})
    trainable.train()
    path = Path(trainable.save(str(tmp_path)))
    assert path.parent == tmp_path
    assert (path / ".is_checkpoint").exists()
    metadata = json.loads((path / ".tune_metadata.json").read_text())
    assert metadata["iteration"] == 1 and metadata["saved_as_dict"] is True
    assert metadata["relative_checkpoint_path"] == ""
    assert metadata["last_result"]["x"] == 1 and "config" not in metadata["last_result"]


def test_a_checkpoint_of_ray_can_be_read(tmp_path: Path) -> None:
    trainable = InFiles()
    path = Path(trainable.save(str(tmp_path)))
    (path / ".tune_metadata.json").unlink()
    ray = {
        "iteration": 7, "time_total": 1.5, "timesteps_total": 3, "episodes_total": None, "experiment_id": "abc",
        "saved_as_dict": False, "relative_checkpoint_path": "sub", "ray_version": "2.3.1",
        "last_result": {"config": {"policy": _Unknown()}, "when": Path("x")},
    }  # fmt: skip
    (path / ".tune_metadata").write_bytes(pickle.dumps(ray).replace(b"_Unknown", b"_Missing"))
    other = InFiles()
    other.restore(path)
    assert other.loaded == str(path / "sub")
    assert other.iteration == 7 and other._time_total == 1.5


class _Unknown:
    pass


def test_damaged_metadata_is_named(tmp_path: Path) -> None:
    path = Path(Counter().save(str(tmp_path)))
    (path / ".tune_metadata.json").write_text('{"iteration": 1')
    with pytest.raises(ValueError, match=r"\.tune_metadata\.json is damaged"):
        Counter().restore(path)


def test_what_is_not_there_cannot_be_restored() -> None:
    with pytest.raises(ValueError, match="there is no checkpoint at '/nowhere'"):
        Counter().restore("/nowhere")


def test_a_directory_without_metadata_is_given_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    trainable = InFiles()
    trainable.restore(tmp_path / "mine")
    assert trainable.loaded == str(tmp_path / "mine") and trainable.iteration == 0


@pytest.mark.parametrize("cls", [Counter, InFiles])
def test_a_checkpoint_as_bytes(cls: type[Counter]) -> None:
    trainable = cls({"returns": "sub/x.txt"})
    trainable.train()
    data = trainable.save_to_object()
    assert isinstance(data, bytes)
    other = cls()
    other.restore_from_object(data)
    assert other.iteration == 1
    if cls is Counter:
        assert other.loaded == {"x": 1}
    else:
        assert other.loaded.endswith("sub/x.txt")


def test_checkpoint_objects_are_restored_too() -> None:
    from aktis.air.checkpoint import Checkpoint

    trainable = Counter()
    trainable.restore(Checkpoint.from_dict({"x": 5}))
    assert trainable.loaded == {"x": 5}
    trainable.train()
    other = Counter()
    other.restore(Checkpoint.from_directory(trainable.save()))
    assert other.loaded == {"x": 6} and other.iteration == 1


def test_a_deleted_checkpoint_is_gone() -> None:
    trainable = InFiles({"returns": "sub/x.txt"})
    path = trainable.save()
    trainable.delete_checkpoint(path)
    assert os.listdir(trainable.logdir) == []
    trainable.delete_checkpoint(path)  # is no error


# -- life ---------------------------------------------------------------------------------------------


def test_reset_starts_from_zero() -> None:
    class Resets(Counter):
        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.x = 0
            return bool(new_config["possible"])

    trainable = Resets({"possible": True})
    trainable.train()
    assert trainable.reset({"possible": True, "b": 2})
    result = trainable.train()
    assert result["config"] == {"possible": True, "b": 2}
    assert result["training_iteration"] == 1 and result["time_total_s"] == result["time_this_iter_s"]
    assert not trainable.reset({"possible": False})


def test_by_default_nothing_can_be_reset() -> None:
    assert Counter().reset({}) is False


def test_stop_cleans_up() -> None:
    class Cleans(Counter):
        cleaned = 0

        def cleanup(self) -> None:
            self.cleaned += 1

    trainable = Cleans()
    trainable.stop()
    assert trainable.cleaned == 1


def test_models_are_exported(tmp_path: Path) -> None:
    class Exports(Counter):
        def _export_model(self, export_formats: Any, export_dir: str) -> dict[str, str]:
            return {name: os.path.join(export_dir, name) for name in export_formats}

    trainable = Exports()
    assert trainable.export_model("onnx", str(tmp_path)) == {"onnx": str(tmp_path / "onnx")}
    assert trainable.export_model(["a", "b"]) == {name: os.path.join(trainable.logdir, name) for name in "ab"}
    assert Counter().export_model("onnx") == {}


def test_outside_of_a_trial() -> None:
    trainable = Counter({"a": 1})
    assert (trainable.trial_name, trainable.trial_id, trainable.trial_resources) == ("default",) * 3
    assert trainable.iteration == trainable.training_iteration == 0
    assert Counter.default_resource_request({}) is None
    assert Counter.resource_help({}) == ""
    assert trainable.is_actor() is False


def test_what_is_missing_is_named() -> None:
    class Nothing(Trainable):
        pass

    with pytest.raises(NotImplementedError, match=r"Nothing must define step\(\)"):
        Nothing().train()
    with pytest.raises(NotImplementedError, match=r"Nothing must define save_checkpoint\(\)"):
        Nothing().save()
