"""Policy gradient: REINFORCE (Williams 1992)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.rllib.algorithms._earlier import default_config
from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.rllib.algorithms.pg.pg import PG, PGConfig
    from aktis.rllib.algorithms.pg.pg_tf_policy import PGTF2Policy
    from aktis.rllib.algorithms.pg.pg_torch_policy import PGTorchPolicy

_NAMES = {
    "PG": "aktis.rllib.algorithms.pg.pg",
    "PGConfig": "aktis.rllib.algorithms.pg.pg",
    "PGTF2Policy": "aktis.rllib.algorithms.pg.pg_tf_policy",
    "PGTorchPolicy": "aktis.rllib.algorithms.pg.pg_torch_policy",
}

__all__ = ["PG", "PGConfig", "PGTF2Policy", "PGTorchPolicy"]

__getattr__, __dir__ = lazy_names(
    __name__, _NAMES, made={"DEFAULT_CONFIG": default_config(_NAMES["PGConfig"], "PGConfig")}
)
