"""What LightGBM prints in workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aktis.train._gbdt.libraries import import_library

__all__ = ["VERBOSITY_NAMES", "set_log_level"]

VERBOSITY_NAMES = ("verbosity", "verbose")  # all names of that parameter


def set_log_level(params: Mapping[str, Any]) -> None:
    """Have LightGBM know, in this thread, how much it may print.

    It reads that with the first matrix, and connects to the other workers, of which it prints a lot, before.
    """
    import numpy

    level = {name: params[name] for name in VERBOSITY_NAMES if name in params}
    import_library("lightgbm").Dataset(numpy.zeros((1, 1)), params={**level, "feature_pre_filter": False}).construct()
