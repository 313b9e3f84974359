"""PPO with TensorFlow 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.rllib.algorithms.ppo.ppo_policy import PPOPolicy

if TYPE_CHECKING:
    from aktis.rllib.policy.eager_tf_policy_v2 import EagerTFPolicyV2
else:
    try:
        from aktis.rllib.policy.eager_tf_policy_v2 import EagerTFPolicyV2
    except ImportError:  # scripts for both frameworks import it, and need not use it
        from aktis.rllib.models.tf._without_tensorflow import stand_in

        EagerTFPolicyV2 = stand_in("EagerTFPolicyV2")

__all__ = ["PPOTF1Policy", "PPOTF2Policy"]


class PPOTF2Policy(PPOPolicy, EagerTFPolicyV2):
    """PPO's policy, on TensorFlow."""


PPOTF1Policy = PPOTF2Policy
"""There are no static graphs: this is the other one."""
