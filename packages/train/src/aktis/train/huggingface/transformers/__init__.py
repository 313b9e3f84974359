"""The newer names: what a training loop of a TorchTrainer calls to train with Transformers, and the trainer itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.train.huggingface._reporting import RayTrainReportCallback
    from aktis.train.huggingface._sharding import prepare_trainer
    from aktis.train.huggingface.huggingface_checkpoint import TransformersCheckpoint
    from aktis.train.huggingface.huggingface_predictor import TransformersPredictor
    from aktis.train.huggingface.huggingface_trainer import TransformersTrainer

_NAMES = {
    "RayTrainReportCallback": "aktis.train.huggingface._reporting",
    "TransformersCheckpoint": "aktis.train.huggingface.huggingface_checkpoint",
    "TransformersPredictor": "aktis.train.huggingface.huggingface_predictor",
    "TransformersTrainer": "aktis.train.huggingface.huggingface_trainer",
    "prepare_trainer": "aktis.train.huggingface._sharding",
}

__all__ = [
    "RayTrainReportCallback",
    "TransformersCheckpoint",
    "TransformersPredictor",
    "TransformersTrainer",
    "prepare_trainer",
]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
