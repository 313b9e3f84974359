"""LightGBM's callbacks, in real trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.sessions import Recorder

from aktis.air import session_host
from aktis.tune.integration.lightgbm import TuneReportCallback, TuneReportCheckpointCallback

lightgbm = pytest.importorskip("lightgbm", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("ignore")

PARAMS = {
    "objective": "binary",
    "metric": ["binary_logloss", "binary_error"],
    "verbose": -1,
    "min_data": 2,
    "num_threads": 1,
}


@pytest.fixture
def data() -> Any:
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 3))
    return lightgbm.Dataset(x, label=x[:, 0] > 0, free_raw_data=False)


@pytest.fixture
def recorder(tmp_path: Path) -> Any:
    with session_host.installed(Recorder(tmp_path)) as host:
        yield host


def train(data: Any, callback: Any, rounds: int = 4) -> Any:
    results: dict[str, Any] = {}
    callbacks = [callback, lightgbm.record_evaluation(results)]
    lightgbm.train(PARAMS, data, rounds, valid_sets=[data], valid_names=["eval"], callbacks=callbacks)
    return results["eval"]


def test_every_round_is_reported(data: Any, recorder: Recorder) -> None:
    results = train(data, TuneReportCallback())
    assert recorder.metrics == [
        {"eval-binary_logloss": loss, "eval-binary_error": error}
        for loss, error in zip(results["binary_logloss"], results["binary_error"])
    ]
    recorder.reports.clear()
    results = train(data, TuneReportCallback({"loss": "eval-binary_logloss"}))
    assert recorder.metrics == [{"loss": loss} for loss in results["binary_logloss"]]
    recorder.reports.clear()
    train(
        data, TuneReportCallback("two", results_postprocessing_fn=lambda found: {"two": 2 * found["eval-binary_error"]})
    )
    assert [metrics["two"] for metrics in recorder.metrics] == [2 * error for error in results["binary_error"]]
    with pytest.raises(ValueError, match="LightGBM has no metric 'auc' to report. It has: eval-binary_logloss"):
        train(data, TuneReportCallback("auc"))


def test_the_round_that_stops_early_is_reported(data: Any, recorder: Recorder) -> None:
    other = data.create_valid(data.data, label=data.label)  # early stopping does not look at the data of the training
    callbacks = [TuneReportCallback("eval-binary_error"), lightgbm.early_stopping(2, verbose=False)]
    model = lightgbm.train(PARAMS, data, 50, valid_sets=[other], valid_names=["eval"], callbacks=callbacks)
    assert len(recorder.reports) == model.best_iteration + 2 < 50


def test_models_are_in_the_checkpoints(data: Any, recorder: Recorder) -> None:
    train(data, TuneReportCheckpointCallback("eval-binary_error", "model.txt", frequency=2))
    assert [folder is not None for _, folder in recorder.reports] == [False, True, False, True]
    assert lightgbm.Booster(model_file=str(recorder.reports[3][1] / "model.txt")).num_trees() == 4
    with pytest.raises(ValueError, match="frequency must be at least 1.*got 0"):
        TuneReportCheckpointCallback(frequency=0)


def test_cross_validation(data: Any, recorder: Recorder) -> None:
    table = lightgbm.cv(PARAMS, data, 2, nfold=3, callbacks=[TuneReportCheckpointCallback(frequency=1)])
    assert [metrics["valid-binary_error-mean"] for metrics in recorder.metrics] == pytest.approx(
        table["valid binary_error-mean"]
    )
    assert [metrics["valid-binary_error-stdv"] for metrics in recorder.metrics] == pytest.approx(
        table["valid binary_error-stdv"]
    )
    assert all(folder is None for _, folder in recorder.reports)
