"""TensorFlow: a training loop on several workers with MultiWorkerMirroredStrategy, and predictions with its models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.train.tensorflow.config import TensorflowConfig
    from aktis.train.tensorflow.keras import ReportCheckpointCallback
    from aktis.train.tensorflow.tensorflow_checkpoint import TensorflowCheckpoint, load_checkpoint
    from aktis.train.tensorflow.tensorflow_predictor import TensorflowPredictor
    from aktis.train.tensorflow.tensorflow_trainer import TensorflowTrainer
    from aktis.train.tensorflow.train_loop_utils import prepare_dataset_shard

_NAMES = {
    "ReportCheckpointCallback": "keras",
    "TensorflowCheckpoint": "tensorflow_checkpoint",
    "TensorflowConfig": "config",
    "TensorflowPredictor": "tensorflow_predictor",
    "TensorflowTrainer": "tensorflow_trainer",
    "load_checkpoint": "tensorflow_checkpoint",
    "prepare_dataset_shard": "train_loop_utils",
}

__all__ = [
    "ReportCheckpointCallback",
    "TensorflowCheckpoint",
    "TensorflowConfig",
    "TensorflowPredictor",
    "TensorflowTrainer",
    "load_checkpoint",
    "prepare_dataset_shard",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name in ("keras", "config"):
        return importlib.import_module(f"aktis.train.tensorflow.{name}")
    if name not in _NAMES:
        raise AttributeError(f"module 'aktis.train.tensorflow' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"aktis.train.tensorflow.{_NAMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
