"""Blocks from the outside: what datasources and tools may do with a piece of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from aktis.data import _blocks
from aktis.data._blocks.types import Block, BlockMetadata
from aktis.data._blocks.types import BlockStats as BlockExecStats

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["Block", "BlockAccessor", "BlockBuilder", "BlockExecStats", "BlockMetadata"]


class BlockAccessor:
    """One face for everything that can be a block: Arrow tables, pandas frames, lists of rows, dicts of arrays.

    Get one with :meth:`for_block`.
    """

    def __init__(self, block: Block) -> None:
        self._block = block

    @staticmethod
    def for_block(block: Any) -> BlockAccessor:
        """The accessor of a block, or of anything that can become one.

        Raises:
            BatchTypeError: it cannot.
        """
        return BlockAccessor(_blocks.from_batch(block))

    @staticmethod
    def batch_to_block(batch: Any) -> Block:
        """The block of what a function gave: a list, table, frame, array, or dict of arrays."""
        return _blocks.from_batch(batch)

    @staticmethod
    def builder() -> BlockBuilder:
        """Something that makes a block of rows and of other blocks."""
        return BlockBuilder()

    def num_rows(self) -> int:
        """How many rows there are."""
        return int(self._block.num_rows)

    def size_bytes(self) -> int:
        """Bytes in memory of these rows."""
        return _blocks.size_bytes(self._block)

    def schema(self) -> pa.Schema:
        """Names and Arrow types of the columns."""
        return self._block.schema

    def column_names(self) -> list[str]:
        """Names of the columns; none if the rows are Python objects or arrays."""
        names = self._block.column_names
        return [] if names == [_blocks.ROWS] or _blocks.kind_of(self._block) != "table" else list(names)

    def get_metadata(
        self, input_files: list[str] | None = None, exec_stats: BlockExecStats | None = None
    ) -> BlockMetadata:
        """What a driver needs to know about the block."""
        return _blocks.metadata_of(self._block, stats=exec_stats, files=input_files)

    def iter_rows(self) -> Iterator[Any]:
        """Each row: a dict, or for rows that are Python objects or arrays the row itself."""
        for rows in _blocks.row_slices(self._block):
            yield from rows

    def slice(self, start: int, end: int, copy: bool = False) -> Block:
        """Rows ``start`` to ``end``; with ``copy`` in memory of their own."""
        piece = _blocks.slice_rows(self._block, start, end)
        return _blocks.compact(piece) if copy else piece

    def take(self, indices: Sequence[int]) -> Block:
        """The rows at these positions, in this order."""
        return _blocks.take_rows(self._block, indices)

    def select(self, columns: Sequence[str]) -> Block:
        """These columns, in this order."""
        return self._block.select(list(columns)) if columns else _blocks.rows_only(self._block.num_rows)

    def random_shuffle(self, random_seed: int | None = None) -> Block:
        """The rows in random order."""
        import numpy as np

        return _blocks.take_rows(self._block, np.random.default_rng(random_seed).permutation(self._block.num_rows))

    def zip(self, other: Any) -> Block:
        """The columns of both, side by side. Names that are there already get ``_1``, ``_2`` ... appended."""
        right = _blocks.from_batch(other)
        if right.num_rows != self._block.num_rows:
            raise ValueError(
                f"blocks can be zipped if they have equally many rows, but these have {self._block.num_rows} and {right.num_rows}"
            )
        result = self._block
        for name, column in zip(right.column_names, right.columns):
            new, number = name, 0
            while new in result.column_names:
                number += 1
                new = f"{name}_{number}"
            result = result.append_column(new, column)
        return result

    def to_block(self) -> Block:
        """The block as an Arrow table."""
        return self._block

    def to_arrow(self) -> pa.Table:
        """The block as an Arrow table."""
        return self._block

    def to_pandas(self) -> pd.DataFrame:
        """The block as a pandas frame that may be changed."""
        return _blocks.to_batch(self._block, "pandas")

    def to_numpy(
        self, columns: str | Sequence[str] | None = None
    ) -> np.ndarray[Any, Any] | dict[str, np.ndarray[Any, Any]]:
        """Arrays that may be changed: of one column if ``columns`` is a name, else a dict of them.

        Without names a block whose rows are arrays, or Python objects, gives one array.
        """
        if isinstance(columns, str):
            return _blocks.column_to_numpy(self._block.column(columns), copy=True)
        if columns is not None:
            return {name: _blocks.column_to_numpy(self._block.column(name), copy=True) for name in columns}
        if _blocks.kind_of(self._block) != "table":
            return _blocks.column_to_numpy(self._block.column(0), copy=True)
        arrays: dict[str, np.ndarray[Any, Any]] = _blocks.to_batch(self._block, "numpy")
        return arrays

    def to_default(self) -> Any:
        """The form that functions get by default: a list, an array, or a pandas frame."""
        return _blocks.to_batch(self._block, "default")

    def to_batch_format(self, batch_format: str | None) -> Any:
        """The block in this form: "default", "native", "pandas", "pyarrow", "numpy" or "polars"."""
        return _blocks.to_batch(self._block, batch_format)


class BlockBuilder:
    """Collects rows and blocks, and makes one block of them."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._rows: list[Any] = []

    def add(self, row: Any) -> None:
        """Add one row."""
        self._rows.append(row)

    def add_block(self, block: Any) -> None:
        """Add all rows of a block (or of what can become one)."""
        self._seal()
        self._blocks.append(_blocks.from_batch(block))

    def build(self) -> Block:
        """All rows, in the order in which they were added.

        Raises:
            SchemaError: they do not fit together.
        """
        self._seal()
        return _blocks.concat(self._blocks)

    def num_rows(self) -> int:
        """How many rows there are by now."""
        return len(self._rows) + sum(int(block.num_rows) for block in self._blocks)

    def get_estimated_memory_usage(self) -> int:
        """Bytes that the block would take."""
        self._seal()
        return sum(map(_blocks.size_bytes, self._blocks))

    def _seal(self) -> None:
        if self._rows:
            self._blocks.append(_blocks.from_rows(self._rows))
            self._rows = []
