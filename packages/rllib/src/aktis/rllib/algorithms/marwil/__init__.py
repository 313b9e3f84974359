"""Monotonic advantage re-weighted imitation learning (Wang et al. 2018)."""

from __future__ import annotations

from typing import Any

_NAMES = {
    "MARWIL": "aktis.rllib.algorithms.marwil.marwil",
    "MARWILConfig": "aktis.rllib.algorithms.marwil.marwil",
    "MARWILTF2Policy": "aktis.rllib.algorithms.marwil.marwil_tf_policy",
    "MARWILTorchPolicy": "aktis.rllib.algorithms.marwil.marwil_torch_policy",
}

__all__ = ["MARWIL", "MARWILConfig", "MARWILTF2Policy", "MARWILTorchPolicy"]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "DEFAULT_CONFIG":  # of scripts written for earlier releases: a new dictionary each time
        return __getattr__("MARWILConfig")().to_dict()
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
