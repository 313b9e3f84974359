"""Reinforcement learning with the algorithms of aktis.rllib, as a trainer beside the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.train.rl.rl_checkpoint import RLCheckpoint
    from aktis.train.rl.rl_predictor import RLPredictor
    from aktis.train.rl.rl_trainer import RLTrainer

_NAMES = {
    "RLCheckpoint": "aktis.train.rl.rl_checkpoint",
    "RLPredictor": "aktis.train.rl.rl_predictor",
    "RLTrainer": "aktis.train.rl.rl_trainer",
}

__all__ = ["RLCheckpoint", "RLPredictor", "RLTrainer"]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
