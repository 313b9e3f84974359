"""Writing CSV files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from aktis.data._blocks.types import Block
from aktis.data.datasource._columns import check_columns, named_columns
from aktis.data.datasource._file_sink import BlockFileSink, FileOptions, WrittenFile
from aktis.data.datasource._staging import StagedTask

_BATCH_ROWS = 65_536  # that are turned into text at a time; pyarrow's default of 1,024 takes a third more time


class CSVSink(BlockFileSink):
    """Files with a header. Null is an empty field, an empty string is ``""``; times are in ISO form.

    Args:
        options: where to, and how rows are spread over files.
        args: for ``pyarrow.csv.CSVWriter`` (``write_options``, also as a dict).
        args_fn: called in the task for more of them, where they cannot be pickled.
    """

    name = "WriteCSV"
    extension = "csv"

    def __init__(
        self,
        options: FileOptions,
        args: Mapping[str, Any] | None = None,
        args_fn: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(options)
        self._args = dict(args or {})
        self._args_fn = args_fn
        if isinstance(options_given := self._args.get("write_options"), pacsv.WriteOptions):
            self._args["write_options"] = _options_as_dict(options_given)  # they cannot be pickled

    def prepare(self, block: Block) -> Block:
        block = named_columns(block)
        check_columns(block.schema, self.name, tensors=False, nested=False)
        for index, field in enumerate(block.schema):
            if pa.types.is_dictionary(field.type):
                plain = block.column(index).cast(field.type.value_type)
                block = block.set_column(index, pa.field(field.name, plain.type), plain)
        return block

    def write_file(self, blocks: Iterator[Block], stream: Any) -> None:
        args = {**self._args, **(self._args_fn() if self._args_fn is not None else {})}
        if isinstance(args.get("write_options"), dict):
            args["write_options"] = pacsv.WriteOptions(**args["write_options"])
        args.setdefault("write_options", pacsv.WriteOptions(batch_size=_BATCH_ROWS))
        writer = None
        try:
            for block in blocks:
                if writer is None:
                    writer = pacsv.CSVWriter(stream, block.schema, **args)
                writer.write_table(block)
        finally:
            if writer is not None:
                writer.close()

    def write_empty(self, block: Block, staged: StagedTask) -> WrittenFile | None:
        return self.save_blocks(staged, [self.prepare(block)])


def _options_as_dict(options: pacsv.WriteOptions) -> dict[str, Any]:
    names = [name for name in dir(options) if not name.startswith("_") and not callable(getattr(options, name))]
    return {name: getattr(options, name) for name in names}
