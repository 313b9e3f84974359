"""Submodules of ``aktis`` as attributes, imported when they are first used."""

from __future__ import annotations

import importlib
from typing import Any

# Parts that come as distributions of their own.
DISTRIBUTIONS = {name: f"aktis-{name}" for name in ("air", "data", "rllib", "serve", "train", "tune")}
_SUBMODULES = frozenset(
    {
        "actor",
        "compat",
        "cross_language",
        "dag",
        "exceptions",
        "experimental",
        "internal",
        "job_config",
        "runtime_env",
        "util",
    }
)


def attribute(name: str) -> Any:
    """``__getattr__`` of the package."""
    if name not in _SUBMODULES and name not in DISTRIBUTIONS:
        raise AttributeError(f"module 'aktis' has no attribute {name!r}")
    full = f"aktis.{name}"
    try:
        return importlib.import_module(full)
    except ModuleNotFoundError as error:
        if error.name != full:
            raise
        if name in DISTRIBUTIONS:
            raise ModuleNotFoundError(
                f"{full} is not installed: pip install {DISTRIBUTIONS[name]}", name=full
            ) from None
        raise AttributeError(f"module 'aktis' has no attribute {name!r}") from None
