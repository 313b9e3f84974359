"""Monotonic advantage re-weighted imitation learning (Wang et al. 2018)."""

from __future__ import annotations

from aktis.rllib.algorithms._earlier import default_config
from aktis.util.lazy import lazy_names

_NAMES = {
    "MARWIL": "aktis.rllib.algorithms.marwil.marwil",
    "MARWILConfig": "aktis.rllib.algorithms.marwil.marwil",
    "MARWILTF2Policy": "aktis.rllib.algorithms.marwil.marwil_tf_policy",
    "MARWILTorchPolicy": "aktis.rllib.algorithms.marwil.marwil_torch_policy",
}

__all__ = ["MARWIL", "MARWILConfig", "MARWILTF2Policy", "MARWILTorchPolicy"]

__getattr__, __dir__ = lazy_names(
    __name__, _NAMES, made={"DEFAULT_CONFIG": default_config(_NAMES["MARWILConfig"], "MARWILConfig")}
)
