"""Means of what updates tell: gathered as tensors, brought to NumPy once."""

from __future__ import annotations

from typing import Any

import numpy as np


class Averages:
    """Statistics of many updates."""

    def __init__(self) -> None:
        self._tensors: dict[str, list[Any]] = {}

    def add(self, stats: dict[str, Any]) -> None:
        """Add the statistics of one update: numbers and tensors."""
        tensors = self._tensors
        for key, value in stats.items():
            if key in tensors:
                tensors[key].append(value)
            else:
                tensors[key] = [value]

    def __len__(self) -> int:
        return max((len(values) for values in self._tensors.values()), default=0)

    def means(self, ops: Any, last: int = 0) -> dict[str, Any]:
        """The mean of each statistic: a number (an array where it is one in each update); of what is no number, the last.

        Args:
            ops: The operations of the framework.
            last: Only of so many updates at the end; 0 of all.
        """
        kept = {key: values[-last:] for key, values in self._tensors.items()}
        scalars = {key: values for key, values in kept.items() if all(_is_scalar(ops, v) for v in values)}
        flat = [v for values in scalars.values() for v in values if ops.is_tensor(v)]
        numbers = iter(ops.as_numpy(ops.stack([ops.cast(v, "float32") for v in flat])).tolist() if flat else [])
        out: dict[str, Any] = {}
        for key, values in scalars.items():
            found = [next(numbers) if ops.is_tensor(v) else float(v) for v in values]
            # What stays the same stays exactly the same.
            out[key] = found[0] if found.count(found[0]) == len(found) else float(np.mean(found))
        for key, values in kept.items():
            if key not in scalars:
                out[key] = _mean([ops.as_numpy(v) for v in values])
        return {key: out[key] for key in kept}


def _is_scalar(ops: Any, value: Any) -> bool:
    if ops.is_tensor(value):
        return len(value.shape) == 0
    return isinstance(value, int | float | np.number) or (isinstance(value, np.ndarray) and value.shape == ())


def _mean(values: list[Any]) -> Any:
    try:
        return np.mean(np.stack(values), axis=0)
    except (TypeError, ValueError):  # of different shapes, or no numbers
        return values[-1]
