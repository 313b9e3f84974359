"""Models that add a term to the policy's loss: that of imitating recorded behaviour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.rllib.examples.models._tf_models import CustomLossModel
    from aktis.rllib.examples.models._torch_models import TorchCustomLossModel

_NAMES = {
    "CustomLossModel": "aktis.rllib.examples.models._tf_models",
    "TorchCustomLossModel": "aktis.rllib.examples.models._torch_models",
}

__all__ = ["CustomLossModel", "TorchCustomLossModel"]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
