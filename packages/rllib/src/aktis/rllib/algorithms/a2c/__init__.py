"""Advantage actor-critic: A3C with all gradients at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.rllib.algorithms._earlier import default_config
from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.rllib.algorithms.a2c.a2c import A2C, A2CConfig
    from aktis.rllib.algorithms.a2c.a2c_tf_policy import A2CTF2Policy
    from aktis.rllib.algorithms.a2c.a2c_torch_policy import A2CTorchPolicy

_NAMES = {
    "A2C": "aktis.rllib.algorithms.a2c.a2c",
    "A2CConfig": "aktis.rllib.algorithms.a2c.a2c",
    "A2CTF2Policy": "aktis.rllib.algorithms.a2c.a2c_tf_policy",
    "A2CTorchPolicy": "aktis.rllib.algorithms.a2c.a2c_torch_policy",
}

__all__ = ["A2C", "A2CConfig", "A2CTF2Policy", "A2CTorchPolicy"]

__getattr__, __dir__ = lazy_names(
    __name__, _NAMES, made={"A2C_DEFAULT_CONFIG": default_config(_NAMES["A2CConfig"], "A2CConfig")}
)
