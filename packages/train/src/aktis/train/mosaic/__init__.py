"""Nothing is here: asking for a name says what to use instead of MosaicTrainer."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "MosaicTrainer":
        raise ImportError(
            "MosaicTrainer is not in aktis: run Composer's own Trainer in the loop of a TorchTrainer (aktis.train.torch), which "
            "connects the workers for it"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
