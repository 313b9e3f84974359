"""Asynchronous advantage actor-critic (Mnih et al. 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.rllib.algorithms._earlier import default_config
from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.rllib.algorithms.a3c.a3c import A3C, A3CConfig
    from aktis.rllib.algorithms.a3c.a3c_tf_policy import A3CTF2Policy
    from aktis.rllib.algorithms.a3c.a3c_torch_policy import A3CTorchPolicy

_NAMES = {
    "A3C": "aktis.rllib.algorithms.a3c.a3c",
    "A3CConfig": "aktis.rllib.algorithms.a3c.a3c",
    "A3CTF2Policy": "aktis.rllib.algorithms.a3c.a3c_tf_policy",
    "A3CTorchPolicy": "aktis.rllib.algorithms.a3c.a3c_torch_policy",
}

__all__ = ["A3C", "A3CConfig", "A3CTF2Policy", "A3CTorchPolicy"]

__getattr__, __dir__ = lazy_names(
    __name__, _NAMES, made={"DEFAULT_CONFIG": default_config(_NAMES["A3CConfig"], "A3CConfig")}
)
