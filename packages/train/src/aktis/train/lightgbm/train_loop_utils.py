"""Models of LightGBM checkpoints, with their preprocessors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aktis.train.lightgbm.lightgbm_checkpoint import LightGBMCheckpoint

if TYPE_CHECKING:
    import lightgbm

    from aktis.air.checkpoint import Checkpoint

__all__ = ["load_checkpoint"]


def load_checkpoint(checkpoint: Checkpoint) -> tuple[lightgbm.Booster, Any]:
    """The model of a checkpoint, and its preprocessor; None where there is none.

    Raises:
        CheckpointTypeError: there is no model of LightGBM in it.
    """
    own = LightGBMCheckpoint.from_checkpoint(checkpoint)
    return own.get_model(), own.get_preprocessor()
