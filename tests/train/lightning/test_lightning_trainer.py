"""LightningTrainer on two workers, against the same training in this process."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from tests.train.lightning import modules  # noqa: E402

import aktis.data  # noqa: E402
from aktis import air  # noqa: E402
from aktis.air.config import FailureConfig, RunConfig, ScalingConfig  # noqa: E402
from aktis.train.lightning import LightningCheckpoint, LightningConfigBuilder, LightningTrainer  # noqa: E402
from aktis.train.torch import TorchTrainer  # noqa: E402

pytestmark = [
    pytest.mark.torch, pytest.mark.usefixtures("session"), pytest.mark.timeout(240), pytest.mark.filterwarnings("ignore"),
]  # fmt: skip
EPOCHS, ROWS = 4, len(modules.X)


def alone(name: str) -> tuple[list[float], Any]:
    """(validation losses by epoch, the module) of one process that takes all rows in each step."""
    pl = importlib.import_module(name)
    losses: list[float] = []

    class Watch(pl.Callback):  # type: ignore[misc, name-defined]
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            losses.append(trainer.callback_metrics["val_loss"].item())

    module = modules.module_class(name)()
    trainer = pl.Trainer(
        max_epochs=EPOCHS, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        accelerator="cpu", callbacks=[Watch()],
    )  # fmt: skip
    trainer.fit(module, modules.loader(ROWS), modules.loader(ROWS))
    return losses, module


def check(result: air.Result, name: str) -> None:
    losses, module = alone(name)
    seen = result.metrics_dataframe
    assert seen["epoch"].tolist() == list(range(EPOCHS))  # no epoch is there twice
    assert seen["step"].tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(seen["val_loss"], losses, rtol=1e-5)
    assert type(result.checkpoint) is LightningCheckpoint
    trained = result.checkpoint.get_model(modules.module_class(name))
    torch.testing.assert_close(trained.l1.weight, module.l1.weight)


def builder(name: str, tmp_path: Path) -> LightningConfigBuilder:
    return (
        LightningConfigBuilder()
        .module(modules.module_class(name), marker=str(tmp_path / "failed"))
        .trainer(max_epochs=EPOCHS, logger=False, accelerator="cpu", enable_progress_bar=False)
        .checkpointing(monitor="val_loss", save_top_k=1)
    )


def test_workers_that_fail_learn_from_data_sets_what_one_process_does(tmp_path: Path) -> None:
    name = modules.NAMES[0]
    data = aktis.data.from_pandas(pd.DataFrame({"x": list(modules.X), "y": modules.Y}))
    result = LightningTrainer(
        builder(name, tmp_path).build(),
        datasets={"train": data, "val": data},
        datasets_iter_config={"batch_size": ROWS // 2},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(
            name="run", local_dir=str(tmp_path), verbose=0, failure_config=FailureConfig(max_failures=1)
        ),
    ).fit()
    assert (tmp_path / "failed").exists()
    check(result, name)


@pytest.mark.slow
def test_dataloaders_are_shared_out(tmp_path: Path, run_config: air.RunConfig) -> None:
    name = modules.NAMES[1]
    (tmp_path / "failed").touch()
    config = builder(name, tmp_path).fit_params(
        train_dataloaders=modules.loader(ROWS // 2), val_dataloaders=modules.loader(ROWS // 2)
    )
    result = LightningTrainer(config.build(), scaling_config=ScalingConfig(num_workers=2), run_config=run_config).fit()
    check(result, name)


def loop(config: dict[str, Any]) -> None:
    import lightning.pytorch as pl

    from aktis.train.lightning import RayDDPStrategy, RayLightningEnvironment, RayTrainReportCallback, prepare_trainer

    trainer = pl.Trainer(
        strategy=RayDDPStrategy(), plugins=[RayLightningEnvironment()], callbacks=[RayTrainReportCallback()], devices="auto",
        accelerator="cpu", max_epochs=EPOCHS, logger=False, enable_checkpointing=False, enable_progress_bar=False,
    )  # fmt: skip
    half = ROWS // 2
    prepare_trainer(trainer).fit(
        modules.module_class("lightning.pytorch")(), modules.loader(half), modules.loader(half)
    )


@pytest.mark.slow
def test_a_loop_of_ones_own(run_config: air.RunConfig) -> None:
    result = TorchTrainer(loop, scaling_config=ScalingConfig(num_workers=2), run_config=run_config).fit()
    check(result, modules.NAMES[0])
