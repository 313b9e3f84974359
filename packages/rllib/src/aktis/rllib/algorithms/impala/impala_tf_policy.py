"""Impala with TensorFlow 2."""

from __future__ import annotations

from aktis.rllib.algorithms.impala.impala_policy import ImpalaPolicy
from aktis.rllib.policy.eager_tf_policy_v2 import EagerTFPolicyV2

__all__ = ["ImpalaTF2Policy"]


class ImpalaTF2Policy(ImpalaPolicy, EagerTFPolicyV2):
    """Impala's policy, on TensorFlow."""
