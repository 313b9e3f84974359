"""Models that never choose an action that the observation forbids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.rllib.examples.models._tf_models import ActionMaskModel
    from aktis.rllib.examples.models._torch_models import TorchActionMaskModel

_NAMES = {
    "ActionMaskModel": "aktis.rllib.examples.models._tf_models",
    "TorchActionMaskModel": "aktis.rllib.examples.models._torch_models",
}

__all__ = ["ActionMaskModel", "TorchActionMaskModel"]


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
