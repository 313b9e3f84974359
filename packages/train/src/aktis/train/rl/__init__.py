"""Reinforcement learning with the algorithms of aktis.rllib, as a trainer beside the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
