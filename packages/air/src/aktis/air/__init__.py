"""The foundation that Aktis libraries share: checkpoints, sessions, configurations, results, callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.air import callbacks, checkpoint, config, exceptions, result, session
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.config import CheckpointConfig, DatasetConfig, FailureConfig, RunConfig, ScalingConfig, SyncConfig
    from aktis.air.placement import AcquiredResources, PlacementGroupFactory, ResourceRequest
    from aktis.air.predictor import DataBatchType, Predictor
    from aktis.air.result import Result

__all__ = [
    "AcquiredResources",
    "Checkpoint",
    "CheckpointConfig",
    "DataBatchType",
    "DatasetConfig",
    "FailureConfig",
    "PlacementGroupFactory",
    "Predictor",
    "ResourceRequest",
    "Result",
    "RunConfig",
    "ScalingConfig",
    "SyncConfig",
    "callbacks",
    "checkpoint",
    "config",
    "exceptions",
    "result",
    "session",
]

_SUBMODULES = frozenset(
    {
        "callbacks",
        "checkpoint",
        "config",
        "constants",
        "display",
        "exceptions",
        "html",
        "integrations",
        "placement",
        "predictor",
        "result",
        "retention",
        "session",
        "session_host",
        "storage",
    }
)
_HOMES = {
    "AcquiredResources": ".placement",
    "Checkpoint": ".checkpoint",
    "CheckpointConfig": ".config",
    "DataBatchType": ".predictor",
    "DatasetConfig": ".config",
    "FailureConfig": ".config",
    "PlacementGroupFactory": ".placement",
    "Predictor": ".predictor",
    "ResourceRequest": ".placement",
    "Result": ".result",
    "RunConfig": ".config",
    "ScalingConfig": ".config",
    "SyncConfig": ".config",
}

# Imported when they are first used, so that `import aktis.air` costs nothing.
__getattr__, __dir__ = lazy_names(__name__, _HOMES, submodules=_SUBMODULES)
