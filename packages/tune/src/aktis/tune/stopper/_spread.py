"""How far numbers are apart."""

from __future__ import annotations

import math
from collections.abc import Collection

__all__ = ["standard_deviation"]


def standard_deviation(values: Collection[float]) -> float:
    """The standard deviation of these numbers as a whole population (as ``numpy.std``); nan when one is not finite."""
    if not all(map(math.isfinite, values)):
        return math.nan
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
