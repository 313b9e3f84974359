"""Behaviour cloning."""

from __future__ import annotations

from typing import Any

_NAMES = {
    "BC": "aktis.rllib.algorithms.bc.bc",
    "BCConfig": "aktis.rllib.algorithms.bc.bc",
}

__all__ = ["BC", "BCConfig"]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "BC_DEFAULT_CONFIG":  # of scripts written for earlier releases: a new dictionary each time
        return __getattr__("BCConfig")().to_dict()
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
