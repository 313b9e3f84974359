"""LightGBM on several workers, and predictions with its models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.train.lightgbm.config import LightGBMConfig, get_network_params
    from aktis.train.lightgbm.lightgbm_checkpoint import LightGBMCheckpoint
    from aktis.train.lightgbm.lightgbm_predictor import LightGBMPredictor
    from aktis.train.lightgbm.lightgbm_trainer import LightGBMTrainer
    from aktis.train.lightgbm.report_callback import RayTrainReportCallback
    from aktis.train.lightgbm.train_loop_utils import load_checkpoint

_NAMES = {
    "LightGBMCheckpoint": ".lightgbm_checkpoint",
    "LightGBMConfig": ".config",
    "LightGBMPredictor": ".lightgbm_predictor",
    "LightGBMTrainer": ".lightgbm_trainer",
    "RayTrainReportCallback": ".report_callback",
    "get_network_params": ".config",
    "load_checkpoint": ".train_loop_utils",
}

__all__ = [
    "LightGBMCheckpoint",
    "LightGBMConfig",
    "LightGBMPredictor",
    "LightGBMTrainer",
    "RayTrainReportCallback",
    "get_network_params",
    "load_checkpoint",
]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
