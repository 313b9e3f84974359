"""Values of a `Repeated` space in a batch."""

from __future__ import annotations

from typing import Any

import tree

Tensor = Any


class RepeatedValues:
    """Lists of up to ``max_len`` items, one for each row of a batch, padded with zeros.

    Attributes:
        values: The items in the structure of the child space: tensors [B, max_len, ...].
        lengths: [B] how many items of each row count.
        max_len: The most that a row can have.
    """

    def __init__(self, values: Any, lengths: Any, max_len: int) -> None:
        self.values = values
        self.lengths = lengths
        self.max_len = max_len
        self._rows: list[list[Any]] | None = None

    def unbatch_all(self) -> list[list[Any]]:
        """For each row the list of its items, without padding. Lengths are looked at: it does not work within a traced graph."""
        if self._rows is None:
            self._rows = [
                [_pick(self.values, row, item) for item in range(int(self.lengths[row]))]
                for row in range(len(self.lengths))
            ]
        return self._rows

    def unbatch_repeat_dim(self) -> list[Any]:
        """For each position of the list the items of all rows, [B, ...], padding included."""
        return [_map(lambda leaf, item=item: leaf[:, item], self.values) for item in range(self.max_len)]

    def __repr__(self) -> str:
        return f"RepeatedValues(values={self.values!r}, lengths={self.lengths!r}, max_len={self.max_len})"


def _pick(values: Any, row: int, item: int) -> Any:
    return _map(lambda leaf: leaf[row, item], values)


def _map(function: Any, values: Any) -> Any:
    """``function`` of every tensor; inside of nested RepeatedValues of their values and their lengths."""

    def of_leaf(leaf: Any) -> Any:
        if isinstance(leaf, RepeatedValues):
            return RepeatedValues(_map(function, leaf.values), function(leaf.lengths), leaf.max_len)
        return function(leaf)

    return tree.map_structure(of_leaf, values)
