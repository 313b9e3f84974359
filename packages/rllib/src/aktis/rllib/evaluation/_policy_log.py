"""What was computed with one policy, row by row, until it becomes a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from aktis.rllib.policy import _columns

__all__ = ["PolicyLog"]

Array = np.ndarray[Any, np.dtype[Any]]


class PolicyLog:
    """Blocks of rows, in the order in which actions were computed.

    One call of a policy for B agents adds a block of B rows at once. Agents remember the numbers of their rows only; nothing is
    copied for each agent until a batch is made.
    """

    def __init__(self) -> None:
        self._blocks: list[dict[str, Array]] = []
        self.rows = 0

    def append(self, columns: dict[str, Array], count: int) -> int:
        """Add `count` rows; gives the number of the first."""
        first = self.rows
        self._blocks.append(columns)
        self.rows += count
        return first

    def replace(self, row: int, values: dict[str, Any]) -> None:
        """Change single values of a row of the last block."""
        block = self._blocks[-1]
        first = self.rows - _columns.rows_of(block["obs"])
        for name, value in values.items():
            if name in block:
                column = block[name] = _columns.copied(block[name])
                _columns.map_column(lambda leaf, part: leaf.__setitem__(row - first, part), column, value)

    def take(self, rows: Sequence[int] | Array) -> dict[str, Array]:
        """The columns of these rows, in this order."""
        index = np.asarray(rows, np.int64)
        if not self._blocks:
            return {}
        names = [name for name in self._blocks[0] if all(name in block for block in self._blocks)]
        if len(self._blocks) == 1:
            return {name: _columns.take(self._blocks[0][name], index) for name in names}
        return {name: _columns.take(_columns.concat([block[name] for block in self._blocks]), index) for name in names}

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but these; what was `rows[i]` is row i now."""
        kept = self.take(rows) if len(rows) else {}
        self._blocks = [kept] if kept else []
        self.rows = len(rows)
