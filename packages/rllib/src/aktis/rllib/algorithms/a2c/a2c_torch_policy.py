"""A2C with PyTorch."""

from __future__ import annotations

from aktis.rllib.algorithms.a2c.a2c_policy import A2CPolicy
from aktis.rllib.policy.torch_policy_v2 import TorchPolicyV2

__all__ = ["A2CTorchPolicy"]


class A2CTorchPolicy(A2CPolicy, TorchPolicyV2):
    """A2C's policy, on PyTorch."""
