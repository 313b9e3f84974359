"""SAC with TensorFlow 2."""

from __future__ import annotations

from typing import Any

from aktis.rllib.algorithms.sac.sac_policy import SACPolicy
from aktis.rllib.policy.eager_tf_policy_v2 import EagerTFPolicyV2

__all__ = ["SACTF2Policy"]


class SACTF2Policy(SACPolicy, EagerTFPolicyV2):  # type: ignore[misc]
    """SAC's policy, on TensorFlow."""

    def model_class(self) -> type[Any]:
        from aktis.rllib.algorithms.sac.sac_tf_model import SACTFModel

        return SACTFModel
