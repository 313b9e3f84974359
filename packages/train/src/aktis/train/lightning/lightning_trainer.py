"""The Trainer of Lightning on several workers."""

from __future__ import annotations

import contextlib
import inspect
import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from aktis.air import session
from aktis.air.dataset_config import DatasetConfig
from aktis.train.lightning.lightning_checkpoint import LightningCheckpoint, file_in
from aktis.train.lightning.lightning_config import check_module_class
from aktis.train.torch.torch_trainer import TorchTrainer

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.config import RunConfig, ScalingConfig
    from aktis.data.preprocessor import Preprocessor
    from aktis.train.base_trainer import GenDataset
    from aktis.train.torch.config import TorchConfig

__all__ = ["LightningTrainer"]

logger = logging.getLogger(__name__)

TRAIN, VALIDATION = "train", "val"
_DATA_ARGUMENTS = ("datamodule", "train_dataloaders", "val_dataloaders")


class LightningTrainer(TorchTrainer):
    """Runs a Trainer of Lightning in each of several workers, which train one module together.

    ::

        config = LightningConfigBuilder().module(Classifier, lr=1e-3).trainer(max_epochs=5).fit_params(datamodule=data).build()
        result = LightningTrainer(config, scaling_config=ScalingConfig(num_workers=2)).fit()
        module = result.checkpoint.get_model(Classifier)

    - After each epoch, what the module has logged is a report, with ``epoch`` and ``step``. What ``ModelCheckpoint`` has saved (see
      :meth:`LightningConfigBuilder.checkpointing`; by default after each epoch) goes with it as a :class:`LightningCheckpoint`.
    - Data come from a datamodule or from dataloaders (``fit_params``), which Lightning shares out, or from ``datasets``.
    - A run that is started again, after a failure or with ``resume_from_checkpoint``, goes on from the latest checkpoint.

    Args:
        lightning_config: What :class:`LightningConfigBuilder` made.
        torch_config: How the process group is made.
        scaling_config: How many workers, and what each of them gets.
        dataset_config: How each data set is handed out. "train" is split among the workers; of "val" each has all rows.
        run_config: Name and place of the run, failures, checkpoints.
        datasets: "train" and "val", instead of a datamodule and dataloaders.
        datasets_iter_config: Arguments of ``iter_torch_batches`` for them: ``batch_size``, ``collate_fn``, ...
        preprocessor: Fitted on "train", applied to all, and stored with the checkpoints.
        resume_from_checkpoint: What the training goes on from.

    Raises:
        TypeError: an argument that is something else.
        ValueError: data sets without ``datasets_iter_config``, with other names, or beside a datamodule or dataloaders.
    """

    _dataset_config: ClassVar[Mapping[str, DatasetConfig]] = {
        TRAIN: DatasetConfig(fit=True, split=True),
        VALIDATION: DatasetConfig(split=False),
    }

    _library = (("lightning", "pytorch_lightning"), 'pip install "aktis-train[lightning]"')

    def __init__(
        self,
        lightning_config: Mapping[str, Any] | None = None,
        *,
        torch_config: TorchConfig | None = None,
        scaling_config: ScalingConfig | None = None,
        dataset_config: Mapping[str, DatasetConfig] | None = None,
        run_config: RunConfig | None = None,
        datasets: Mapping[str, GenDataset] | None = None,
        datasets_iter_config: Mapping[str, Any] | None = None,
        preprocessor: Preprocessor | None = None,
        resume_from_checkpoint: Checkpoint | None = None,
    ) -> None:
        config = _checked(lightning_config)
        fit_params = config.get("_trainer_fit_params", {})
        if datasets:
            if datasets_iter_config is None:
                raise ValueError(
                    "datasets need datasets_iter_config, such as {'batch_size': 32}: how they are made batches"
                )
            both = [name for name in _DATA_ARGUMENTS if fit_params.get(name) is not None]
            if both:
                raise ValueError(
                    f"datasets and fit_params({both[0]}=...) are given: the data can come from one of them only"
                )
        super().__init__(
            _train,
            train_loop_config={"lightning_config": config, "datasets_iter_config": dict(datasets_iter_config or {})},
            torch_config=torch_config,
            scaling_config=scaling_config,
            dataset_config=dataset_config,
            run_config=run_config,
            datasets=datasets,
            preprocessor=preprocessor,
            resume_from_checkpoint=resume_from_checkpoint,
        )


def _checked(config: Any) -> dict[str, Any]:
    if config is None:
        return {}  # a param_space has it; a worker without one says so
    if not isinstance(config, Mapping):
        raise TypeError(f"lightning_config must be what LightningConfigBuilder().build() returns, not {config!r}")
    unknown = [name for name in config if name not in _PARTS]
    if unknown:
        raise ValueError(
            f"lightning_config has {', '.join(map(repr, unknown))}: make it with LightningConfigBuilder().build()"
        )
    return dict(config)


_PARTS = (
    "_module_class", "_module_init_config", "_trainer_init_config", "_trainer_fit_params", "_strategy_config",
    "_model_checkpoint_config",
)  # fmt: skip


def _train(config: dict[str, Any]) -> None:
    """The training loop of each worker."""
    from aktis.train.lightning import _library

    settings = config["lightning_config"]
    if settings.get("_module_class") is None:
        raise ValueError("lightning_config has no module: make it with LightningConfigBuilder().module(cls).build()")
    library = check_module_class(settings["_module_class"])
    classes = _library.classes_of(library)
    module = settings["_module_class"](**settings.get("_module_init_config", {}))
    fit_arguments = {**settings.get("_trainer_fit_params", {}), **_dataloaders(config["datasets_iter_config"])}
    with _folder() as folder, _latest() as ckpt_path:
        trainer = _make_trainer(library, classes, settings, folder)
        if ckpt_path is not None:
            fit_arguments["ckpt_path"] = ckpt_path
            if "weights_only" in inspect.signature(trainer.fit).parameters:  # newer ones refuse objects unless told
                fit_arguments.setdefault("weights_only", False)
        trainer.fit(module, **fit_arguments)


def _make_trainer(library: str, classes: Any, settings: Mapping[str, Any], folder: str) -> Any:
    import importlib

    from aktis.train.lightning._library import prepare_trainer
    from aktis.train.torch import get_device

    importlib.import_module("lightning_utilities.core.rank_zero").rank_zero_only.rank = session.get_world_rank()
    arguments = dict(settings.get("_trainer_init_config", {}))
    strategy = {"_strategy_name": "ddp", **settings.get("_strategy_config", {})}
    kinds = {"ddp": "RayDDPStrategy", "fsdp": "RayFSDPStrategy", "deepspeed": "RayDeepSpeedStrategy"}
    arguments["strategy"] = getattr(classes, kinds[strategy.pop("_strategy_name")])(**strategy)
    arguments["devices"] = "auto"
    arguments.setdefault("accelerator", "cpu" if get_device().type == "cpu" else "auto")
    arguments.setdefault("default_root_dir", session.get_trial_dir())
    arguments["plugins"] = [*_as_list(arguments.get("plugins")), classes.RayLightningEnvironment()]
    if session.get_world_rank() > 0:
        arguments["enable_progress_bar"] = arguments["enable_model_summary"] = False
    if arguments.get("enable_checkpointing", True) is False:
        reporter = classes.MetricsCallback()
    else:
        reporter = classes.RayModelCheckpoint(**{"dirpath": folder, **settings.get("_model_checkpoint_config", {})})
    arguments["callbacks"] = [*_as_list(arguments.get("callbacks")), reporter]
    return prepare_trainer(importlib.import_module(library).Trainer(**arguments))


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


class _Batches:
    """The batches of a shard; a new pass with each loop, which Lightning tells its epoch."""

    def __init__(self, shard: Any, arguments: Mapping[str, Any]) -> None:
        self._shard = shard
        self._batches = shard.iter_torch_batches(**arguments)
        self.batch_sampler = SimpleNamespace(sampler=self)  # where Lightning looks for set_epoch

    def set_epoch(self, epoch: int) -> None:
        tell = getattr(self._shard, "set_epoch", None)
        if callable(tell):
            tell(epoch)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._batches)


def _dataloaders(iter_config: Mapping[str, Any]) -> dict[str, Any]:
    from aktis.train.error import DatasetMissingError

    found = {}
    for name, argument in ((TRAIN, "train_dataloaders"), (VALIDATION, "val_dataloaders")):
        with contextlib.suppress(DatasetMissingError):
            found[argument] = _Batches(session.get_dataset_shard(name), iter_config)
    return found


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    """Where ModelCheckpoint writes; what it keeps is reported, and kept by the run."""
    folder = tempfile.mkdtemp(prefix="aktis-lightning-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _latest() -> Iterator[str | None]:
    """The file that the training goes on from; None at first."""
    checkpoint = session.get_checkpoint()
    if checkpoint is None:
        yield None
        return
    with LightningCheckpoint.from_checkpoint(checkpoint).as_directory() as folder:
        yield file_in(folder, repr(checkpoint))
