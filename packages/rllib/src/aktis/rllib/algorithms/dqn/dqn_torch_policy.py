"""DQN with PyTorch."""

from __future__ import annotations

from typing import Any

from aktis.rllib.algorithms.dqn.dqn_policy import DQNPolicy
from aktis.rllib.policy.policy_template import with_updates
from aktis.rllib.policy.torch_policy_v2 import TorchPolicyV2

__all__ = ["DQNTorchPolicy"]


class DQNTorchPolicy(DQNPolicy, TorchPolicyV2):  # type: ignore[misc]
    """DQN's policy, on PyTorch."""

    with_updates = classmethod(with_updates)

    def model_interface(self) -> type[Any]:
        from aktis.rllib.algorithms.dqn.dqn_torch_model import DQNTorchModel

        return DQNTorchModel
