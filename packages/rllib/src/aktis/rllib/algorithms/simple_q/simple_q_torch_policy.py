"""SimpleQ with PyTorch."""

from __future__ import annotations

from aktis.rllib.algorithms.simple_q.simple_q_policy import SimpleQPolicy
from aktis.rllib.policy.torch_policy_v2 import TorchPolicyV2

__all__ = ["SimpleQTorchPolicy"]


class SimpleQTorchPolicy(SimpleQPolicy, TorchPolicyV2):
    """SimpleQ's policy, on PyTorch."""
