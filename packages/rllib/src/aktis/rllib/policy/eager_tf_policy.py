"""The older name of policies in TensorFlow 2."""

from __future__ import annotations

from aktis.rllib.policy.tf_policy import TFPolicy

__all__ = ["EagerTFPolicy"]

EagerTFPolicy = TFPolicy
