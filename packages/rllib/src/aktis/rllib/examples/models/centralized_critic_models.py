"""Value functions that see what the other agent sees and does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.rllib.examples.models._torch_structures import (
        TorchCentralizedCriticModel,
        YetAnotherTorchCentralizedCriticModel,
    )

_NAMES = {
    "TorchCentralizedCriticModel": "aktis.rllib.examples.models._torch_structures",
    "YetAnotherTorchCentralizedCriticModel": "aktis.rllib.examples.models._torch_structures",
}

__all__ = ["TorchCentralizedCriticModel", "YetAnotherTorchCentralizedCriticModel"]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
