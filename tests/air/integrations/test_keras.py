"""Keras' callbacks, in real trainings."""

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


def fit(callback: Any, epochs: int = 2) -> Any:
    x = np.linspace(0, 1, 8, dtype="float32").reshape(-1, 1)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse", metrics=["mae"])
    history = model.fit(
        x, 2 * x, epochs=epochs, batch_size=4, verbose=0, validation_data=(x, 2 * x), callbacks=[callback]
    )
    return model, history.history


def test_each_epoch_is_reported_with_the_model(recorder: Recorder) -> None:
    from aktis.air.integrations.keras import MODEL_FILE, ReportCheckpointCallback

    model, history = fit(ReportCheckpointCallback(metrics={"mean": "val_mae", "loss": "loss"}))
    assert recorder.metrics == [{"mean": mean, "loss": loss} for mean, loss in zip(history["val_mae"], history["loss"])]
    folder = recorder.reports[-1][1]
    assert folder is not None
    loaded = keras.models.load_model(folder / MODEL_FILE)
    assert np.array_equal(loaded.get_weights()[0], model.get_weights()[0])


def test_other_events(recorder: Recorder) -> None:
    from aktis.air.integrations.keras import ReportCheckpointCallback

    fit(
        ReportCheckpointCallback(
            checkpoint_on="train_end", report_metrics_on=["train_batch_end", "train_end"], metrics="loss"
        )
    )
    assert [folder is not None for _, folder in recorder.reports] == [False] * 4 + [True]
    with pytest.raises(ValueError, match="'epoch_end' of checkpoint_on must be in report_metrics_on"):
        ReportCheckpointCallback(report_metrics_on="train_end")
    with pytest.raises(ValueError, match="report_metrics_on names no event: 'lunch'. Events are: epoch_begin"):
        ReportCheckpointCallback(report_metrics_on="lunch")
    with pytest.raises(ValueError, match="Keras has no metric 'accuracy' to report. It has: .*val_mae"):
        fit(ReportCheckpointCallback(metrics="accuracy"))


def test_hooks_of_batches_are_not_there_unless_asked_for() -> None:
    from aktis.air.integrations.keras import ReportCheckpointCallback

    assert "on_train_batch_end" not in vars(ReportCheckpointCallback())
    assert ReportCheckpointCallback.on_train_batch_end is keras.callbacks.Callback.on_train_batch_end


def test_a_callback_of_ones_own_hears_of_the_events_that_it_names() -> None:
    from aktis.air.integrations.keras import KerasCallback

    heard: list[tuple[str, list[str]]] = []

    class Listener(KerasCallback):
        def handle(self, logs: dict[str, Any], event: str) -> None:
            heard.append((event, sorted(logs)))

    fit(Listener(["train_begin", "epoch_end"]), epochs=1)
    assert heard == [("train_begin", []), ("epoch_end", ["loss", "mae", "val_loss", "val_mae"])]
    with pytest.raises(NotImplementedError, match="Silent.handle"):
        fit(type("Silent", (KerasCallback,), {})("epoch_end"))
