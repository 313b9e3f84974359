"""Which Lightning it is: the library has two names, and what belongs to one does not work with the other."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import lightning.pytorch

__all__ = ["classes", "classes_of", "library", "library_of", "prepare_trainer"]

_CLASSES = {
    "lightning.pytorch": "aktis.train.lightning._for_lightning",
    "pytorch_lightning": "aktis.train.lightning._for_pytorch_lightning",
}


def library() -> str:
    """The name of the one that is loaded; without any, of the one that is installed.

    Raises:
        ImportError: none is.
    """
    for name in _CLASSES:
        if name in sys.modules:
            return name
    for name in _CLASSES:
        try:
            importlib.import_module(name)
            return name
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != name.partition(".")[0]:
                raise
    raise ImportError('aktis.train.lightning needs Lightning: pip install "aktis-train[lightning]"')


def library_of(cls: type, base: str = "LightningModule") -> str | None:
    """The name of the Lightning that a class belongs to; None if it is no ``base`` of either."""
    for name in _CLASSES:
        module = sys.modules.get(name)  # a class of it exists, so it is loaded
        if module is not None and issubclass(cls, getattr(module, base)):
            return name
    return None


def classes_of(name: str) -> Any:
    """The module with our classes for one of the libraries."""
    return importlib.import_module(_CLASSES[name])


def classes() -> Any:
    """Our classes for the library that is loaded."""
    return classes_of(library())


def prepare_trainer(trainer: lightning.pytorch.Trainer) -> lightning.pytorch.Trainer:
    """Check that a Lightning Trainer is set up to run on the workers of a TorchTrainer.

    Args:
        trainer: The trainer.

    Returns:
        The trainer, as it is.

    Raises:
        TypeError: it is no Lightning Trainer.
        RuntimeError: its strategy or its environment would start processes of its own, or take each worker for the only one.
    """
    from aktis.air import session
    from aktis.train.lightning._mixins import RankedStrategy, SessionEnvironment

    if library_of(type(trainer), "Trainer") is None:
        raise TypeError(f"prepare_trainer needs a Trainer of Lightning, not {type(trainer).__name__}")
    if session.get_world_size() > 1 and not isinstance(trainer.strategy, RankedStrategy):
        raise RuntimeError(
            f"the strategy {type(trainer.strategy).__name__} does not know the workers of this run: use "
            "Trainer(strategy=RayDDPStrategy()), or RayFSDPStrategy or RayDeepSpeedStrategy, of aktis.train.lightning"
        )
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if environment is not None and not isinstance(environment, SessionEnvironment):
        raise RuntimeError(
            f"the environment {type(environment).__name__} does not know the workers of this run: use "
            "Trainer(plugins=[RayLightningEnvironment()]) of aktis.train.lightning"
        )
    return trainer
