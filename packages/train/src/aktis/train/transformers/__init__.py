"""Another name of :mod:`aktis.train.huggingface.transformers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.train.huggingface.transformers import (
        RayTrainReportCallback,
        TransformersCheckpoint,
        TransformersPredictor,
        TransformersTrainer,
        prepare_trainer,
    )

__all__ = [
    "RayTrainReportCallback",
    "TransformersCheckpoint",
    "TransformersPredictor",
    "TransformersTrainer",
    "prepare_trainer",
]

__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, "aktis.train.huggingface.transformers"))
