"""Deep Q-learning in its plain form (Mnih et al. 2015)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.rllib.algorithms.simple_q.simple_q import SimpleQ, SimpleQConfig
    from aktis.rllib.algorithms.simple_q.simple_q_tf_policy import SimpleQTF2Policy
    from aktis.rllib.algorithms.simple_q.simple_q_torch_policy import SimpleQTorchPolicy

_NAMES = {
    "SimpleQ": "aktis.rllib.algorithms.simple_q.simple_q",
    "SimpleQConfig": "aktis.rllib.algorithms.simple_q.simple_q",
    "SimpleQTF2Policy": "aktis.rllib.algorithms.simple_q.simple_q_tf_policy",
    "SimpleQTorchPolicy": "aktis.rllib.algorithms.simple_q.simple_q_torch_policy",
}

__all__ = ["SimpleQ", "SimpleQConfig", "SimpleQTF2Policy", "SimpleQTorchPolicy"]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "DEFAULT_CONFIG":
        return __getattr__("SimpleQConfig")().to_dict()
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
