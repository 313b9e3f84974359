"""MARWIL (and BC) with PyTorch."""

from __future__ import annotations

from aktis.rllib.algorithms.marwil.marwil_policy import MARWILPolicy
from aktis.rllib.policy.torch_policy_v2 import TorchPolicyV2

__all__ = ["MARWILTorchPolicy"]


class MARWILTorchPolicy(MARWILPolicy, TorchPolicyV2):
    """MARWIL's policy, on PyTorch."""
