"""Soft actor-critic (Haarnoja et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.rllib.algorithms._earlier import default_config
from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.rllib.algorithms.sac.sac import SAC, SACConfig
    from aktis.rllib.algorithms.sac.sac_tf_policy import SACTF2Policy
    from aktis.rllib.algorithms.sac.sac_torch_policy import SACTorchPolicy

_NAMES = {
    "SAC": "aktis.rllib.algorithms.sac.sac",
    "SACConfig": "aktis.rllib.algorithms.sac.sac",
    "SACTF2Policy": "aktis.rllib.algorithms.sac.sac_tf_policy",
    "SACTorchPolicy": "aktis.rllib.algorithms.sac.sac_torch_policy",
}

__all__ = ["SAC", "SACConfig", "SACTF2Policy", "SACTorchPolicy"]

__getattr__, __dir__ = lazy_names(
    __name__, _NAMES, made={"DEFAULT_CONFIG": default_config(_NAMES["SACConfig"], "SACConfig")}
)
