"""APPO with TensorFlow 2."""

from __future__ import annotations

from aktis.rllib.algorithms.appo.appo_policy import APPOPolicy
from aktis.rllib.policy.eager_tf_policy_v2 import EagerTFPolicyV2

__all__ = ["APPOTF2Policy"]


class APPOTF2Policy(APPOPolicy, EagerTFPolicyV2):
    """APPO's policy, on TensorFlow."""
