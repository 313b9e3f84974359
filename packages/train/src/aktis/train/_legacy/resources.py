"""What each worker gets when the user does not say."""

from __future__ import annotations

import math

__all__ = ["SMALLEST_SHARE", "cpus_per_worker"]

SMALLEST_SHARE = 0.0001
"""The smallest part of a resource that can be asked for (the core counts in ten thousandths)."""


def cpus_per_worker(num_workers: int, cpus: float) -> float:
    """One CPU for each worker; where there are fewer, equal parts of them, rounded down so that all fit; 0 without any."""
    if cpus >= num_workers:
        return 1.0
    return math.floor(cpus / num_workers / SMALLEST_SHARE) * SMALLEST_SHARE
