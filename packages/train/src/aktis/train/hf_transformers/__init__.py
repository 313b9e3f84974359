"""Another name of :mod:`aktis.train.huggingface.transformers`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aktis.train.huggingface import transformers as _transformers

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


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_transformers, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
