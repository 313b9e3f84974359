"""SAC with PyTorch."""

from __future__ import annotations

from typing import Any

from aktis.rllib.algorithms.sac.sac_policy import SACPolicy
from aktis.rllib.policy.policy_template import with_updates
from aktis.rllib.policy.torch_policy_v2 import TorchPolicyV2

__all__ = ["SACTorchPolicy"]


class SACTorchPolicy(SACPolicy, TorchPolicyV2):  # type: ignore[misc]
    """SAC's policy, on PyTorch."""

    with_updates = classmethod(with_updates)

    def model_class(self) -> type[Any]:
        from aktis.rllib.algorithms.sac.sac_torch_model import SACTorchModel

        return SACTorchModel
