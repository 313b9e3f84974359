"""Which engines a run of the tests is about."""

from __future__ import annotations

import importlib.util

import pytest

ON_RAY = "on ray"
"""What ``--engine ray`` is called in tests: "ray" alone is Ray itself, with ``--api ray``."""


def chosen_engines(config: pytest.Config) -> list[str]:
    """Those of ``--engine``; else every one that is there."""
    if config.getoption("--api") == "ray":
        return ["ray"]
    chosen = config.getoption("--engine")
    if chosen:
        return [ON_RAY if engine == "ray" else engine for engine in dict.fromkeys(chosen)]
    return ["inline", "native"] if importlib.util.find_spec("aktis._native.driver") else ["inline"]
