"""APPO: the surrogate of PPO on IMPALA's asynchronous samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.rllib.algorithms.appo.appo import APPO, APPOConfig
    from aktis.rllib.algorithms.appo.appo_tf_policy import APPOTF2Policy
    from aktis.rllib.algorithms.appo.appo_torch_policy import APPOTorchPolicy

_NAMES = {
    "APPO": "aktis.rllib.algorithms.appo.appo",
    "APPOConfig": "aktis.rllib.algorithms.appo.appo",
    "APPOTF2Policy": "aktis.rllib.algorithms.appo.appo_tf_policy",
    "APPOTorchPolicy": "aktis.rllib.algorithms.appo.appo_torch_policy",
}

__all__ = ["APPO", "APPOConfig", "APPOTF2Policy", "APPOTorchPolicy"]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "DEFAULT_CONFIG":  # of earlier releases: a new one each time, as scripts change it
        from aktis.rllib.algorithms.appo.appo import APPOConfig

        return APPOConfig().to_dict()
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
