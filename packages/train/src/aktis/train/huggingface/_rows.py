"""Shards of data sets as what the Trainer of Transformers takes: iterable torch datasets of rows, or of batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy
import torch.utils.data

__all__ = ["BatchStream", "RowStream"]

_ROWS_AT_A_TIME = 256


class RowStream(torch.utils.data.IterableDataset):  # type: ignore[misc]
    """The rows of a shard, one dict each: a new pass with each loop.

    Args:
        shard: What ``session.get_dataset_shard`` gave. All its passes have the same number of rows, on all workers.
        world_size: How many workers there are.
    """

    def __init__(self, shard: Any, world_size: int = 1) -> None:
        self.shard = shard
        self.world_size = world_size
        self.is_split = getattr(shard, "world_size", world_size) > 1
        """Whether each worker has rows of its own; else all have the same."""
        self._rows: int | None = None

    def __len__(self) -> int:
        if self._rows is None:
            count = getattr(self.shard, "count", None)
            if count is None:
                raise TypeError("how many rows there are is not known before they are read: set max_steps")
            self._rows = int(count())
        return self._rows

    @property
    def total_rows(self) -> int:
        """Rows of all workers together."""
        return len(self) * (self.world_size if self.is_split else 1)

    @property
    def total_dataset_length(self) -> int:
        """What Accelerate finds the number of surplus rows of the last batch with; there are none in shards."""
        return 0 if self.is_split else len(self)

    def set_epoch(self, epoch: int) -> None:
        """Which epoch the next pass is, where the shard asks for it."""
        tell = getattr(self.shard, "set_epoch", None)
        if callable(tell):
            tell(epoch)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.shard.iter_batches(batch_size=_ROWS_AT_A_TIME, batch_format="numpy"):
            if not isinstance(batch, dict):
                yield from map(_plain, batch)
                continue
            names = list(batch)
            for values in zip(*batch.values()):
                yield {name: _plain(value) for name, value in zip(names, values)}


class BatchStream(torch.utils.data.IterableDataset):  # type: ignore[misc]
    """Batches that are ready, such as those of ``iter_torch_batches``, as they come."""

    is_split = True

    def __init__(self, batches: Any) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def _plain(value: Any) -> Any:
    # Collators of Transformers tell labels of classes from other numbers by the type int, which numpy's integers are not.
    return value.item() if isinstance(value, numpy.generic) else value
