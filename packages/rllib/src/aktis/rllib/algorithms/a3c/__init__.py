"""Asynchronous advantage actor-critic (Mnih et al. 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.rllib.algorithms.a3c.a3c import A3C, A3CConfig
    from aktis.rllib.algorithms.a3c.a3c_tf_policy import A3CTF2Policy
    from aktis.rllib.algorithms.a3c.a3c_torch_policy import A3CTorchPolicy

_NAMES = {
    "A3C": "aktis.rllib.algorithms.a3c.a3c",
    "A3CConfig": "aktis.rllib.algorithms.a3c.a3c",
    "A3CTF2Policy": "aktis.rllib.algorithms.a3c.a3c_tf_policy",
    "A3CTorchPolicy": "aktis.rllib.algorithms.a3c.a3c_torch_policy",
}

__all__ = ["A3C", "A3CConfig", "A3CTF2Policy", "A3CTorchPolicy"]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "DEFAULT_CONFIG":  # of earlier releases: a new one each time, as scripts change it
        from aktis.rllib.algorithms.a3c.a3c import A3CConfig

        return A3CConfig().to_dict()
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
