"""Proximal policy optimisation (Schulman et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.rllib.algorithms.ppo.ppo import PPO, PPOConfig
    from aktis.rllib.algorithms.ppo.ppo_tf_policy import PPOTF2Policy
    from aktis.rllib.algorithms.ppo.ppo_torch_policy import PPOTorchPolicy

_NAMES = {
    "PPO": "aktis.rllib.algorithms.ppo.ppo",
    "PPOConfig": "aktis.rllib.algorithms.ppo.ppo",
    "PPOTF2Policy": "aktis.rllib.algorithms.ppo.ppo_tf_policy",
    "PPOTorchPolicy": "aktis.rllib.algorithms.ppo.ppo_torch_policy",
}

__all__ = ["PPO", "PPOConfig", "PPOTF2Policy", "PPOTorchPolicy"]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "DEFAULT_CONFIG":  # of earlier releases: a new one each time, as scripts change it
        from aktis.rllib.algorithms.ppo.ppo import PPOConfig

        return PPOConfig().to_dict()
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
