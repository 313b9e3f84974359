"""The name of policies that were graphs of TensorFlow 1: they are eager ones now."""

from __future__ import annotations

from aktis.rllib.policy.eager_tf_policy_v2 import EagerTFPolicyV2

__all__ = ["DynamicTFPolicyV2"]

DynamicTFPolicyV2 = EagerTFPolicyV2
