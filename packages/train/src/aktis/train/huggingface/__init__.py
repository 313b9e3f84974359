"""Transformers of Hugging Face: train with their Trainer on several workers, and predict with their pipelines.

Nothing of Transformers or torch is imported until a name of this package is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
