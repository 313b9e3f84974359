"""scikit-learn: one estimator, fitted, cross-validated and scored with all CPUs of its trial; and predictions with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.train.sklearn.sklearn_checkpoint import SklearnCheckpoint, load_checkpoint
    from aktis.train.sklearn.sklearn_predictor import SklearnPredictor
    from aktis.train.sklearn.sklearn_trainer import SklearnTrainer

_NAMES = {
    "SklearnCheckpoint": ".sklearn_checkpoint",
    "SklearnPredictor": ".sklearn_predictor",
    "SklearnTrainer": ".sklearn_trainer",
    "load_checkpoint": ".sklearn_checkpoint",
}

__all__ = ["SklearnCheckpoint", "SklearnPredictor", "SklearnTrainer", "load_checkpoint"]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
