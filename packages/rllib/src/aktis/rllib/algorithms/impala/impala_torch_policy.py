"""Impala with PyTorch."""

from __future__ import annotations

from aktis.rllib.algorithms.impala.impala_policy import ImpalaPolicy
from aktis.rllib.policy.torch_policy_v2 import TorchPolicyV2

__all__ = ["ImpalaTorchPolicy"]


class ImpalaTorchPolicy(ImpalaPolicy, TorchPolicyV2):
    """Impala's policy, on PyTorch."""
