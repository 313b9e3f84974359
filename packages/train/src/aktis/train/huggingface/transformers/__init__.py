"""The newer names: what a training loop of a TorchTrainer calls to train with Transformers, and the trainer itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
