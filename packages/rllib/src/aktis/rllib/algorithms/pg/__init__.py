"""Policy gradient: REINFORCE (Williams 1992)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    import importlib

    if name == "DEFAULT_CONFIG":  # of earlier releases: a new one each time, as scripts change it
        from aktis.rllib.algorithms.pg.pg import PGConfig

        return PGConfig().to_dict()
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
