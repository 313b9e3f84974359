"""Proximal policy optimisation (Schulman et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.rllib.algorithms._earlier import default_config
from aktis.util.lazy import lazy_names

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

__getattr__, __dir__ = lazy_names(
    __name__, _NAMES, made={"DEFAULT_CONFIG": default_config(_NAMES["PPOConfig"], "PPOConfig")}
)
