"""Behaviour cloning."""

from __future__ import annotations

from aktis.rllib.algorithms._earlier import default_config
from aktis.util.lazy import lazy_names

_NAMES = {
    "BC": "aktis.rllib.algorithms.bc.bc",
    "BCConfig": "aktis.rllib.algorithms.bc.bc",
}

__all__ = ["BC", "BCConfig"]

__getattr__, __dir__ = lazy_names(
    __name__, _NAMES, made={"BC_DEFAULT_CONFIG": default_config(_NAMES["BCConfig"], "BCConfig")}
)
