"""CSV, with Arrow's parser."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyarrow import csv as pacsv
from pyarrow import fs as pafs

from aktis.data._blocks.types import Block
from aktis.data.datasource.file_based_datasource import FilePart, FileReader, LineBasedDatasource, with_compressed

__all__ = ["CSVDatasource"]

_WHOLE = 32 << 20  # bytes; up to here all values are looked at before types are chosen
_BLOCK = 8 << 20  # bytes; of larger files, the types are chosen from the first so many
_HEAD = 1 << 20  # bytes in which the header has to be


class CSVDatasource(LineBasedDatasource):
    """One row per line; ``read_options``, ``parse_options`` and ``convert_options`` are those of ``pyarrow.csv``."""

    _FILE_EXTENSION = with_compressed("csv", "tsv")
    _NUM_THREADS_PER_TASK = 2
    _MEMORY_RATIO = 1.2
    _OWN_TABLES = True

    def _can_cut(self, reader_args: Mapping[str, Any]) -> bool:
        parse, read = reader_args.get("parse_options"), reader_args.get("read_options")
        if parse is not None and (parse.newlines_in_values or parse.escape_char):
            return False
        encoding = "utf8" if read is None else read.encoding.lower().replace("-", "")
        return encoding in ("utf8", "ascii", "latin1") and not (read is not None and read.skip_rows_after_names)

    def _header(self, filesystem: pafs.FileSystem, part: FilePart, reader_args: Mapping[str, Any]) -> bytes:
        """The lines up to the names of the columns: a part of the file starts with them, too."""
        read = reader_args.get("read_options")
        if read is not None and (read.column_names or read.autogenerate_column_names):
            lines = read.skip_rows
        else:
            lines = 1 + (0 if read is None else read.skip_rows)
        with filesystem.open_input_stream(part.path) as stream:
            head = io.BytesIO(stream.read(_HEAD))
        return b"".join(head.readline() for _ in range(lines))

    def _read_stream(self, f: Any, path: str, **arrow_csv_args: Any) -> Iterator[Block]:
        options = dict(arrow_csv_args)
        head = f.read(_WHOLE)
        if not head:
            raise ValueError("the file is empty (0 bytes)")
        read = copy.copy(options.pop("read_options", None)) or pacsv.ReadOptions(block_size=_BLOCK)
        read.use_threads = False
        if len(head) < _WHOLE:
            yield pacsv.read_csv(pa.BufferReader(head), read_options=read, **options)
            return
        source = pa.PythonFile(_Joined(head, f), mode="r")
        del head
        try:
            with pacsv.open_csv(source, read_options=read, **options) as batches:
                for batch in batches:
                    yield pa.Table.from_batches([batch])
        except pa.ArrowInvalid as error:
            if "conversion error" not in str(error):
                raise
            raise ValueError(
                f"{error}. The types of this large file were chosen from its beginning; say them with "
                "convert_options=pyarrow.csv.ConvertOptions(column_types={...})"
            ) from error

    def _columns(self, reader: FileReader) -> list[str] | None:
        """The columns of the first file."""
        args = reader.scan.reader_args
        convert = args.get("convert_options")
        if convert is not None and (convert.include_columns or convert.include_missing_columns):
            return None
        first = reader.files.files[0].path
        try:
            with self._open_input_source(reader.files.filesystem, first, **reader.scan.open_args) as stream:
                head = stream.read(_HEAD)
            head = head[: head.rfind(b"\n") + 1] or head
            options = {key: value for key, value in args.items() if key != "convert_options"}
            names: list[str] = pacsv.read_csv(pa.BufferReader(head), **options).column_names
            return names
        except (OSError, ValueError):  # who reads the file reports it
            return None

    def _only_columns(self, reader_args: Mapping[str, Any], columns: list[str]) -> dict[str, Any]:
        """Arguments with which only these columns are converted."""
        convert = copy.copy(reader_args.get("convert_options")) or pacsv.ConvertOptions()
        if columns:  # an empty list would mean all of them
            convert.include_columns = columns
            convert.include_missing_columns = True
        return {**reader_args, "convert_options": convert}

    def _sink(self, options: Any, args: Mapping[str, Any], args_fn: Any) -> Any:
        from aktis.data.datasource.csv_sink import CSVSink

        return CSVSink(options, args, args_fn)


class _Joined(io.RawIOBase):
    """What was read already, and then the rest."""

    def __init__(self, head: bytes, rest: Any) -> None:
        super().__init__()
        self._head = memoryview(head)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        if self._head:
            size = len(self._head) if size is None or size < 0 else size
            part, self._head = self._head[:size], self._head[size:]
            return bytes(part)
        data: bytes = self._rest.read(size)
        return data
