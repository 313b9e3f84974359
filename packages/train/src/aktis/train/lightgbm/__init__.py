"""LightGBM on several workers, and predictions with its models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.train.lightgbm.config import LightGBMConfig, get_network_params
    from aktis.train.lightgbm.lightgbm_checkpoint import LightGBMCheckpoint
    from aktis.train.lightgbm.lightgbm_predictor import LightGBMPredictor
    from aktis.train.lightgbm.lightgbm_trainer import LightGBMTrainer
    from aktis.train.lightgbm.report_callback import RayTrainReportCallback
    from aktis.train.lightgbm.train_loop_utils import load_checkpoint

_NAMES = {
    "LightGBMCheckpoint": "lightgbm_checkpoint",
    "LightGBMConfig": "config",
    "LightGBMPredictor": "lightgbm_predictor",
    "LightGBMTrainer": "lightgbm_trainer",
    "RayTrainReportCallback": "report_callback",
    "get_network_params": "config",
    "load_checkpoint": "train_loop_utils",
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


def __getattr__(name: str) -> Any:
    import importlib

    module = _NAMES.get(name)
    if module is None:
        raise AttributeError(f"module 'aktis.train.lightgbm' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"aktis.train.lightgbm.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
