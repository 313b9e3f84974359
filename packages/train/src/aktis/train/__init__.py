"""Training on several workers: trainers for the known frameworks, what a training loop calls, and predictions with the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.train.__about__ import __version__
from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, SyncConfig
    from aktis.air.dataset_config import DatasetConfig
    from aktis.air.result import Result
    from aktis.train.backend import Backend, BackendConfig
    from aktis.train.base_trainer import BaseTrainer
    from aktis.train.callbacks import TrainingCallback
    from aktis.train.checkpoint import CheckpointStrategy
    from aktis.train.constants import TRAIN_DATASET_KEY
    from aktis.train.context import (
        TrainContext,
        get_checkpoint,
        get_context,
        get_dataset_shard,
        load_checkpoint,
        local_rank,
        report,
        save_checkpoint,
        world_rank,
        world_size,
    )
    from aktis.train.data_config import DataConfig
    from aktis.train.data_parallel_trainer import DataParallelTrainer
    from aktis.train.error import SessionMisuseError, TrainError, TrainingFailedError
    from aktis.train.trainer import Trainer, TrainingIterator

__worker_modules__ = ("aktis.train._preload",)
"""What aktis.init() has workers import before they are forked, if this package is imported by then."""

# Where each name is defined: imported when it is first used, so that `import aktis.train` costs next to nothing.
_NAMES = {
    "Backend": "aktis.train.backend",
    "BackendConfig": "aktis.train.backend",
    "BaseTrainer": "aktis.train.base_trainer",
    "Checkpoint": "aktis.air.checkpoint",
    "CheckpointConfig": "aktis.air.config",
    "CheckpointStrategy": "aktis.train.checkpoint",
    "DataConfig": "aktis.train.data_config",
    "DataParallelTrainer": "aktis.train.data_parallel_trainer",
    "DatasetConfig": "aktis.air.dataset_config",
    "FailureConfig": "aktis.air.config",
    "Result": "aktis.air.result",
    "RunConfig": "aktis.air.config",
    "ScalingConfig": "aktis.air.config",
    "SessionMisuseError": "aktis.train.error",
    "SyncConfig": "aktis.air.config",
    "TRAIN_DATASET_KEY": "aktis.train.constants",
    "TrainContext": "aktis.train.context",
    "TrainError": "aktis.train.error",
    "Trainer": "aktis.train.trainer",
    "TrainingCallback": "aktis.train.callbacks",
    "TrainingFailedError": "aktis.train.error",
    "TrainingIterator": "aktis.train.trainer",
    "get_checkpoint": "aktis.train.context",
    "get_context": "aktis.train.context",
    "get_dataset_shard": "aktis.train.context",
    "load_checkpoint": "aktis.train.context",
    "local_rank": "aktis.train.context",
    "report": "aktis.train.context",
    "save_checkpoint": "aktis.train.context",
    "world_rank": "aktis.train.context",
    "world_size": "aktis.train.context",
}

__all__ = [
    "Backend",
    "BackendConfig",
    "BaseTrainer",
    "Checkpoint",
    "CheckpointConfig",
    "CheckpointStrategy",
    "DataConfig",
    "DataParallelTrainer",
    "DatasetConfig",
    "FailureConfig",
    "Result",
    "RunConfig",
    "ScalingConfig",
    "SessionMisuseError",
    "SyncConfig",
    "TRAIN_DATASET_KEY",
    "TrainContext",
    "TrainError",
    "Trainer",
    "TrainingCallback",
    "TrainingFailedError",
    "TrainingIterator",
    "__version__",
    "get_checkpoint",
    "get_context",
    "get_dataset_shard",
    "load_checkpoint",
    "local_rank",
    "report",
    "save_checkpoint",
    "world_rank",
    "world_size",
]

__getattr__, __dir__ = lazy_names(__name__, _NAMES, submodules=True)
