"""Lightning's callbacks, in real trainings with both names of the library."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.sessions import Recorder

from aktis.air import session_host

torch = pytest.importorskip("torch", exc_type=ImportError)
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]

LIBRARIES = ["lightning.pytorch", "pytorch_lightning"]


@pytest.fixture(params=LIBRARIES)
def pl(request: pytest.FixtureRequest) -> Any:
    for other in LIBRARIES:
        try:
            importlib.import_module(other)
        except ImportError:
            pass
    module = pytest.importorskip(request.param, exc_type=ImportError)
    for name in ("lightning", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return module


@pytest.fixture
def recorder(tmp_path: Path) -> Any:
    with session_host.installed(Recorder(tmp_path)) as host:
        yield host


def fit(pl: Any, tmp_path: Path, callback: Any, epochs: int = 2) -> Any:
    class Line(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch: Any, _: int) -> Any:
            loss = ((self.layer(batch) - 2 * batch) ** 2).mean()
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch: Any, _: int) -> None:
            self.log("val_loss", ((self.layer(batch) - 2 * batch) ** 2).mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    data = torch.utils.data.DataLoader(torch.linspace(0, 1, 8).reshape(-1, 1), batch_size=4)
    trainer = pl.Trainer(
        max_epochs=epochs,
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        default_root_dir=str(tmp_path),
    )
    module = Line()
    trainer.fit(module, data, data)
    return module


def test_each_validation_is_reported_and_the_trial_run_of_it_is_not(
    pl: Any, tmp_path: Path, recorder: Recorder
) -> None:
    from aktis.air.integrations.lightning import TuneReportCallback

    fit(pl, tmp_path, TuneReportCallback({"loss": "val_loss"}))
    assert [list(metrics) for metrics in recorder.metrics] == [["loss"], ["loss"]]
    assert all(type(metrics["loss"]) is float for metrics in recorder.metrics)
    recorder.reports.clear()
    fit(pl, tmp_path, TuneReportCallback(on=["train_epoch_end", "train_end"]))
    assert [sorted(metrics) for metrics in recorder.metrics] == [["train_loss", "val_loss"]] * 3


def test_metrics_that_were_not_logged_are_left_out(
    pl: Any, tmp_path: Path, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    from aktis.air.integrations.lightning import TuneReportCallback

    fit(pl, tmp_path, TuneReportCallback(["val_loss", "nope"]))
    assert [list(metrics) for metrics in recorder.metrics] == [["val_loss"], ["val_loss"]]
    assert caplog.text.count("has not logged 'nope'") == 1


def test_checkpoints_are_those_of_the_trainer(pl: Any, tmp_path: Path, recorder: Recorder) -> None:
    from aktis.tune.integration.pytorch_lightning import TuneReportCheckpointCallback

    module = fit(pl, tmp_path, TuneReportCheckpointCallback("val_loss", "model.ckpt", on="train_epoch_end"))
    assert len(recorder.reports) == 2
    folder = recorder.reports[-1][1]
    assert folder is not None
    state = torch.load(folder / "model.ckpt", weights_only=False)
    assert state["epoch"] == 1
    assert torch.equal(state["state_dict"]["layer.weight"], module.layer.weight)


def test_an_event_that_lightning_has_not(pl: Any) -> None:
    from aktis.air.integrations.lightning import TuneReportCallback

    with pytest.raises(ValueError, match="on names no event: 'epoch'. Events are: .*validation_end"):
        TuneReportCallback(on="epoch")


def test_a_callback_of_ones_own_hears_of_the_events_that_it_names(pl: Any, tmp_path: Path) -> None:
    from aktis.tune.integration.pytorch_lightning import TuneCallback

    heard: list[int] = []

    class Listener(TuneCallback):
        def handle(self, trainer: Any) -> None:
            heard.append(trainer.current_epoch)

    fit(pl, tmp_path, Listener("train_epoch_end"))
    assert heard == [0, 1]
    with pytest.raises(ValueError, match="on names no event: 'lunch'"):
        Listener("lunch")
