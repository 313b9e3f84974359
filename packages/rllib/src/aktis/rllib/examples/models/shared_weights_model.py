"""Models of several policies that have a layer in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.rllib.examples.models._tf_models import SharedWeightsModel, TF2SharedWeightsModel
    from aktis.rllib.examples.models._torch_models import TorchSharedWeightsModel

_NAMES = {
    "SharedWeightsModel": "aktis.rllib.examples.models._tf_models",
    "TF2SharedWeightsModel": "aktis.rllib.examples.models._tf_models",
    "TorchSharedWeightsModel": "aktis.rllib.examples.models._torch_models",
}

__all__ = ["SharedWeightsModel", "TF2SharedWeightsModel", "TorchSharedWeightsModel"]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
