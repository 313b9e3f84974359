"""scikit-learn: one estimator, fitted, cross-validated and scored with all CPUs of its trial; and predictions with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.train.sklearn.sklearn_checkpoint import SklearnCheckpoint, load_checkpoint
    from aktis.train.sklearn.sklearn_predictor import SklearnPredictor
    from aktis.train.sklearn.sklearn_trainer import SklearnTrainer

_NAMES = {
    "SklearnCheckpoint": "sklearn_checkpoint",
    "SklearnPredictor": "sklearn_predictor",
    "SklearnTrainer": "sklearn_trainer",
    "load_checkpoint": "sklearn_checkpoint",
}

__all__ = ["SklearnCheckpoint", "SklearnPredictor", "SklearnTrainer", "load_checkpoint"]


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _NAMES:
        raise AttributeError(f"module 'aktis.train.sklearn' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"aktis.train.sklearn.{_NAMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
