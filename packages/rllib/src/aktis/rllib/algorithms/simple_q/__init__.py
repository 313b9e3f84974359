"""Deep Q-learning in its plain form (Mnih et al. 2015)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.rllib.algorithms._earlier import default_config
from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.rllib.algorithms.simple_q.simple_q import SimpleQ, SimpleQConfig
    from aktis.rllib.algorithms.simple_q.simple_q_tf_policy import SimpleQTF2Policy
    from aktis.rllib.algorithms.simple_q.simple_q_torch_policy import SimpleQTorchPolicy

_NAMES = {
    "SimpleQ": "aktis.rllib.algorithms.simple_q.simple_q",
    "SimpleQConfig": "aktis.rllib.algorithms.simple_q.simple_q",
    "SimpleQTF2Policy": "aktis.rllib.algorithms.simple_q.simple_q_tf_policy",
    "SimpleQTorchPolicy": "aktis.rllib.algorithms.simple_q.simple_q_torch_policy",
}

__all__ = ["SimpleQ", "SimpleQConfig", "SimpleQTF2Policy", "SimpleQTorchPolicy"]

__getattr__, __dir__ = lazy_names(
    __name__, _NAMES, made={"DEFAULT_CONFIG": default_config(_NAMES["SimpleQConfig"], "SimpleQConfig")}
)
