"""SimpleQ with TensorFlow 2."""

from __future__ import annotations

from aktis.rllib.algorithms.simple_q.simple_q_policy import SimpleQPolicy
from aktis.rllib.policy.eager_tf_policy_v2 import EagerTFPolicyV2

__all__ = ["SimpleQTF2Policy"]


class SimpleQTF2Policy(SimpleQPolicy, EagerTFPolicyV2):
    """SimpleQ's policy, on TensorFlow."""
