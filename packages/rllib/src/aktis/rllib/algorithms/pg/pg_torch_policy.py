"""PG with PyTorch."""

from __future__ import annotations

from aktis.rllib.algorithms.pg.pg_policy import PGPolicy
from aktis.rllib.policy.torch_policy_v2 import TorchPolicyV2

__all__ = ["PGTorchPolicy"]


class PGTorchPolicy(PGPolicy, TorchPolicyV2):
    """PG's policy, on PyTorch."""
