"""Writing Parquet files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aktis.data._blocks.types import Block
from aktis.data.datasource._file_sink import BlockFileSink, FileOptions, WrittenFile
from aktis.data.datasource._staging import StagedTask

__all__ = ["ParquetSink"]

_DEFAULT_ROW_GROUP = 1 << 20  # most rows of a row group: what a reader has to hold at a time


_SAYS_HOW = {"use_dictionary", "column_encoding"}
_SAMPLE = 8192  # rows
_LEAST_SAMPLE = 512


def dictionary_columns(block: Block) -> list[str] | bool:
    """The columns of which values repeat so often that a dictionary saves space. For the others, such as measurements, the
    dictionary would be built, found too big, and thrown away: that is most of what writing them costs."""
    chosen = []
    for name in block.column_names:
        column = block.column(name).slice(0, _SAMPLE)
        kind = column.type.storage_type if isinstance(column.type, pa.BaseExtensionType) else column.type
        if pa.types.is_struct(kind) or pa.types.is_map(kind) or pa.types.is_union(kind):
            return True  # the names of what is inside are the format's own matter
        if pa.types.is_nested(kind):
            if not (pa.types.is_floating(kind.value_type) or pa.types.is_nested(kind.value_type)):
                chosen += [f"{name}.list.element", f"{name}.list.item"]
        elif pa.types.is_dictionary(kind) or len(column) < _LEAST_SAMPLE or _repeats(column):
            chosen.append(name)
    return chosen or False


def _repeats(column: pa.ChunkedArray) -> bool:
    distinct: int = pc.count_distinct(column).as_py()
    return distinct < len(column) / 2


class ParquetSink(BlockFileSink):
    """One row group per block (cut after a million rows), so that a file of any size is written in the memory of a block.

    Args:
        options: where to, and how rows are spread over files.
        args: for ``pyarrow.parquet.ParquetWriter``; ``row_group_size`` (rows) goes to ``write_table``.
        args_fn: called in the task for more of them, where they cannot be pickled.
    """

    name = "WriteParquet"
    extension = "parquet"
    tensors = True

    def __init__(
        self,
        options: FileOptions,
        args: Mapping[str, Any] | None = None,
        args_fn: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(options)
        self._args = dict(args or {})
        self._args_fn = args_fn

    def write_file(self, blocks: Iterator[Block], stream: Any) -> None:
        args = {**self._args, **(self._args_fn() if self._args_fn is not None else {})}
        row_group_size = args.pop("row_group_size", None) or _DEFAULT_ROW_GROUP
        writer = None
        try:
            for block in blocks:
                if writer is None:
                    schema = args.pop("schema", None) or block.schema
                    if not _SAYS_HOW & args.keys():
                        args["use_dictionary"] = dictionary_columns(block)
                    writer = pq.ParquetWriter(stream, schema, **args)
                writer.write_table(block.cast(schema) if block.schema != schema else block, row_group_size)
        finally:
            if writer is not None:
                writer.close()

    def write_empty(self, block: Block, staged: StagedTask) -> WrittenFile | None:
        return self.save_blocks(staged, [self.prepare(block)])
