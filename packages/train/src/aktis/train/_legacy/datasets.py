"""Data sets of the older ``Trainer``: each worker gets a Dataset, or a DatasetPipeline, of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["make_shards"]

Shards = Callable[[Sequence[Any]], list[dict[str, Any]]]


def make_shards(dataset: Any, num_workers: int) -> Shards | None:
    """What gives each worker its part of the data, the same after a restart.

    Args:
        dataset: A Dataset or a DatasetPipeline, or several by name; None: nothing.
        num_workers: How many parts. All have as many rows; up to ``num_workers - 1`` are left over.

    Raises:
        TypeError: anything else.
    """
    if dataset is None:
        return None
    named = dict(dataset) if isinstance(dataset, Mapping) else {"train": dataset}
    for name, value in named.items():
        if not callable(getattr(value, "split", None)) or isinstance(value, (str, bytes)):
            raise TypeError(
                f"dataset must be a Dataset, a DatasetPipeline, or a dict of them, but {name!r} is {type(value).__name__}"
            )
    parts: list[dict[str, Any]] = []

    def shards(_workers: Sequence[Any]) -> list[dict[str, Any]]:
        if not parts:
            split = {name: value.split(num_workers, equal=True) for name, value in named.items()}
            parts.extend({name: pieces[rank] for name, pieces in split.items()} for rank in range(num_workers))
        return parts

    return shards
