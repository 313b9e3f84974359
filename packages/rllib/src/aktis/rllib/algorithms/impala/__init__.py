"""IMPALA: importance weighted actor-learner architectures (Espeholt et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.rllib.algorithms._earlier import default_config
from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.rllib.algorithms.impala.impala import Impala, ImpalaConfig
    from aktis.rllib.algorithms.impala.impala_tf_policy import ImpalaTF2Policy
    from aktis.rllib.algorithms.impala.impala_torch_policy import ImpalaTorchPolicy

_NAMES = {
    "Impala": "aktis.rllib.algorithms.impala.impala",
    "ImpalaConfig": "aktis.rllib.algorithms.impala.impala",
    "ImpalaTF2Policy": "aktis.rllib.algorithms.impala.impala_tf_policy",
    "ImpalaTorchPolicy": "aktis.rllib.algorithms.impala.impala_torch_policy",
}

__all__ = ["Impala", "ImpalaConfig", "ImpalaTF2Policy", "ImpalaTorchPolicy"]

__getattr__, __dir__ = lazy_names(
    __name__, _NAMES, made={"DEFAULT_CONFIG": default_config(_NAMES["ImpalaConfig"], "ImpalaConfig")}
)
