"""Models of several policies that have a layer in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.rllib.examples.models._tf_models import SharedWeightsModel, TF2SharedWeightsModel
    from aktis.rllib.examples.models._torch_models import TorchSharedWeightsModel

_NAMES = {
    "SharedWeightsModel": "aktis.rllib.examples.models._tf_models",
    "TF2SharedWeightsModel": "aktis.rllib.examples.models._tf_models",
    "TorchSharedWeightsModel": "aktis.rllib.examples.models._torch_models",
}

__all__ = ["SharedWeightsModel", "TF2SharedWeightsModel", "TorchSharedWeightsModel"]


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
