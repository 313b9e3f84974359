"""PPO with TensorFlow 2."""

from __future__ import annotations

from aktis.rllib.algorithms.ppo.ppo_policy import PPOPolicy
from aktis.rllib.policy.eager_tf_policy_v2 import EagerTFPolicyV2

__all__ = ["PPOTF2Policy"]


class PPOTF2Policy(PPOPolicy, EagerTFPolicyV2):
    """PPO's policy, on TensorFlow."""
