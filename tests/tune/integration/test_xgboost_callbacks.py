"""XGBoost's callbacks, in real trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.sessions import Recorder

from aktis.air import session_host

xgboost = pytest.importorskip("xgboost", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("ignore")

PARAMS = {"objective": "binary:logistic", "eval_metric": ["logloss", "error"], "max_depth": 2, "nthread": 1}


@pytest.fixture
def data() -> Any:
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 3))
    return xgboost.DMatrix(x, label=x[:, 0] > 0)


@pytest.fixture
def recorder(tmp_path: Path) -> Any:
    with session_host.installed(Recorder(tmp_path)) as host:
        yield host


def train(data: Any, callback: Any, rounds: int = 4) -> Any:
    results: dict[str, Any] = {}
    more = {"evals_result": results, "verbose_eval": False}
    xgboost.train(PARAMS, data, rounds, evals=[(data, "eval")], callbacks=[callback], **more)
    return results["eval"]


def test_every_round_is_reported(data: Any, recorder: Recorder) -> None:
    from aktis.tune.integration.xgboost import TuneReportCallback

    results = train(data, TuneReportCallback())
    assert recorder.metrics == [
        {"eval-logloss": loss, "eval-error": error} for loss, error in zip(results["logloss"], results["error"])
    ]
    recorder.reports.clear()
    results = train(data, TuneReportCallback({"loss": "eval-logloss"}))
    assert recorder.metrics == [{"loss": loss} for loss in results["logloss"]]
    recorder.reports.clear()
    train(data, TuneReportCallback("two", results_postprocessing_fn=lambda found: {"two": 2 * found["eval-error"]}))
    assert [metrics["two"] for metrics in recorder.metrics] == [2 * error for error in results["error"]]
    with pytest.raises(ValueError, match="XGBoost has no metric 'auc' to report. It has: eval-logloss, eval-error"):
        train(data, TuneReportCallback("auc"))


def test_models_are_in_the_checkpoints(data: Any, recorder: Recorder) -> None:
    from aktis.tune.integration.xgboost import TuneReportCheckpointCallback

    train(data, TuneReportCheckpointCallback("eval-error", frequency=2))
    assert [folder is not None for _, folder in recorder.reports] == [False, True, False, True]
    model = xgboost.Booster()
    model.load_model(str(recorder.reports[3][1] / "checkpoint"))
    assert model.num_boosted_rounds() == 4
    recorder.reports.clear()
    train(data, TuneReportCheckpointCallback(filename="model.json", frequency=1), rounds=1)
    model.load_model(recorder.reports[0][1] / "model.json")
    assert model.num_boosted_rounds() == 1
    with pytest.raises(ValueError, match="frequency must be at least 1.*got 0"):
        TuneReportCheckpointCallback(frequency=0)


def test_cross_validation(data: Any, recorder: Recorder) -> None:
    from aktis.tune.integration.xgboost import TuneReportCheckpointCallback

    callback = TuneReportCheckpointCallback(frequency=1)
    table = xgboost.cv(PARAMS, data, 2, nfold=3, metrics=["error"], callbacks=[callback], as_pandas=False)
    assert [metrics["test-error-mean"] for metrics in recorder.metrics] == pytest.approx(table["test-error-mean"])
    assert [metrics["train-error-std"] for metrics in recorder.metrics] == pytest.approx(table["train-error-std"])
    assert all(folder is None for _, folder in recorder.reports)
