"""Transformers of Hugging Face: train with their Trainer on several workers, and predict with their pipelines.

Nothing of Transformers or torch is imported until a name of this package is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.train.huggingface.huggingface_checkpoint import HuggingFaceCheckpoint, TransformersCheckpoint
    from aktis.train.huggingface.huggingface_predictor import HuggingFacePredictor, TransformersPredictor
    from aktis.train.huggingface.huggingface_trainer import HuggingFaceTrainer, TransformersTrainer

_NAMES = {
    "AccelerateTrainer": "aktis.train.huggingface.accelerate",
    "HuggingFaceCheckpoint": "aktis.train.huggingface.huggingface_checkpoint",
    "HuggingFacePredictor": "aktis.train.huggingface.huggingface_predictor",
    "HuggingFaceTrainer": "aktis.train.huggingface.huggingface_trainer",
    "TransformersCheckpoint": "aktis.train.huggingface.huggingface_checkpoint",
    "TransformersPredictor": "aktis.train.huggingface.huggingface_predictor",
    "TransformersTrainer": "aktis.train.huggingface.huggingface_trainer",
}

__all__ = [
    "AccelerateTrainer",
    "HuggingFaceCheckpoint",
    "HuggingFacePredictor",
    "HuggingFaceTrainer",
    "TransformersCheckpoint",
    "TransformersPredictor",
    "TransformersTrainer",
]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
