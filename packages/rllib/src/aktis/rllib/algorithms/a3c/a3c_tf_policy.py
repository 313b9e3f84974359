"""A3C with TensorFlow 2."""

from __future__ import annotations

from aktis.rllib.algorithms.a3c.a3c_policy import A3CPolicy
from aktis.rllib.policy.eager_tf_policy_v2 import EagerTFPolicyV2

__all__ = ["A3CTF2Policy"]


class A3CTF2Policy(A3CPolicy, EagerTFPolicyV2):
    """A3C's policy, on TensorFlow."""
