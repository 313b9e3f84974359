"""MLflow, with a real store in a SQLite file."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.loggers import FakeTrial, LoggerConformance, result
from tests.helpers.offline import no_network  # noqa: F401  # a fixture, and settings that come before the client
from tests.helpers.sessions import Recorder

from aktis.air import session_host
from aktis.air.callbacks import Callback
from aktis.air.integrations.mlflow import MLflowLoggerCallback, setup_mlflow

mlflow = pytest.importorskip("mlflow", exc_type=ImportError)
pytest.importorskip("sqlalchemy", exc_type=ImportError)
pytestmark = [pytest.mark.filterwarnings("ignore")]  # of the client and of what it imports


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables; making them takes a second."""
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    mlflow.tracking.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "")  # so that what is set is taken back
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)  # for artifacts
    shutil.copy(empty_store, tmp_path / "runs.db")
    before = mlflow.get_tracking_uri()
    yield
    while mlflow.active_run() is not None:
        mlflow.end_run()
    mlflow.set_tracking_uri(before)
    _close_stores()


def _close_stores() -> None:
    """Connections that the client keeps for the life of a process."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for engine in list(getattr(SqlAlchemyStore, "_engine_map", {}).values()):
        engine.dispose()
    getattr(SqlAlchemyStore, "_engine_map", {}).clear()
    from mlflow.tracking._tracking_service import utils

    for cache in (getattr(utils._tracking_store_registry, "_get_store_with_resolved_uri", None),):
        if hasattr(cache, "cache_clear"):
            cache.cache_clear()


def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/runs.db"


def runs(tmp_path: Path, experiment: str = "Default") -> list[Any]:
    client = mlflow.tracking.MlflowClient(uri(tmp_path))
    found = client.get_experiment_by_name(experiment)
    return (
        [] if found is None else list(client.search_runs([found.experiment_id], order_by=["attribute.start_time ASC"]))
    )


def history(tmp_path: Path, run: Any, metric: str) -> list[tuple[int, float]]:
    client = mlflow.tracking.MlflowClient(uri(tmp_path))
    return [(m.step, m.value) for m in sorted(client.get_metric_history(run.info.run_id, metric), key=lambda m: m.step)]


class TestMlflow(LoggerConformance):
    DEFERRED = True

    def make(self, tmp_path: Path) -> Callback:
        return MLflowLoggerCallback(uri(tmp_path))

    def logged(self, tmp_path: Path, trial: FakeTrial) -> list[float]:
        (run,) = [run for run in runs(tmp_path) if run.data.tags["trial_id"] == trial.trial_id]
        return [value for _, value in history(tmp_path, run, "score")]


def log(callback: Any, trial: FakeTrial, *results: dict[str, Any], failed: bool = False) -> None:
    LoggerConformance.run(callback, [trial], list(results), failed=failed)


@pytest.fixture
def trial(tmp_path: Path) -> FakeTrial:
    return LoggerConformance.new_trial(tmp_path, "t1")


def test_what_is_in_a_run(tmp_path: Path, trial: FakeTrial) -> None:
    callback = MLflowLoggerCallback(uri(tmp_path), experiment_name="mine", tags={"who": "me"}, save_artifact=True)
    (Path(trial.logdir) / "note.txt").write_text("kept")
    log(callback, trial, result(1, loss=0.5, n={"a": 1}), result(2, loss=0.25, text="x"))
    (run,) = runs(tmp_path, "mine")
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "train_t1"
    assert run.data.params == {"lr": "0.1", "net/layers": "[1, 2]"}
    assert {key: run.data.tags[key] for key in ("who", "trial_id", "trial_name")} == {
        "who": "me", "trial_id": "t1", "trial_name": "train_t1",
    }  # fmt: skip
    assert history(tmp_path, run, "loss") == [(1, 0.5), (2, 0.25)]
    assert history(tmp_path, run, "n/a") == [(1, 1.0)]
    assert "config/lr" not in run.data.metrics and "text" not in run.data.metrics
    client = mlflow.tracking.MlflowClient(uri(tmp_path))
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["note.txt"]
    assert threading.active_count() == 1 or not any("aktis-MLflow" in t.name for t in threading.enumerate())


def test_a_failed_trial(tmp_path: Path, trial: FakeTrial) -> None:
    log(MLflowLoggerCallback(uri(tmp_path)), trial, result(1, loss=0.5), failed=True)
    assert [run.info.status for run in runs(tmp_path)] == ["FAILED"]


def test_a_resumed_run_goes_on_with_the_same_mlflow_run(tmp_path: Path, trial: FakeTrial) -> None:
    first = MLflowLoggerCallback(uri(tmp_path))
    first.setup()
    first.log_trial_start(trial)
    first.log_trial_result(0, trial, result(1, loss=1.0))
    first.on_experiment_end([trial])
    assert [run.info.status for run in runs(tmp_path)] == ["KILLED"]
    second = MLflowLoggerCallback(uri(tmp_path))
    second.set_state(first.get_state() or {})
    trial.config = {"lr": 0.2, "new": 1}
    log(second, trial, result(2, loss=2.0))
    (run,) = runs(tmp_path)
    assert history(tmp_path, run, "loss") == [(1, 1.0), (2, 2.0)]
    assert (run.data.params["lr"], run.data.params["new"], run.data.tags["changed/lr"]) == ("0.1", "1", "0.2")
    assert run.info.status == "FINISHED"
    assert second.get_state() is None


def test_many_results_are_sent_together(tmp_path: Path, trial: FakeTrial, monkeypatch: pytest.MonkeyPatch) -> None:
    callback = MLflowLoggerCallback(uri(tmp_path))
    callback.setup()
    gate, calls = threading.Event(), []
    real = callback._client.log_batch
    monkeypatch.setattr(
        callback._client, "log_batch", lambda *a, **k: (calls.append(len(k.get("metrics", ()))), real(*a, **k))
    )
    callback._background.submit(gate.wait, 30)
    callback.log_trial_start(trial)
    for i in range(150):
        callback.log_trial_result(i, trial, result(i, loss=float(i)))
    gate.set()
    callback.log_trial_end(trial)
    callback.on_experiment_end([trial])
    metrics = [count for count in calls if count]
    assert len(metrics) <= 2 and max(metrics) <= 1000 < sum(metrics) + 1000
    (run,) = runs(tmp_path)
    assert len(history(tmp_path, run, "loss")) == 150


def test_the_experiment_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = mlflow.tracking.MlflowClient(uri(tmp_path))
    known = client.create_experiment("known")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", known)
    callback = MLflowLoggerCallback(uri(tmp_path), tracking_token="secret")
    callback.setup()
    assert callback.experiment_id == known
    assert os.environ["MLFLOW_TRACKING_TOKEN"] == "secret"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "other")
    callback.setup()
    assert client.get_experiment(callback.experiment_id).name == "other"


def test_setup_in_a_trial(tmp_path: Path) -> None:
    with session_host.installed(Recorder(tmp_path)):
        tool = setup_mlflow(
            {"lr": 0.1, "mlflow": {"tags": {"a": 1}}},
            uri(tmp_path),
            experiment_name="mine",
            create_experiment_if_not_exists=True,
            tags={"b": 2},
        )
        assert tool is mlflow
        tool.log_metric("loss", 0.5, step=1)
        tool.end_run()
    (run,) = runs(tmp_path, "mine")
    assert run.data.params == {"lr": "0.1"}
    assert {key: run.data.tags[key] for key in ("a", "b", "trial_id", "trial_name")} == {
        "a": "1", "b": "2", "trial_id": "t1", "trial_name": "train_t1",
    }  # fmt: skip
    assert run.data.metrics == {"loss": 0.5}


def test_setup_names_the_experiment_after_the_run(tmp_path: Path) -> None:
    with session_host.installed(Recorder(tmp_path)):
        setup_mlflow({}, uri(tmp_path), create_experiment_if_not_exists=True)
    assert len(runs(tmp_path, "experiment")) == 1


def test_setup_of_other_ranks_does_nothing(tmp_path: Path) -> None:
    with session_host.installed(Recorder(tmp_path, rank=1)):
        tool: Any = setup_mlflow({}, uri(tmp_path), experiment_name="mine", create_experiment_if_not_exists=True)
        with tool.start_run():
            tool.log_metric("loss", 1)
            tool.pytorch.autolog()
    assert runs(tmp_path, "mine") == []


def test_an_experiment_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no experiment named 'nope'.*create_experiment_if_not_exists=True"):
        setup_mlflow({}, uri(tmp_path), experiment_name="nope")
    with pytest.raises(ValueError, match="no experiment with the id '77'"):
        setup_mlflow({}, uri(tmp_path), experiment_id="77")
    with pytest.raises(ValueError, match="pass experiment_name or experiment_id"):
        setup_mlflow({}, uri(tmp_path))


def test_without_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(ImportError, match=r'pip install "aktis-air\[mlflow\]"'):
        MLflowLoggerCallback()
