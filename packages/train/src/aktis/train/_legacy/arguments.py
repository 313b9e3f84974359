"""Arguments of the older ``Trainer``: checked, and made into what it works with."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aktis.train import _settings
from aktis.train.backend import BackendConfig
from aktis.train.checkpoint import CheckpointStrategy

if TYPE_CHECKING:
    from aktis.train.callbacks import TrainingCallback

__all__ = [
    "check_count",
    "checked_backend",
    "checked_callbacks",
    "checked_strategy",
    "finish_callbacks",
    "wants_details",
]

logger = logging.getLogger(__name__)


def checked_backend(backend: Any) -> BackendConfig:
    """A backend's configuration, from its name or itself."""
    if isinstance(backend, BackendConfig):
        return backend
    if not isinstance(backend, str):
        raise TypeError(f"backend must be 'torch', 'tensorflow' or an instance of BackendConfig, not {backend!r}")
    if backend == "torch":
        from aktis.train.torch import TorchConfig

        return TorchConfig()
    if backend == "tensorflow":
        from aktis.train.tensorflow import TensorflowConfig

        return TensorflowConfig()
    if backend == "horovod":
        raise ValueError(
            "backend='horovod' is not supported: Horovod has had no release since June 2023. Use backend='torch' "
            "(torch.nn.parallel.DistributedDataParallel) or backend='tensorflow' (tf.distribute.MultiWorkerMirroredStrategy)"
        )
    raise ValueError(f"backend must be 'torch', 'tensorflow' or an instance of BackendConfig, not {backend!r}")


def checked_strategy(value: Any) -> CheckpointStrategy | None:
    """A strategy, which may be given as a CheckpointConfig."""
    from aktis.air.config import CheckpointConfig

    if value is None or isinstance(value, CheckpointStrategy):
        return value
    if isinstance(value, CheckpointConfig):  # its newer name
        return CheckpointStrategy(value.num_to_keep, value.checkpoint_score_attribute, value.checkpoint_score_order)
    raise TypeError(f"checkpoint_strategy must be a CheckpointStrategy, not {value!r}")


def check_count(name: str, value: Any, least: int, rule: str) -> None:
    """Raise unless ``value`` is a whole number of at least ``least``, as ``rule`` says in words."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be {rule}, not {value!r}")


def checked_callbacks(callbacks: Any) -> list[TrainingCallback]:
    """The callbacks as a list."""
    from aktis.train.callbacks import TrainingCallback

    found = list(callbacks or ())
    for callback in found:
        if not isinstance(callback, TrainingCallback):
            raise TypeError(f"callbacks must be instances of TrainingCallback, not {callback!r}")
    return found


def finish_callbacks(callbacks: Sequence[TrainingCallback], failed: bool) -> None:
    """Tell all that the run is over. The first error is raised, unless the run failed anyway."""
    first: Exception | None = None
    for callback in callbacks:
        try:
            callback.finish_training(error=failed)
        except Exception as error:
            if failed or first is not None:
                logger.error("finish_training of %s failed", type(callback).__name__, exc_info=error)
            first = first or error
    if first is not None and not failed:
        raise first


def wants_details() -> bool:
    """Whether the environment asks for the detailed keys in results."""
    return bool(_settings.DETAILED_METRICS.read())
