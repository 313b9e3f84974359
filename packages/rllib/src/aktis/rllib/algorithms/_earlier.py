"""Names that algorithms had in earlier releases."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def default_config(module: str, name: str) -> Callable[[], dict[str, Any]]:
    """What makes ``DEFAULT_CONFIG``: the defaults of a configuration, a new dictionary each time, as scripts change it."""

    def make() -> dict[str, Any]:
        config: dict[str, Any] = getattr(importlib.import_module(module), name)().to_dict()
        return config

    return make
