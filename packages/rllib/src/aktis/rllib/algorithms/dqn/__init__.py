"""Deep Q-networks with their improvements (Rainbow, Hessel et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.rllib.algorithms.dqn.dqn import DQN, DQNConfig
    from aktis.rllib.algorithms.dqn.dqn_tf_policy import DQNTF2Policy
    from aktis.rllib.algorithms.dqn.dqn_torch_policy import DQNTorchPolicy

_NAMES = {
    "DQN": "aktis.rllib.algorithms.dqn.dqn",
    "DQNConfig": "aktis.rllib.algorithms.dqn.dqn",
    "DQNTF2Policy": "aktis.rllib.algorithms.dqn.dqn_tf_policy",
    "DQNTorchPolicy": "aktis.rllib.algorithms.dqn.dqn_torch_policy",
}

__all__ = ["DQN", "DQNConfig", "DQNTF2Policy", "DQNTorchPolicy"]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "DEFAULT_CONFIG":
        return __getattr__("DQNConfig")().to_dict()
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
