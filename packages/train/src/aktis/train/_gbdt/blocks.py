"""A data set as references to its blocks, from which each rank takes its rows.

Boosting needs every row, and the same rows each round: so a data set is neither streamed nor cut to equal lengths. It is
executed once; a rank reads the blocks that its rows are in, where they lie in shared memory, and nothing else. Which rows those
are follows from the number of ranks alone, so that a run that is started anew with other workers has them all, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow

    from aktis import ObjectRef

__all__ = ["Blocks", "bounds"]

_SCANNED = 1024  # rows looked at at a time for the end of a group


def bounds(total: int, parts: int) -> list[int]:
    """Where the parts of ``total`` rows begin and end: ``parts`` + 1 numbers; lengths differ by one at most."""
    return [total * part // parts for part in range(parts + 1)]


@dataclass(frozen=True)
class Blocks:
    """The blocks of a data set, in order.

    Attributes:
        refs: References to Arrow tables.
        rows: How many rows each has.
    """

    refs: tuple[ObjectRef[Any], ...]
    rows: tuple[int, ...]

    @classmethod
    def of(cls, dataset: Any) -> Blocks:
        """Execute a data set."""
        bundles = [(ref, metadata.num_rows) for ref, metadata in dataset.iter_internal_ref_bundles()]
        kept = [(ref, rows) for ref, rows in bundles if rows]
        return cls(tuple(ref for ref, _ in kept), tuple(int(rows) for _, rows in kept))

    @property
    def total(self) -> int:
        """How many rows there are."""
        return sum(self.rows)

    def read(self, start: int, stop: int, columns: Sequence[str] | None = None) -> list[pyarrow.Table]:
        """The rows from ``start`` to before ``stop``, as pieces of the blocks, which are not copied."""
        import aktis

        wanted: list[tuple[Any, int, int]] = []
        begin = 0
        for ref, rows in zip(self.refs, self.rows):
            low, high = max(start, begin), min(stop, begin + rows)
            if low < high:
                wanted.append((ref, low - begin, high - low))
            begin += rows
        tables = aktis.get([ref for ref, _, _ in wanted])
        pieces = [table.slice(offset, length) for table, (_, offset, length) in zip(tables, wanted)]
        return pieces if columns is None else [piece.select(list(columns)) for piece in pieces]

    def bounds_between_groups(self, parts: int, column: str) -> list[int]:
        """Like :func:`bounds`, but moved on to where the value of ``column`` changes: no group of equal ones is torn apart."""
        found = [self._group_end(bound, column) for bound in bounds(self.total, parts)]
        return [0, *found[1:]]

    def _group_end(self, bound: int, column: str) -> int:
        total = self.total
        if bound <= 0 or bound >= total:
            return min(max(bound, 0), total)
        value = self.read(bound - 1, bound, [column])[0].column(0)[0].as_py()
        while bound < total:
            for piece in self.read(bound, min(bound + _SCANNED, total), [column]):
                for other in piece.column(0).to_pylist():
                    if other != value:
                        return bound
                    bound += 1
        return total
