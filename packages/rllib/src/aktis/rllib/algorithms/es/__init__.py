"""Evolution strategies (Salimans et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.rllib.algorithms._earlier import default_config
from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.rllib.algorithms.es.es import ES, ESConfig
    from aktis.rllib.algorithms.es.es_policy import ESTF2Policy, ESTorchPolicy

_NAMES = {
    "ES": "aktis.rllib.algorithms.es.es",
    "ESConfig": "aktis.rllib.algorithms.es.es",
    "ESTF2Policy": "aktis.rllib.algorithms.es.es_policy",
    "ESTorchPolicy": "aktis.rllib.algorithms.es.es_policy",
}

__all__ = ["ES", "ESConfig", "ESTF2Policy", "ESTorchPolicy"]

__getattr__, __dir__ = lazy_names(
    __name__, _NAMES, made={"DEFAULT_CONFIG": default_config(_NAMES["ESConfig"], "ESConfig")}
)
