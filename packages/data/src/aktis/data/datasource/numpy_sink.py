"""Writing NumPy files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from aktis.data._blocks import concat, to_batch
from aktis.data._blocks.types import ITEM, Block
from aktis.data.datasource._columns import VALUE, named_columns
from aktis.data.datasource._file_sink import BlockFileSink, FileOptions
from aktis.data.exceptions import SchemaError


class NumpySink(BlockFileSink):
    """One column as ``.npy`` files, whose first axis counts rows.

    Args:
        options: where to, and how rows are spread over files.
        column: which one.
    """

    name = "WriteNumpy"
    extension = "npy"
    tensors = True

    def __init__(self, options: FileOptions, column: str) -> None:
        super().__init__(options)
        self._column = VALUE if column == ITEM else column

    def prepare(self, block: Block) -> Block:
        block = named_columns(block)
        if self._column not in block.column_names:
            raise SchemaError(f"{self.name}: there is no column {self._column!r}; the columns are {block.column_names}")
        return super().prepare(block.select([self._column]))

    def write_file(self, blocks: Iterator[Block], stream: Any) -> None:
        block = concat(list(blocks))  # the file begins with the number of rows
        array = to_batch(block, "numpy", copy=False)
        array = np.asarray(array[self._column] if isinstance(array, dict) else array)
        if array.dtype == object:
            array = self._plain(array)
        np.save(stream, array, allow_pickle=False)

    def _plain(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if len(array) and all(isinstance(value, str) for value in array):
            texts: np.ndarray[Any, Any] = array.astype(np.str_)
            return texts
        try:
            stacked: np.ndarray[Any, Any] = np.array(array.tolist())
        except ValueError:
            stacked = array
        if stacked.dtype != object:
            return stacked
        raise SchemaError(
            f"{self.name}: column {self._column!r} has nulls, or values of different shapes or types, which a NumPy file could "
            "hold only as pickles. Fill or drop the nulls, or make all shapes equal (with map_batches)"
        )
