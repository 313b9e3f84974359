"""Trials in MLflow and TensorBoard: both are filled while the search runs, and read back at the end.

TensorBoard's files are written without asking (``tensorboard --logdir`` the printed folder shows them); MLflow is a callback,
here with a database in a file. Each trial is a run there: its configuration, and a point for each report.

Run: python examples/tune_loggers.py
Needs: pip install aktis-tune "aktis-air[mlflow]" sqlalchemy alembic tensorboard
Prints: the best run by MLflow and the last point of its curve by TensorBoard, which are what Tune itself says.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from aktis import air, tune
from aktis.air import session
from aktis.air.integrations.mlflow import MLflowLoggerCallback
from aktis.tune.logger import TBXLoggerCallback

STEPS = 10


def train(config: dict[str, Any]) -> None:
    """Newton's method with a step that is too short, on the square root of two."""
    x = 1.0
    for _ in range(STEPS):
        x -= config["lr"] * (x**2 - 2) / (2 * x)
        session.report({"error": abs(x - 2**0.5)})


def by_mlflow(uri: str) -> tuple[float, float]:
    """Learning rate and error of the run with the smallest error."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("square-root")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], order_by=["metrics.error ASC"])
    assert len(runs) == 3 and all(len(client.get_metric_history(run.info.run_id, "error")) == STEPS for run in runs)
    return float(runs[0].data.params["lr"]), runs[0].data.metrics["error"]


def by_tensorboard(folder: Path) -> list[float]:
    """The points of a curve."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    (tag,) = (tag for tag in events.Tags()["scalars"] if tag.endswith("/error"))
    return [event.value for event in events.Scalars(tag)]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        tuner = tune.Tuner(
            train,
            param_space={"lr": tune.grid_search([0.1, 0.4, 0.9])},
            tune_config=tune.TuneConfig(metric="error", mode="min", reuse_actors=True),
            run_config=air.RunConfig(
                name="loggers",
                local_dir=folder,
                verbose=0,
                callbacks=[MLflowLoggerCallback(tracking_uri=uri, experiment_name="square-root"), TBXLoggerCallback()],
            ),
        )
        best = tuner.fit().get_best_result()
        lr, error = by_mlflow(uri)
        curve = by_tensorboard(best.log_dir)
    print(f"Tune:        error {best.metrics['error']:.2e} with lr {best.config['lr']}")
    print(f"MLflow:      error {error:.2e} with lr {lr}")
    print(f"TensorBoard: error {curve[-1]:.2e} after {len(curve)} steps")
    assert lr == best.config["lr"] == 0.9
    assert error == best.metrics["error"] and abs(curve[-1] - error) < 1e-6 and len(curve) == STEPS


if __name__ == "__main__":
    main()
