"""A2C with TensorFlow 2."""

from __future__ import annotations

from aktis.rllib.algorithms.a2c.a2c_policy import A2CPolicy
from aktis.rllib.policy.eager_tf_policy_v2 import EagerTFPolicyV2

__all__ = ["A2CTF2Policy"]


class A2CTF2Policy(A2CPolicy, EagerTFPolicyV2):
    """A2C's policy, on TensorFlow."""
