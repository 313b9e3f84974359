"""DQN with TensorFlow 2."""

from __future__ import annotations

from typing import Any

from aktis.rllib.algorithms.dqn.dqn_policy import DQNPolicy
from aktis.rllib.policy.eager_tf_policy_v2 import EagerTFPolicyV2

__all__ = ["DQNTF2Policy"]


class DQNTF2Policy(DQNPolicy, EagerTFPolicyV2):  # type: ignore[misc]
    """DQN's policy, on TensorFlow."""

    def model_interface(self) -> type[Any]:
        from aktis.rllib.algorithms.dqn.dqn_tf_model import DQNTFModel

        return DQNTFModel
