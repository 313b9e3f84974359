"""XGBoost on several workers, and predictions with its models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.train.xgboost.config import XGBoostConfig
    from aktis.train.xgboost.report_callback import RayTrainReportCallback
    from aktis.train.xgboost.train_loop_utils import load_checkpoint
    from aktis.train.xgboost.xgboost_checkpoint import XGBoostCheckpoint
    from aktis.train.xgboost.xgboost_predictor import XGBoostPredictor
    from aktis.train.xgboost.xgboost_trainer import XGBoostTrainer

_NAMES = {
    "RayTrainReportCallback": "report_callback",
    "XGBoostCheckpoint": "xgboost_checkpoint",
    "XGBoostConfig": "config",
    "XGBoostPredictor": "xgboost_predictor",
    "XGBoostTrainer": "xgboost_trainer",
    "load_checkpoint": "train_loop_utils",
}

__all__ = [
    "RayTrainReportCallback",
    "XGBoostCheckpoint",
    "XGBoostConfig",
    "XGBoostPredictor",
    "XGBoostTrainer",
    "load_checkpoint",
]


def __getattr__(name: str) -> Any:
    import importlib

    module = _NAMES.get(name)
    if module is None:
        raise AttributeError(f"module 'aktis.train.xgboost' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"aktis.train.xgboost.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
