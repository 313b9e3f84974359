"""Advantage actor-critic: A3C with all gradients at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.rllib.algorithms.a2c.a2c import A2C, A2CConfig
    from aktis.rllib.algorithms.a2c.a2c_tf_policy import A2CTF2Policy
    from aktis.rllib.algorithms.a2c.a2c_torch_policy import A2CTorchPolicy

_NAMES = {
    "A2C": "aktis.rllib.algorithms.a2c.a2c",
    "A2CConfig": "aktis.rllib.algorithms.a2c.a2c",
    "A2CTF2Policy": "aktis.rllib.algorithms.a2c.a2c_tf_policy",
    "A2CTorchPolicy": "aktis.rllib.algorithms.a2c.a2c_torch_policy",
}

__all__ = ["A2C", "A2CConfig", "A2CTF2Policy", "A2CTorchPolicy"]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "A2C_DEFAULT_CONFIG":  # of earlier releases: a new one each time, as scripts change it
        from aktis.rllib.algorithms.a2c.a2c import A2CConfig

        return A2CConfig().to_dict()
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
