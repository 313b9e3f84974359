"""MARWIL (and BC) with TensorFlow 2."""

from __future__ import annotations

from aktis.rllib.algorithms.marwil.marwil_policy import MARWILPolicy
from aktis.rllib.policy.eager_tf_policy_v2 import EagerTFPolicyV2

__all__ = ["MARWILTF2Policy"]


class MARWILTF2Policy(MARWILPolicy, EagerTFPolicyV2):
    """MARWIL's policy, on TensorFlow 2."""
