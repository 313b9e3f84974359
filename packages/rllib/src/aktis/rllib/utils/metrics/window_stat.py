"""Statistics of the last so many values."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["WindowStat"]


class WindowStat:
    """Statistics of the last ``n`` values.

    Args:
        name: What they are; the keys of :meth:`stats` begin with it.
        n: How many are kept.
    """

    def __init__(self, name: str, n: int) -> None:
        if n < 1:
            raise ValueError(f"a window needs room for at least one value, not {n}")
        self.name = name
        self.window_size = n
        self._items = np.zeros(n)
        self.count = 0

    def push(self, obj: float) -> None:
        """Add a value."""
        self._items[self.count % self.window_size] = obj
        self.count += 1

    @property
    def items(self) -> npt.NDArray[np.float64]:
        """The values, in no particular order."""
        return self._items[: self.count]

    def mean(self) -> float:
        """Their mean; NaN without any."""
        return float(np.mean(self.items)) if self.count else float("nan")

    def std(self) -> float:
        """Their standard deviation; NaN without any."""
        return float(np.std(self.items)) if self.count else float("nan")

    def quantiles(self) -> npt.NDArray[np.float64]:
        """Their 0th, 10th, 50th, 90th and 100th percentile."""
        return np.percentile(self.items, [0, 10, 50, 90, 100]) if self.count else np.full(5, np.nan)

    def stats(self) -> dict[str, Any]:
        """All of it."""
        return {
            f"{self.name}_count": self.count,
            f"{self.name}_mean": self.mean(),
            f"{self.name}_std": self.std(),
            f"{self.name}_quantiles": self.quantiles(),
        }
