"""MLflow, with real stores in SQLite files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.helpers.offline import no_network  # noqa: F401  # a fixture, and settings that come before the client
from tests.train.legacy.driving import drive, report

from aktis.train.callbacks import MLflowLoggerCallback

mlflow = pytest.importorskip("mlflow", exc_type=ImportError)
pytest.importorskip("sqlalchemy", exc_type=ImportError)
pytestmark = [pytest.mark.filterwarnings("ignore")]  # of the client and of what it imports


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)
    yield
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for engine in list(getattr(SqlAlchemyStore, "_engine_map", {}).values()):  # kept for the life of a process
        engine.dispose()
    getattr(SqlAlchemyStore, "_engine_map", {}).clear()


def test_mlflow_gets_configuration_metrics_and_files(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/runs.db"
    run_dir = tmp_path / "train_x" / "run_001"
    run_dir.mkdir(parents=True)
    (run_dir / "note.txt").write_text("kept")
    (run_dir / "checkpoints").mkdir()
    (run_dir / "checkpoints" / "file").write_text("c")
    client = mlflow.tracking.MlflowClient(store)
    artifacts = (tmp_path / "artifacts").as_uri()
    experiment = client.create_experiment("legacy", artifact_location=artifacts)
    callback = MLflowLoggerCallback(
        tracking_uri=store, experiment_name="legacy", tags={"who": 1}, save_artifact=True, worker_to_log=1
    )
    drive(callback, run_dir, [report(1, loss=0.5), report(2, loss=0.25)])
    run = client.get_run(callback.run_id)
    assert run.info.experiment_id == experiment
    assert run.info.status == "FINISHED"
    assert run.data.params == {"lr": "0.1", "model/width": "8"}
    assert run.data.tags["who"] == "1"
    assert run.data.metrics["rank"] == 1
    assert [(m.step, m.value) for m in client.get_metric_history(callback.run_id, "loss")] == [(1, 0.5), (2, 0.25)]
    assert {file.path for file in client.list_artifacts(callback.run_id)} == {"note.txt", "checkpoints"}

    failed = MLflowLoggerCallback(tracking_uri=store, experiment_id=experiment)
    drive(failed, run_dir, [], error=True)
    assert client.get_run(failed.run_id).info.status == "FAILED"


def test_mlflow_without_a_server_keeps_runs_beside_the_results(tmp_path: Path) -> None:
    run_dir = tmp_path / "train_x" / "run_001"
    run_dir.mkdir(parents=True)
    (run_dir / "note.txt").write_text("kept")
    callback = MLflowLoggerCallback(save_artifact=True)
    drive(callback, run_dir, [report(1, loss=0.5)])
    client = mlflow.tracking.MlflowClient(f"sqlite:///{run_dir}/mlflow.db")
    assert client.get_run(callback.run_id).data.metrics["loss"] == 0.5
    assert [file.path for file in client.list_artifacts(callback.run_id)] == ["note.txt"]
    assert sorted(path.name for path in run_dir.iterdir()) == ["mlartifacts", "mlflow.db", "note.txt"]
