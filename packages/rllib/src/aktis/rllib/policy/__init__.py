"""Policies, and the batches of experience that they make and learn from."""

from __future__ import annotations

from aktis.util.lazy import lazy_names

_NAMES = {
    "Policy": "aktis.rllib.policy.policy",
    "PolicySpec": "aktis.rllib.policy.policy",
    "TFPolicy": "aktis.rllib.policy.tf_policy",
    "TorchPolicy": "aktis.rllib.policy.torch_policy",
    "build_policy_class": "aktis.rllib.policy.policy_template",
    "build_torch_policy": "aktis.rllib.policy.torch_policy_template",
}

__all__ = sorted(_NAMES)

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
