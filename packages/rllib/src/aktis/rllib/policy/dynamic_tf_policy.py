"""The name of policies that were graphs of TensorFlow 1: they are eager ones now."""

from __future__ import annotations

from aktis.rllib.policy.tf_policy import TFPolicy

__all__ = ["DynamicTFPolicy"]

DynamicTFPolicy = TFPolicy
