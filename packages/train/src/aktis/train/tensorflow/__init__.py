"""TensorFlow: a training loop on several workers with MultiWorkerMirroredStrategy, and predictions with its models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.train.tensorflow.config import TensorflowConfig
    from aktis.train.tensorflow.keras import ReportCheckpointCallback
    from aktis.train.tensorflow.tensorflow_checkpoint import TensorflowCheckpoint, load_checkpoint
    from aktis.train.tensorflow.tensorflow_predictor import TensorflowPredictor
    from aktis.train.tensorflow.tensorflow_trainer import TensorflowTrainer
    from aktis.train.tensorflow.train_loop_utils import prepare_dataset_shard

_NAMES = {
    "ReportCheckpointCallback": ".keras",
    "TensorflowCheckpoint": ".tensorflow_checkpoint",
    "TensorflowConfig": ".config",
    "TensorflowPredictor": ".tensorflow_predictor",
    "TensorflowTrainer": ".tensorflow_trainer",
    "load_checkpoint": ".tensorflow_checkpoint",
    "prepare_dataset_shard": ".train_loop_utils",
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

__getattr__, __dir__ = lazy_names(__name__, _NAMES, submodules=("config", "keras"))
