"""What a Parquet read task does. It gets paths and row group numbers, and opens files itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from aktis.data._blocks.convert import rows_only
from aktis.data._blocks.types import Block
from aktis.data.datasource._policy import ReadPolicy
from aktis.data.datasource._source import (
    Piece,
    SourceBlocks,
    cast_to,
    conform,
    ordered_parallel,
    plain_schema,
    plain_table,
    with_constants,
)
from aktis.data.datasource.partitioning import PartitionColumns

GIVEN_SCHEMA = "the given schema"  # in place of a file's name
SMALL_FILE = 4 << 20  # bytes on storage: such files are read whole, several at a time
THREADS_FROM = 1 << 20  # bytes of a row group: below, waiting for other threads costs more than it saves
_LOCAL_THREADS = 2  # decoding takes CPU, and tasks already use one each
_REMOTE_THREADS = 16  # waiting takes none


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file, or some of its row groups, or some rows of these (``start`` to ``stop``, counted from their first)."""

    path: str
    size: int = 0  # bytes on storage, of the part
    row_groups: tuple[int, ...] | None = None
    first_row: int = 0  # of the part, in the file
    start: int = 0
    stop: int | None = None


@dataclass(frozen=True)
class ParquetScan:
    """How to read: the same for all parts. Pickled with each task, so there are no footers in it."""

    filesystem: pafs.FileSystem
    policy: ReadPolicy
    schema: pa.Schema  # what the files have in common, as far as it is known: columns that they store
    reference: str  # the file that the schema was taken from
    columns: tuple[str, ...] | None = None  # of the result; None: all
    predicate: Any = None  # a pyarrow expression
    predicate_columns: tuple[str, ...] = ()
    limit: int | None = None
    partitions: PartitionColumns = field(default_factory=lambda: PartitionColumns(None, ()))
    path_column: str | None = None
    tensor_columns: Mapping[str, tuple[Any, tuple[int, ...]]] = field(default_factory=dict)
    file_options: Mapping[str, Any] = field(default_factory=dict)
    batch_rows: int | None = None
    use_threads: bool = False

    def read(self, parts: list[FilePart]) -> SourceBlocks:
        """The blocks of these parts, in order."""
        return SourceBlocks(self._pieces(parts), self.policy.target_block_bytes, self.limit)

    def _pieces(self, parts: list[FilePart]) -> Iterator[Piece]:
        local = isinstance(self.filesystem, pafs.LocalFileSystem)
        threads = _LOCAL_THREADS if local else _REMOTE_THREADS
        if self.limit is not None:
            threads = 1
        waiting: list[FilePart] = []
        for part in parts:
            if part.size <= SMALL_FILE:
                waiting.append(part)
                continue
            yield from self._small(waiting, threads)
            waiting = []
            yield from self.policy.guard(part.path, lambda part=part: self._stream(part))  # type: ignore[misc]
        yield from self._small(waiting, threads)

    def _small(self, parts: list[FilePart], threads: int) -> Iterator[Piece]:
        for pieces in ordered_parallel(self._whole, parts, threads):
            yield from pieces

    def _whole(self, part: FilePart) -> list[Piece]:
        return list(self.policy.guard(part.path, lambda: self._stream(part)))

    def _stream(self, part: FilePart) -> Iterator[Piece]:
        with open_parquet(self.filesystem, part.path, self.file_options) as file:
            stored = plain_schema(file.schema_arrow)
            wanted = self._stored_columns(stored)
            groups = self._chosen_groups(file, part, wanted, stored)
            exact = self.predicate is None
            position = 0
            for table in self._tables(file, groups, wanted, part.stop):
                if not table.num_columns:  # Arrow forgets how many rows there are in slices of such a table
                    table = rows_only(table.num_rows)
                start, stop = 0, table.num_rows
                if exact and (part.start or part.stop is not None):
                    start = min(max(part.start - position, 0), table.num_rows)
                    stop = table.num_rows if part.stop is None else min(max(part.stop - position, 0), table.num_rows)
                first = part.first_row + position + start
                position += table.num_rows
                if stop > start or table.num_rows == 0:
                    rows = table if (start, stop) == (0, table.num_rows) else table.slice(start, stop - start)
                    yield Piece(self._finish(rows, part.path), part.path, first if exact else None)
                if part.stop is not None and position >= part.stop:
                    break

    def _stored_columns(self, stored: pa.Schema) -> list[str] | None:
        """What to read from this file. None: everything."""
        if self.columns is None:
            return None
        names = dict.fromkeys((*self.columns, *self.predicate_columns))
        return [name for name in names if name in stored.names]

    def _chosen_groups(self, file: Any, part: FilePart, wanted: list[str] | None, stored: pa.Schema) -> list[int]:
        groups = list(range(file.num_row_groups)) if part.row_groups is None else list(part.row_groups)
        if self.predicate is None or not groups or part.start or part.stop is not None:
            return groups
        import pyarrow.dataset as pads  # which imports pandas: not before it is needed

        guarantee = None
        for name, value in self.partitions.values(part.path).items():
            known = pads.field(name) == value if value.is_valid else pads.field(name).is_null()
            guarantee = known if guarantee is None else guarantee & known
        try:
            form = pads.ParquetFileFormat()
            fragment = (
                form.make_fragment(part.path, self.filesystem, row_groups=groups)
                if guarantee is None
                else form.make_fragment(part.path, self.filesystem, guarantee, row_groups=groups)
            )
            kept = fragment.subset(filter=self.predicate, schema=self._full_schema(stored))
            return [group.id for group in kept.row_groups]
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
            return groups  # statistics do not help with this predicate: all rows are looked at

    def _full_schema(self, stored: pa.Schema) -> pa.Schema:
        """Every column that the predicate may name."""
        fields = {field.name: field for field in stored}
        for name, kind in self.partitions.types.items():
            fields.setdefault(name, pa.field(name, kind))
        if self.path_column:
            fields.setdefault(self.path_column, pa.field(self.path_column, pa.string()))
        for known in self.schema:
            fields.setdefault(known.name, known)
        return pa.schema(list(fields.values()))

    def _tables(self, file: Any, groups: list[int], wanted: list[str] | None, stop: int | None) -> Iterator[Block]:
        """Row group after row group; big ones, and those of which only the beginning is needed, in smaller batches."""
        if not groups:
            schema = file.schema_arrow
            if wanted is not None:
                schema = pa.schema([schema.field(name) for name in wanted])
            yield plain_table(schema.empty_table())
            return
        for group in groups:
            info = file.metadata.row_group(group)
            rows = self._batch_rows(info)
            if self.limit is not None and self.predicate is None:
                rows = min(rows, max(1, self.limit))
            threads = (
                self.use_threads and info.total_byte_size > THREADS_FROM
            )  # waiting for others costs more than it saves
            if rows >= info.num_rows:
                yield plain_table(file.read_row_group(group, columns=wanted, use_threads=threads))
                continue
            for batch in file.iter_batches(rows, row_groups=[group], columns=wanted, use_threads=threads):
                yield plain_table(pa.Table.from_batches([batch]))

    def _batch_rows(self, info: Any) -> int:
        """Rows that make a block of the wanted size. Encoded sizes are mostly smaller than those in memory: assume 2."""
        if self.batch_rows is not None:
            return self.batch_rows
        per_row = max(1.0, 2.0 * info.total_byte_size / max(1, info.num_rows))
        rows = int(self.policy.target_block_bytes / per_row)
        return max(1, rows)

    def _finish(self, table: Block, path: str) -> Block:
        """From stored columns to those of the result: derived columns, one schema, the filter, the order."""
        names = None if self.columns is None else dict.fromkeys((*self.columns, *self.predicate_columns))
        known = [field for field in self.schema if names is None or field.name in names]
        count_only = names is not None and not names
        if not count_only:
            exact = pa.schema(known)
            given = self.reference == GIVEN_SCHEMA
            table = cast_to(table, exact, path) if given else conform(table, exact, path, self.reference)
        if self.tensor_columns:
            table = _decode_tensors(table, self.tensor_columns, path)
        constants = dict(self.partitions.values(path))
        if self.path_column:
            constants[self.path_column] = pa.scalar(path)
        stored = set(self.schema.names)
        if constants:
            chosen = {k: v for k, v in constants.items() if k not in stored and (names is None or k in names)}
            table = with_constants(table, chosen)
        if self.predicate is not None:
            import pyarrow.dataset as pads

            # not Table.filter: the scanner without threads is sure to keep the order
            table = pads.dataset(table).to_table(filter=self.predicate, use_threads=False)
        if self.columns == ():
            return rows_only(table.num_rows)
        if self.columns is not None and table.column_names != list(self.columns):
            table = table.select(list(self.columns))
        return table


@contextmanager
def open_parquet(filesystem: pafs.FileSystem, path: str, options: Mapping[str, Any]) -> Iterator[Any]:
    """A ``pyarrow.parquet.ParquetFile``; local files are mapped, remote ones are read in large requests."""
    given = dict(options)
    if isinstance(filesystem, pafs.LocalFileSystem):
        given.setdefault("memory_map", True)
        given.setdefault("pre_buffer", False)
        if not given["memory_map"]:
            given.pop("memory_map")
        source: Any = path
    else:
        given.pop("memory_map", None)
        given.setdefault("pre_buffer", True)
        source = filesystem.open_input_file(path)
    try:
        file = pq.ParquetFile(source, **given)
    except pa.ArrowInvalid as error:
        raise _why_no_parquet(filesystem, path, error) from error
    try:
        yield file
    finally:
        file.close(force=True)


def _why_no_parquet(filesystem: pafs.FileSystem, path: str, error: Exception) -> Exception:
    size = filesystem.get_file_info(path).size
    return ValueError("the file is empty (0 bytes), which no Parquet file is") if size == 0 else error


def _decode_tensors(table: Block, columns: Mapping[str, tuple[Any, tuple[int, ...]]], path: str) -> Block:
    """Columns of bytes, each an array of this dtype and shape, as tensor columns."""
    for name, (dtype, shape) in columns.items():
        if name not in table.column_names:
            continue
        column = table.column(name)
        if isinstance(column.type, pa.BaseExtensionType):
            continue
        dtype = np.dtype(dtype)
        count = int(np.prod(shape))
        chunks = [_tensor_chunk(chunk, dtype, count, tuple(shape), name, path) for chunk in column.chunks]
        kind = pa.fixed_shape_tensor(pa.from_numpy_dtype(dtype), tuple(shape))
        table = table.set_column(table.column_names.index(name), name, pa.chunked_array(chunks, kind))
    return table


def _tensor_chunk(chunk: pa.Array, dtype: Any, count: int, shape: tuple[int, ...], name: str, path: str) -> pa.Array:
    kind = pa.fixed_shape_tensor(pa.from_numpy_dtype(dtype), shape)
    if pa.types.is_binary(chunk.type) or pa.types.is_large_binary(chunk.type):
        lengths = pa.compute.binary_length(chunk)
        wrong = pa.compute.min_max(lengths).as_py()
        if chunk.null_count or (len(chunk) and {wrong["min"], wrong["max"]} != {count * dtype.itemsize}):
            raise ValueError(
                f"{path}: column {name!r} should hold {count * dtype.itemsize} bytes per row (shape {shape}, {dtype}), "
                f"it has between {wrong['min']} and {wrong['max']}, and {chunk.null_count} nulls"
            )
        data = b"".join(chunk.to_pylist())
        values = pa.array(np.frombuffer(data, dtype))
    elif pa.types.is_list(chunk.type) or pa.types.is_fixed_size_list(chunk.type):
        values = chunk.flatten().cast(pa.from_numpy_dtype(dtype))
    else:
        raise ValueError(
            f"{path}: column {name!r} should hold bytes or lists to be read as tensors, it is {chunk.type}"
        )
    if len(values) != len(chunk) * count:
        raise ValueError(f"{path}: the values of column {name!r} do not all have the shape {shape}")
    storage = pa.FixedSizeListArray.from_arrays(values, count)
    return pa.ExtensionArray.from_storage(kind, storage)
