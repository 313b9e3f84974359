"""LightningConfigBuilder, LightningCheckpoint, LightningPredictor, and the classes for loops of one's own, in this process."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("pytorch_lightning")

from tests.train.lightning import modules  # noqa: E402

from aktis.air import session_host  # noqa: E402
from aktis.air.checkpoint import Checkpoint  # noqa: E402
from aktis.data.preprocessors import BatchMapper  # noqa: E402
from aktis.train import lightning as ours  # noqa: E402
from aktis.train.error import CheckpointTypeError  # noqa: E402
from aktis.train.lightning import (  # noqa: E402
    LightningCheckpoint,
    LightningConfigBuilder,
    LightningPredictor,
    LightningTrainer,
    _library,
    prepare_trainer,
)

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]  # Lightning has much to say


@pytest.fixture(scope="module", params=modules.NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def saved(name: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Path]:
    """(class, trained module, file) of a short training without us."""
    pl = importlib.import_module(name)
    cls = modules.module_class(name)
    module = cls(lr=0.5)
    trainer = pl.Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        accelerator="cpu", default_root_dir=str(tmp_path_factory.mktemp("root")),
    )  # fmt: skip
    trainer.fit(module, modules.loader())
    path = tmp_path_factory.mktemp("saved") / "epoch=0.ckpt"
    trainer.save_checkpoint(path)
    return cls, module, path


def test_a_file_becomes_a_checkpoint(saved: tuple[Any, Any, Path]) -> None:
    cls, module, path = saved
    checkpoint = LightningCheckpoint.from_path(path, preprocessor=BatchMapper(_double, batch_format="numpy"))
    for form in (checkpoint, Checkpoint.from_bytes(checkpoint.to_bytes())):
        assert type(form) is LightningCheckpoint
        again = form.get_model(cls)
        assert again.hparams["lr"] == 0.5
        torch.testing.assert_close(again.l1.weight, module.l1.weight)
        assert form.get_model(cls, lr=0.25).hparams["lr"] == 0.25

        predictor = LightningPredictor.from_checkpoint(form, cls)
        found = predictor.predict(modules.X)["predictions"]
        with torch.no_grad():
            np.testing.assert_allclose(found, module(torch.tensor(2 * modules.X)).numpy(), rtol=1e-5)


def _double(batch: Any) -> Any:
    return {name: 2 * values for name, values in batch.items()} if isinstance(batch, dict) else 2 * batch


def test_predictions_in_tables(saved: tuple[Any, Any, Path]) -> None:
    cls, module, path = saved
    predictor = LightningPredictor.from_checkpoint(LightningCheckpoint.from_path(path), cls)
    found = predictor.predict(pd.DataFrame({"x": list(modules.X)}))
    assert list(found.columns) == ["predictions"] and len(found) == len(modules.X)


def test_what_is_no_checkpoint_of_lightning(saved: tuple[Any, Any, Path], tmp_path: Path) -> None:
    cls, _, path = saved
    with pytest.raises(FileNotFoundError, match=r"no checkpoint of Lightning at .*nothing"):
        LightningCheckpoint.from_path(tmp_path / "nothing")
    with pytest.raises(CheckpointTypeError, match=r"was not written by Lightning: it has no checkpoint\.ckpt"):
        LightningCheckpoint.from_dict({"x": 1}).get_model(cls)
    with pytest.raises(TypeError, match="model_class must be a LightningModule class"):
        LightningCheckpoint.from_path(path).get_model(torch.nn.Linear)


# -- for loops of one's own ------------------------------------------------------------------------------------------------


class Recorder(session_host.SessionHost):
    def __init__(self) -> None:
        self.reports: list[tuple[dict[str, Any], list[str] | None]] = []

    def report(self, metrics: dict[str, Any], *, checkpoint: Checkpoint | None = None) -> None:
        if checkpoint is None:
            self.reports.append((metrics, None))
            return
        with checkpoint.as_directory() as path:
            self.reports.append((metrics, sorted(os.listdir(path))))

    def get_checkpoint(self) -> None: ...
    def get_experiment_name(self) -> None: ...
    def get_trial_name(self) -> None: ...
    def get_trial_id(self) -> None: ...
    def get_trial_resources(self) -> None: ...
    def get_trial_dir(self) -> None: ...


@pytest.fixture
def host() -> Iterator[Recorder]:
    with session_host.installed(Recorder()) as recorder:
        yield recorder  # type: ignore[misc]
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def trainer_of(name: str, tmp_path: Path, **arguments: Any) -> Any:
    return importlib.import_module(name).Trainer(
        logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu", devices="auto",
        default_root_dir=str(tmp_path), **arguments,
    )  # fmt: skip


def test_a_report_after_each_epoch(host: Recorder, name: str, tmp_path: Path) -> None:
    classes = _library.classes_of(name)
    trainer = trainer_of(
        name, tmp_path, strategy=classes.RayDDPStrategy(), plugins=[classes.RayLightningEnvironment()], max_epochs=2,
        callbacks=[classes.RayTrainReportCallback()], enable_checkpointing=False,
    )  # fmt: skip
    assert prepare_trainer(trainer) is trainer
    assert (trainer.world_size, trainer.global_rank) == (1, 0)
    trainer.fit(modules.module_class(name)(), modules.loader(), modules.loader())
    assert [(metrics["epoch"], metrics["step"], files) for metrics, files in host.reports] == [
        (0, 5, ["checkpoint.ckpt"]),
        (1, 10, ["checkpoint.ckpt"]),
    ]
    assert host.reports[1][0]["loss"] < host.reports[0][0]["loss"]
    assert isinstance(host.reports[0][0]["val_loss"], float)


def test_model_checkpoints_go_with_reports(host: Recorder, name: str, tmp_path: Path) -> None:
    classes = _library.classes_of(name)
    saves = classes.RayModelCheckpoint(
        dirpath=tmp_path / "saved", every_n_train_steps=2, save_top_k=1, monitor="loss_of_step"
    )
    cls = modules.module_class(name)

    def step(self: Any, batch: Any, index: int) -> Any:
        loss = self._loss(batch)
        self.log("loss_of_step", loss)
        return loss

    cls.training_step = step
    trainer_of(name, tmp_path, max_epochs=2, callbacks=[saves], num_sanity_val_steps=0).fit(cls(), modules.loader())
    steps = [(metrics["step"], files is not None) for metrics, files in host.reports]
    assert [step for step, _ in steps if step in (5, 10)] == [5, 10]  # the ends of the epochs
    assert steps[0] == (2, True)
    assert all(step in (2, 4, 5, 6, 8, 10) for step, _ in steps)


def test_the_classes_are_those_of_the_library_that_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    import lightning.pytorch
    import pytorch_lightning

    assert issubclass(ours.RayDDPStrategy, lightning.pytorch.strategies.DDPStrategy)
    monkeypatch.delitem(sys.modules, "lightning.pytorch")
    assert issubclass(ours.RayDDPStrategy, pytorch_lightning.strategies.DDPStrategy)
    assert issubclass(ours.RayTrainReportCallback, pytorch_lightning.Callback)
    assert ours.RayTrainReportCallback.CHECKPOINT_NAME == "checkpoint.ckpt"


def test_a_trainer_that_does_not_know_the_workers_is_refused(name: str, tmp_path: Path) -> None:
    class Two(Recorder):
        def get_world_size(self) -> int:
            return 2

    with pytest.raises(TypeError, match="needs a Trainer of Lightning, not dict"):
        prepare_trainer({})
    with session_host.installed(Two()):
        with pytest.raises(RuntimeError, match="the strategy SingleDeviceStrategy does not know the workers"):
            prepare_trainer(trainer_of(name, tmp_path))
        classes = _library.classes_of(name)
        with pytest.raises(RuntimeError, match="the environment LightningEnvironment does not know the workers"):
            prepare_trainer(trainer_of(name, tmp_path, strategy=classes.RayDDPStrategy()))


# -- the configuration -----------------------------------------------------------------------------------------------------


def test_the_builder_puts_all_parts_together(name: str) -> None:
    cls = modules.module_class(name)
    config = (
        LightningConfigBuilder()
        .module(cls, lr=0.5)
        .module(marker="x")
        .trainer(max_epochs=3, devices="auto")
        .fit_params(train_dataloaders=[1])
        .strategy(name="fsdp", cpu_offload=True)
        .checkpointing(monitor="loss")
        .build()
    )
    assert config == {
        "_module_class": cls,
        "_module_init_config": {"lr": 0.5, "marker": "x"},
        "_trainer_init_config": {"max_epochs": 3},
        "_trainer_fit_params": {"train_dataloaders": [1]},
        "_strategy_config": {"_strategy_name": "fsdp", "cpu_offload": True},
        "_model_checkpoint_config": {"monitor": "loss"},
    }
    assert "_module_class" not in LightningConfigBuilder().module(lr=1).build()  # for a param_space


def test_a_search_varies_parts_of_the_configuration() -> None:
    cls = modules.module_class(modules.NAMES[0])
    config = LightningConfigBuilder().module(cls, lr=0.5).trainer(max_epochs=3).strategy(name="fsdp").build()
    space = {"lightning_config": LightningConfigBuilder().module(lr=0.25).trainer(precision=16).build()}
    varied = LightningTrainer(config)._with(space)._train_loop_config["lightning_config"]
    assert varied["_module_class"] is cls and varied["_module_init_config"] == {"lr": 0.25}
    assert varied["_trainer_init_config"] == {"max_epochs": 3, "precision": 16}
    assert varied["_strategy_config"] == {"_strategy_name": "fsdp"}


def test_what_makes_no_sense_is_said_at_once() -> None:
    builder = LightningConfigBuilder()
    with pytest.raises(TypeError, match="must be a subclass of LightningModule, not"):
        LightningConfigBuilder().module(torch.nn.Linear).build()
    with pytest.raises(
        ValueError, match=r"trainer\(strategy='ddp'\) is not for .* say it with \.strategy\(name='ddp'\)"
    ):
        builder.trainer(strategy="ddp")
    with pytest.raises(ValueError, match="the strategy must be one of ddp, fsdp, deepspeed, not 'tpu'"):
        builder.strategy("tpu")
    with pytest.raises(ValueError, match="the workers make the module themselves"):
        builder.fit_params(model=1)
    with pytest.raises(TypeError, match="must be what LightningConfigBuilder"):
        LightningTrainer(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="lightning_config has 'lr'"):
        LightningTrainer({"lr": 3})


def test_data_come_from_one_place() -> None:
    import aktis.data

    data = {"train": aktis.data.range(3)}
    with pytest.raises(ValueError, match="datasets need datasets_iter_config"):
        LightningTrainer(LightningConfigBuilder().build(), datasets=data)
    both = LightningConfigBuilder().fit_params(datamodule=1).build()
    with pytest.raises(ValueError, match=r"datasets and fit_params\(datamodule=\.\.\.\) are given"):
        LightningTrainer(both, datasets=data, datasets_iter_config={"batch_size": 1})
    with pytest.raises(ValueError, match="'evaluation' is not expected"):
        LightningTrainer({}, datasets={"evaluation": aktis.data.range(3)}, datasets_iter_config={"batch_size": 1})
