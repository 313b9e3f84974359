"""Evolution strategies (Salimans et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    import importlib

    if name == "DEFAULT_CONFIG":
        return __getattr__("ESConfig")().to_dict()
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
