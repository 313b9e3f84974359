"""A3C with PyTorch."""

from __future__ import annotations

from aktis.rllib.algorithms.a3c.a3c_policy import A3CPolicy
from aktis.rllib.policy.torch_policy_v2 import TorchPolicyV2

__all__ = ["A3CTorchPolicy"]


class A3CTorchPolicy(A3CPolicy, TorchPolicyV2):
    """A3C's policy, on PyTorch."""
