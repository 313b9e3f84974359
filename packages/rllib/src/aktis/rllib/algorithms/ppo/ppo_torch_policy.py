"""PPO with PyTorch."""

from __future__ import annotations

from aktis.rllib.algorithms.ppo.ppo_policy import PPOPolicy
from aktis.rllib.policy.torch_policy_v2 import TorchPolicyV2

__all__ = ["PPOTorchPolicy"]


class PPOTorchPolicy(PPOPolicy, TorchPolicyV2):
    """PPO's policy, on PyTorch."""
