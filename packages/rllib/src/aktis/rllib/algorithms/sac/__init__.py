"""Soft actor-critic (Haarnoja et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.rllib.algorithms.sac.sac import SAC, SACConfig
    from aktis.rllib.algorithms.sac.sac_tf_policy import SACTF2Policy
    from aktis.rllib.algorithms.sac.sac_torch_policy import SACTorchPolicy

_NAMES = {
    "SAC": "aktis.rllib.algorithms.sac.sac",
    "SACConfig": "aktis.rllib.algorithms.sac.sac",
    "SACTF2Policy": "aktis.rllib.algorithms.sac.sac_tf_policy",
    "SACTorchPolicy": "aktis.rllib.algorithms.sac.sac_torch_policy",
}

__all__ = ["SAC", "SACConfig", "SACTF2Policy", "SACTorchPolicy"]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "DEFAULT_CONFIG":
        return __getattr__("SACConfig")().to_dict()
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
