"""A train batch on the device, and minibatches of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tree

from aktis.rllib.policy.sample_batch import SampleBatch

# Larger columns are not copied as a whole for each epoch: each minibatch picks its rows.
_LARGE = 8 * 2**20


class TrainData:
    """Columns of a batch as tensors, moved once.

    Units are rows; of recurrent policies they are padded sequences, which stay together.

    Args:
        batch: A batch; cut into sequences already if the policy is recurrent.
        ops: The operations of the framework.
        device: Where to.
        recurrent: Whether `seq_lens` counts.
        only: Names of columns to move; None for all that are numbers.
    """

    def __init__(
        self, batch: SampleBatch, ops: Any, device: Any, recurrent: bool = False, only: set[str] | None = None
    ) -> None:
        self.ops = ops
        self.device = device
        self.like = batch
        self.steps = int(batch.max_seq_len or 1) if recurrent else 1
        self.columns: dict[str, Any] = {}
        for key in batch:
            if key != "infos" and (only is None or key in only) and (recurrent or key != "seq_lens"):
                column = dict.__getitem__(batch, key)
                if isinstance(column, dict | tuple):
                    self.columns[key] = tree.map_structure(lambda leaf: ops.from_numpy(leaf, device=device), column)
                elif getattr(column.dtype, "kind", "") not in "OUS":
                    self.columns[key] = ops.from_numpy(column, device=device)
        self.units = len(dict.__getitem__(batch, "seq_lens")) if recurrent else batch._num_rows()
        #: Real steps, without padding.
        self.count = batch.count

    def standardize(self, keys: tuple[str, ...], floor: float = 1e-4) -> None:
        """Give columns the mean 0 and the deviation 1 over the whole batch (padding is left out)."""
        ops = self.ops
        for key in keys:
            column = self.columns[key]
            if self.steps == 1:
                self.columns[key] = (column - ops.mean(column)) / ops.maximum(ops.std(column), floor)
                continue
            real = ops.cast(ops.reshape(ops.sequence_mask(self.columns["seq_lens"], self.steps), (-1,)), "float32")
            n = ops.sum(real)
            centred = (column - ops.sum(column * real) / n) * real
            self.columns[key] = centred / ops.maximum(ops.sqrt(ops.sum(ops.square(centred)) / n), floor)

    def whole(self) -> SampleBatch:
        """Everything, as a train batch."""
        return self._batch(self.columns)

    def part(self, start: int, end: int) -> SampleBatch:
        """Units `start` to `end`, in their order."""
        return self._batch({key: self._pick(key, column, slice(start, end)) for key, column in self.columns.items()})

    def minibatches(self, size: int, order: np.ndarray | None) -> Iterator[SampleBatch]:
        """Parts of nearly equal size that hold every unit once.

        Args:
            size: At most so many units in one.
            order: A permutation of the units; None leaves them as they are.
        """
        bounds = minibatch_bounds(self.units, size)
        index = None if order is None else self.ops.from_numpy(order, device=self.device)
        small, large = {}, {}
        for key, column in self.columns.items():
            wait = index is not None and sum(_nbytes(leaf) for leaf in tree.flatten(column)) > _LARGE
            if wait:
                large[key] = column
            else:
                small[key] = column if index is None else self._pick(key, column, index)
        for start, end in zip(bounds, bounds[1:], strict=False):
            columns = {key: self._pick(key, column, slice(start, end)) for key, column in small.items()}
            if index is not None:
                columns.update({key: self._pick(key, column, index[start:end]) for key, column in large.items()})
            yield self._batch(columns)

    def _pick(self, key: str, column: Any, index: Any) -> Any:
        if isinstance(column, dict | tuple):
            return tree.map_structure(lambda leaf: self._pick(key, leaf, index), column)
        if self.steps == 1 or key == "seq_lens" or key.startswith("state_in_"):
            return column[index] if isinstance(index, slice) else self.ops.take_rows(column, index)
        if isinstance(index, slice):
            return column[index.start * self.steps : index.stop * self.steps]
        rest = self.ops.shape(column)[1:]
        sequences = self.ops.reshape(column, (self.units, self.steps, *rest))
        return self.ops.reshape(self.ops.take_rows(sequences, index), (-1, *rest))

    def _batch(self, columns: dict[str, Any]) -> SampleBatch:
        return SampleBatch._of(columns.items(), self.like, _is_training=True)


def minibatch_bounds(units: int, size: int) -> list[int]:
    """Where minibatches begin, and the end: as few as can be with at most `size` units, of nearly equal sizes."""
    parts = max(1, -(-units // max(1, size)))
    return [i * units // parts for i in range(parts + 1)]


def _nbytes(tensor: Any) -> int:
    return int(getattr(tensor, "nbytes", 0) or 0)
