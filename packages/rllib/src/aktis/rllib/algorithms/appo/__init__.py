"""APPO: the surrogate of PPO on IMPALA's asynchronous samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.rllib.algorithms._earlier import default_config
from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.rllib.algorithms.appo.appo import APPO, APPOConfig
    from aktis.rllib.algorithms.appo.appo_tf_policy import APPOTF2Policy
    from aktis.rllib.algorithms.appo.appo_torch_policy import APPOTorchPolicy

_NAMES = {
    "APPO": "aktis.rllib.algorithms.appo.appo",
    "APPOConfig": "aktis.rllib.algorithms.appo.appo",
    "APPOTF2Policy": "aktis.rllib.algorithms.appo.appo_tf_policy",
    "APPOTorchPolicy": "aktis.rllib.algorithms.appo.appo_torch_policy",
}

__all__ = ["APPO", "APPOConfig", "APPOTF2Policy", "APPOTorchPolicy"]

__getattr__, __dir__ = lazy_names(
    __name__, _NAMES, made={"DEFAULT_CONFIG": default_config(_NAMES["APPOConfig"], "APPOConfig")}
)
