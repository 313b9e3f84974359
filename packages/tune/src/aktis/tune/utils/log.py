"""Levels of verbosity by name."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Verbosity"]


class Verbosity(IntEnum):
    """What ``verbose=`` means."""

    V0_MINIMAL = 0
    V1_EXPERIMENT = 1
    V2_TRIAL_NORM = 2
    V3_TRIAL_DETAILS = 3
