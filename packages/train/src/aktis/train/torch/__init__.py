"""PyTorch on several workers: the trainer, what a training loop calls, checkpoints and predictors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.train.torch._worker_modules import worker_modules as __worker_modules__
from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.train.torch.config import TorchConfig
    from aktis.train.torch.torch_checkpoint import TorchCheckpoint
    from aktis.train.torch.torch_detection_predictor import TorchDetectionPredictor
    from aktis.train.torch.torch_predictor import TorchPredictor
    from aktis.train.torch.torch_trainer import TorchTrainer
    from aktis.train.torch.train_loop_utils import (
        TorchWorkerProfiler,
        accelerate,
        backward,
        enable_reproducibility,
        get_device,
        get_devices,
        prepare_data_loader,
        prepare_model,
        prepare_optimizer,
    )

# Where each name is defined: imported when it is first used, so that this package costs nothing without torch.
_NAMES = {
    "TorchCheckpoint": ".torch_checkpoint",
    "TorchConfig": ".config",
    "TorchDetectionPredictor": ".torch_detection_predictor",
    "TorchPredictor": ".torch_predictor",
    "TorchTrainer": ".torch_trainer",
    "TorchWorkerProfiler": ".train_loop_utils",
    "accelerate": ".train_loop_utils",
    "backward": ".train_loop_utils",
    "enable_reproducibility": ".train_loop_utils",
    "get_device": ".train_loop_utils",
    "get_devices": ".train_loop_utils",
    "prepare_data_loader": ".train_loop_utils",
    "prepare_model": ".train_loop_utils",
    "prepare_optimizer": ".train_loop_utils",
}

__all__ = [
    "TorchCheckpoint",
    "TorchConfig",
    "TorchDetectionPredictor",
    "TorchPredictor",
    "TorchTrainer",
    "TorchWorkerProfiler",
    "accelerate",
    "backward",
    "enable_reproducibility",
    "get_device",
    "get_devices",
    "prepare_data_loader",
    "prepare_model",
    "prepare_optimizer",
]

__getattr__, __dir__ = lazy_names(__name__, _NAMES, submodules=True)
