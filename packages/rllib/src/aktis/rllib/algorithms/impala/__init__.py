"""IMPALA: importance weighted actor-learner architectures (Espeholt et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    import importlib

    if name == "DEFAULT_CONFIG":  # of earlier releases: a new one each time, as scripts change it
        from aktis.rllib.algorithms.impala.impala import ImpalaConfig

        return ImpalaConfig().to_dict()
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
