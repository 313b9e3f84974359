"""Tune's callbacks for Keras, in real trainings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.sessions import Recorder

from aktis.air import session_host

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", exc_type=ImportError)
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def recorder(tmp_path: Path) -> Any:
    with session_host.installed(Recorder(tmp_path)) as host:
        yield host


def fit(callback: Any, epochs: int = 4) -> Any:
    x = np.linspace(0, 1, 8, dtype="float32").reshape(-1, 1)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    return model.fit(x, 2 * x, epochs=epochs, verbose=0, callbacks=[callback]).history


def test_each_epoch_is_reported(recorder: Recorder) -> None:
    from aktis.tune.integration.keras import TuneReportCallback

    history = fit(TuneReportCallback({"error": "loss"}))
    assert recorder.metrics == [{"error": loss} for loss in history["loss"]]


def test_a_model_every_so_often(recorder: Recorder) -> None:
    from aktis.tune.integration.keras import TuneReportCheckpointCallback

    fit(TuneReportCheckpointCallback(["loss"], filename="model", frequency=2))
    assert [folder is not None for _, folder in recorder.reports] == [False, True, False, True]
    keras.models.load_model(recorder.reports[3][1] / "model.keras")
    recorder.reports.clear()
    fit(TuneReportCheckpointCallback("loss", frequency=[3, 1], on=["epoch_end", "train_end"]))
    assert [folder is not None for _, folder in recorder.reports] == [False, False, True, False, True]
    for wrong in (0, [1], [1, 0]):
        with pytest.raises(ValueError, match="frequency must be at least 1, one number or one for each"):
            TuneReportCheckpointCallback(frequency=wrong, on=["epoch_end", "train_end"])
