"""Models that add a term to the policy's loss: that of imitating recorded behaviour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.rllib.examples.models._tf_models import CustomLossModel
    from aktis.rllib.examples.models._torch_models import TorchCustomLossModel

_NAMES = {
    "CustomLossModel": "aktis.rllib.examples.models._tf_models",
    "TorchCustomLossModel": "aktis.rllib.examples.models._torch_models",
}

__all__ = ["CustomLossModel", "TorchCustomLossModel"]


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
