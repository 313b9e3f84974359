"""Models of XGBoost checkpoints, with their preprocessors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aktis.train.xgboost.xgboost_checkpoint import XGBoostCheckpoint

if TYPE_CHECKING:
    import xgboost

    from aktis.air.checkpoint import Checkpoint

__all__ = ["load_checkpoint"]


def load_checkpoint(checkpoint: Checkpoint) -> tuple[xgboost.Booster, Any]:
    """The model of a checkpoint, and its preprocessor; None where there is none.

    Raises:
        CheckpointTypeError: there is no model of XGBoost in it.
    """
    own = XGBoostCheckpoint.from_checkpoint(checkpoint)
    return own.get_model(), own.get_preprocessor()
