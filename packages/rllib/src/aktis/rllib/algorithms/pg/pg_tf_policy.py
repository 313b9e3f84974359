"""PG with TensorFlow 2."""

from __future__ import annotations

from aktis.rllib.algorithms.pg.pg_policy import PGPolicy
from aktis.rllib.policy.eager_tf_policy_v2 import EagerTFPolicyV2

__all__ = ["PGTF2Policy"]


class PGTF2Policy(PGPolicy, EagerTFPolicyV2):
    """PG's policy, on TensorFlow."""
