"""XGBoost on several workers, and predictions with its models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.train.xgboost.config import XGBoostConfig
    from aktis.train.xgboost.report_callback import RayTrainReportCallback
    from aktis.train.xgboost.train_loop_utils import load_checkpoint
    from aktis.train.xgboost.xgboost_checkpoint import XGBoostCheckpoint
    from aktis.train.xgboost.xgboost_predictor import XGBoostPredictor
    from aktis.train.xgboost.xgboost_trainer import XGBoostTrainer

_NAMES = {
    "RayTrainReportCallback": ".report_callback",
    "XGBoostCheckpoint": ".xgboost_checkpoint",
    "XGBoostConfig": ".config",
    "XGBoostPredictor": ".xgboost_predictor",
    "XGBoostTrainer": ".xgboost_trainer",
    "load_checkpoint": ".train_loop_utils",
}

__all__ = [
    "RayTrainReportCallback",
    "XGBoostCheckpoint",
    "XGBoostConfig",
    "XGBoostPredictor",
    "XGBoostTrainer",
    "load_checkpoint",
]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
