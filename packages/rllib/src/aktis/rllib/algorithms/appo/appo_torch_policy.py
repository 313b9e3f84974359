"""APPO with PyTorch."""

from __future__ import annotations

from aktis.rllib.algorithms.appo.appo_policy import APPOPolicy
from aktis.rllib.policy.torch_policy_v2 import TorchPolicyV2

__all__ = ["APPOTorchPolicy"]


class APPOTorchPolicy(APPOPolicy, TorchPolicyV2):
    """APPO's policy, on PyTorch."""
