"""Files of any format: subclass :class:`FileBasedDatasource`, define how one file is read, and all the rest is here.

In the driver, :class:`FileReader` cuts a list of files into tasks. In a task, :class:`FileScan` opens one file after the
other (small ones with a few threads), and turns what the datasource's hooks give into blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import fs as pafs

from aktis.data._blocks import from_batch, from_rows, kind_of, to_rows
from aktis.data._blocks.convert import rows_only
from aktis.data._blocks.types import Block, BlockMetadata
from aktis.data._cpus import cpu_count
from aktis.data.context import MIB, DatasetContext
from aktis.data.datasource._base import Datasource, Reader, ReadTask
from aktis.data.datasource._listing import FileList, Paths
from aktis.data.datasource._policy import ReadPolicy
from aktis.data.datasource._source import (
    Piece,
    SourceBlocks,
    cast_to,
    conform,
    cut,
    ordered_parallel,
    plain_table,
    with_constants,
)
from aktis.data.datasource.file_meta_provider import BaseFileMetadataProvider, FileExtensionFilter, FileSelection
from aktis.data.datasource.partitioning import PartitionColumns, Partitioning

if TYPE_CHECKING:
    from aktis.data.datasource._file_sink import FileOptions
    from aktis.data.datasource._sink import Sink

__all__ = ["FileBasedDatasource", "LineBasedDatasource"]

SMALL_FILE = 4 * MIB  # such files are read whole, several at a time
_ROWS_TOGETHER = 16 * MIB  # one-row files become blocks in portions of so many bytes on storage
_WORTH_SPLITTING = 2 * MIB  # in memory, for a task of its own
_FILE_COST = MIB // 4  # opening a file takes as long as reading so many bytes
_UNKNOWN_SIZE = 1 * MIB
_REMOTE_THREADS = 16


class FileBasedDatasource(Datasource):
    """A format of files.

    Subclasses define one of :meth:`_read_file` and :meth:`_read_stream`, and for writing :meth:`_write_block`. They get
    the arguments that were given to ``read_datasource`` and are none of :meth:`create_reader`'s::

        class LogDatasource(FileBasedDatasource):
            _FILE_EXTENSION = "log"

            def _read_file(self, f, path, *, level="info"):
                return [line for line in f.readall().decode().splitlines() if level in line]

        aktis.data.read_datasource(LogDatasource(), paths="logs/", level="error")
    """

    _FILE_EXTENSION: str | Sequence[str] | None = None
    _NUM_THREADS_PER_TASK: int = 0  # files that a task reads at a time; 0: one after the other
    _MEMORY_RATIO: float = 1.0  # bytes in memory for each byte on storage
    _OWN_TABLES: bool = False  # tables are made by us, so what they say about their columns was not read from a file
    _ONE_ROW_PER_FILE: bool = False  # hooks give a row for each file (``_read_row``), not blocks

    def __init__(self, paths: Paths | None = None, **file_args: Any) -> None:
        self._given_paths = paths
        self._given_args = file_args

    def create_reader(
        self,
        paths: Paths | None = None,
        filesystem: Any = None,
        *,
        schema: pa.Schema | None = None,
        open_stream_args: Mapping[str, Any] | None = None,
        meta_provider: BaseFileMetadataProvider | None = None,
        partition_filter: Any = None,
        partitioning: Partitioning | None = None,
        file_extensions: Sequence[str] | None = None,
        ignore_missing_paths: bool = False,
        shuffle: Any = None,
        include_paths: bool = False,
        on_error: str | None = None,
        **reader_args: Any,
    ) -> FileReader:
        """A reader of these files, which are listed now. The arguments are those of :func:`aktis.data.read_csv`.

        Raises:
            FileNotFoundError: a path leads to nothing.
            ValueError: there is no file to read.
        """
        if paths is None and self._given_paths is not None:
            return self.create_reader(self._given_paths, **{**self._given_args, **reader_args})
        if paths is None:
            raise TypeError(f"{type(self).__name__} needs paths=...")
        selection = FileSelection(meta_provider, partition_filter, file_extensions, ignore_missing_paths, shuffle)
        usual = [self._FILE_EXTENSION] if isinstance(self._FILE_EXTENSION, str) else self._FILE_EXTENSION
        files = selection.files(paths, filesystem, usual)
        scan = FileScan(
            datasource=self,
            filesystem=files.filesystem,
            policy=ReadPolicy.of(DatasetContext.get_current(), on_error),
            open_args=dict(open_stream_args or {}),
            reader_args=reader_args,
            partitions=PartitionColumns(partitioning, files.paths),
            path_column="path" if include_paths else None,
            schema=schema,
        )
        return FileReader(files=files, scan=scan, meta_provider=meta_provider)

    # hooks

    def _read_stream(self, f: Any, path: str, **reader_args: Any) -> Iterable[Any]:
        """The blocks of one file, one by one: tables, frames, dicts of arrays, arrays or lists of rows."""
        yield self._read_file(f, path, **reader_args)

    def _read_file(self, f: Any, path: str, **reader_args: Any) -> Any:
        """The one block of a file."""
        raise NotImplementedError(f"{type(self).__name__} must define _read_file(f, path) or _read_stream(f, path)")

    def _read_row(self, f: Any, path: str, **reader_args: Any) -> Any:
        """The one row of a file: a mapping, or any other object."""
        raise NotImplementedError(f"{type(self).__name__} must define _read_row(f, path)")

    def _open_input_source(self, filesystem: pafs.FileSystem, path: str, **open_args: Any) -> Any:
        """A file to read from. Compressed files (``.gz``, ``.zst`` ...) are decompressed on the way."""
        return filesystem.open_input_stream(path, **open_args)

    def _write_block(
        self, f: Any, block: Any, writer_args_fn: Callable[[], dict[str, Any]] = dict, **args: Any
    ) -> None:
        """Write one block into an open file. ``block.to_arrow()``, ``.to_pandas()`` and ``.to_numpy()`` give its rows."""
        raise NotImplementedError(f"{type(self).__name__} cannot be written: it defines no _write_block(f, block)")

    def create_sink(self, **write_args: Any) -> Sink | None:
        """Files in a folder ``path=...``, invisible until all are written."""
        if "path" not in write_args:
            raise TypeError(f"{type(self).__name__} needs path=... to be written")
        from aktis.data.datasource._written_files import file_sink

        return file_sink(self._sink, **write_args)

    def _sink(self, options: FileOptions, args: Mapping[str, Any], args_fn: Any) -> Sink:
        from aktis.data.datasource._written_files import HookSink

        if type(self)._write_block is FileBasedDatasource._write_block:
            raise TypeError(f"{type(self).__name__} cannot be written: it defines no _write_block(f, block)")
        return HookSink(self, options, args, args_fn)

    @classmethod
    def file_extension_filter(cls) -> FileExtensionFilter | None:
        """Keeps files with the extensions of this format; None: all are right."""
        return None if cls._FILE_EXTENSION is None else FileExtensionFilter(cls._FILE_EXTENSION)


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file, or the lines of it that start in ``start`` to ``stop`` (bytes)."""

    path: str
    size: int
    start: int = 0
    stop: int | None = None


@dataclass(frozen=True)
class FileScan:
    """How to read: pickled with each task."""

    datasource: FileBasedDatasource
    filesystem: pafs.FileSystem
    policy: ReadPolicy
    open_args: Mapping[str, Any]
    reader_args: Mapping[str, Any]
    partitions: PartitionColumns
    path_column: str | None = None
    schema: pa.Schema | None = None
    columns: tuple[str, ...] | None = None
    limit: int | None = None

    def read(self, parts: Sequence[FilePart]) -> SourceBlocks:
        """The blocks of these parts, in order."""
        pieces = self._rows(parts) if self.datasource._ONE_ROW_PER_FILE else self._pieces(parts)
        return SourceBlocks(self._in_one_schema(pieces), self.policy.target_block_bytes, self.limit)

    @property
    def _threads(self) -> int:
        threads = self.datasource._NUM_THREADS_PER_TASK
        if threads and not isinstance(self.filesystem, pafs.LocalFileSystem):
            threads = max(threads, _REMOTE_THREADS)
        return 1 if self.limit is not None else max(1, threads)

    def _pieces(self, parts: Sequence[FilePart]) -> Iterator[Piece]:
        waiting: list[FilePart] = []
        for part in parts:
            if part.size <= SMALL_FILE and self._threads > 1:
                waiting.append(part)
                continue
            yield from self._together(waiting)
            waiting = []
            yield from self.policy.guard(part.path, partial(self._stream, part))
        yield from self._together(waiting)

    def _together(self, parts: Sequence[FilePart]) -> Iterator[Piece]:
        def whole(part: FilePart) -> list[Piece]:
            return list(self.policy.guard(part.path, partial(self._stream, part)))

        for pieces in ordered_parallel(whole, parts, self._threads):
            yield from pieces

    def _stream(self, part: FilePart) -> Iterator[Piece]:
        first: int | None = 0 if not part.start else None
        # open_args are a part of the hook's signature, with which users override it
        with self._open(part) as stream:
            for found in self.datasource._read_stream(stream, part.path, **self.reader_args):
                table = from_batch(found)
                if isinstance(found, pa.Table) and not self.datasource._OWN_TABLES:
                    table = plain_table(table)
                table = self._finish(table, part.path)
                yield Piece(table, part.path, first)
                first = None if first is None else first + table.num_rows

    def _open(self, part: FilePart) -> Any:
        if part.start or part.stop is not None:
            from aktis.data.datasource._lines import LineRange

            header = self._header(part) if part.start else b""
            return LineRange(self.filesystem.open_input_file(part.path), part.start, part.stop, header)
        return self.datasource._open_input_source(self.filesystem, part.path, **self.open_args)

    def _header(self, part: FilePart) -> bytes:
        lines = self.datasource
        return lines._header(self.filesystem, part, self.reader_args) if isinstance(lines, LineBasedDatasource) else b""

    def _rows(self, parts: Sequence[FilePart]) -> Iterator[Piece]:
        """Files that are rows: several become one block."""

        def row(part: FilePart) -> list[tuple[str, Any, int]]:
            return list(self.policy.guard(part.path, partial(one, part)))

        def one(part: FilePart) -> Iterator[tuple[str, Any, int]]:
            with self._open(part) as stream:
                yield part.path, self.datasource._read_row(stream, part.path, **self.reader_args), part.size

        rows: list[tuple[str, Any, int]] = []
        size = 0
        for found in ordered_parallel(row, list(parts), self._threads):
            rows += found
            size += sum(int(item[2] * self.datasource._MEMORY_RATIO) for item in found)
            if size >= _ROWS_TOGETHER or (self.limit is not None and len(rows) >= self.limit):
                yield from self._row_pieces(rows)
                rows, size = [], 0
        yield from self._row_pieces(rows)

    def _row_pieces(self, rows: list[tuple[str, Any, int]]) -> Iterator[Piece]:
        if rows:
            table = from_rows([row for _, row, _ in rows])
            if not self.partitions:
                yield Piece(self._finish(table, rows[0][0]), rows[0][0], paths=tuple(path for path, _, _ in rows))
                return
            for i, (path, _, _) in enumerate(rows):
                yield Piece(self._finish(table.slice(i, 1), path), path)

    def _finish(self, table: Block, path: str) -> Block:
        """Derived columns, and only the columns that are wanted."""
        constants = dict(self.partitions.values(path))
        if self.path_column and not self.datasource._ONE_ROW_PER_FILE:
            constants[self.path_column] = pa.scalar(path)
        if constants:
            if kind_of(table) == "simple":  # rows that are no mappings have no columns beside them
                name = getattr(self.datasource, "_COLUMN_NAME", "item")
                table = from_rows([{name: item} for item in to_rows(table)])
            stored = set(table.column_names)
            table = with_constants(table, {name: value for name, value in constants.items() if name not in stored})
        if self.schema is not None:
            table = cast_to(table, self.schema, path)
        if self.columns is not None:
            if not self.columns:
                return rows_only(table.num_rows)
            missing = [name for name in self.columns if name not in table.column_names]
            if missing:
                table = with_constants(table, {name: pa.scalar(None, pa.null()) for name in missing})
            table = table.select(list(self.columns))
        return table

    def _in_one_schema(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Check that each file fits the ones before it: a block may be made of several."""
        schema: pa.Schema | None = None
        reference = ""
        for piece in pieces:
            table = piece.table
            if not table.num_columns:
                continue
            if schema is None:
                schema, reference = table.schema, piece.path
            elif not table.schema.equals(schema):
                table = conform(table, schema, piece.path, reference)
                schema = table.schema
            yield piece if table is piece.table else replace(piece, table=table)


class LineBasedDatasource(FileBasedDatasource):
    """Formats whose files may be cut at any line end, so that big ones are read by several tasks."""

    def _can_cut(self, reader_args: Mapping[str, Any]) -> bool:
        """Whether these arguments allow it."""
        return True

    def _header(self, filesystem: pafs.FileSystem, part: FilePart, reader_args: Mapping[str, Any]) -> bytes:
        """What is put before the lines of a part that is not the first."""
        return b""


@dataclass(frozen=True, kw_only=True, eq=False)
class FileReader(Reader):
    """Cuts files into tasks."""

    chooses_parallelism = True

    files: FileList
    scan: FileScan
    meta_provider: BaseFileMetadataProvider | None = None

    def estimate_inmemory_data_size(self) -> int | None:
        size = self.files.size_bytes
        return None if size is None else int(size * self._ratio)

    def input_files(self) -> list[str]:
        return self.files.paths

    def schema(self) -> pa.Schema | None:
        return self.scan.schema if self.scan.columns is None else None

    def describe(self) -> str:
        count = len(self.files.files)
        parts = [self.files.files[0].path if count == 1 else f"{count} files"]
        if self.scan.columns is not None:
            parts.append(f"columns={list(self.scan.columns)}")
        if self.scan.limit is not None:
            parts.append(f"limit={self.scan.limit}")
        return ", ".join(parts)

    def with_limit(self, rows: int) -> FileReader:
        limit = rows if self.scan.limit is None else min(rows, self.scan.limit)
        files = self.files
        if self.scan.datasource._ONE_ROW_PER_FILE and self.scan.policy.on_error == "raise":
            files = replace(files, files=files.files[: max(1, limit)])
        return replace(self, files=files, scan=replace(self.scan, limit=limit))

    def with_columns(self, columns: list[str]) -> FileReader | None:
        datasource = self.scan.datasource
        known = getattr(datasource, "_columns", None)
        if known is None or self.scan.columns is not None:
            return None
        names = known(self)
        if names is None or any(name not in names for name in columns):
            return None
        args = datasource._only_columns(self.scan.reader_args, columns)  # type: ignore[attr-defined]
        return replace(self, scan=replace(self.scan, columns=tuple(columns), reader_args=args))

    def fitted(self, context: DatasetContext) -> FileReader:
        return replace(self, scan=replace(self.scan, policy=self.scan.policy.fitted(context)))

    def get_read_tasks(self, parallelism: int = -1) -> list[ReadTask]:
        parts = [FilePart(file.path, _UNKNOWN_SIZE if file.size is None else file.size) for file in self.files.files]
        total = sum(part.size for part in parts) * self._ratio
        cost = int(total) + len(parts) * _FILE_COST
        goal = self.scan.policy.task_bytes
        tasks = parallelism
        if parallelism <= 0:
            tasks = max(-(-cost // goal), min(2 * cpu_count(), self._worth(cost)), 1)
        largest = total / tasks if parallelism > 0 else max(_WORTH_SPLITTING, min(goal, total / tasks))
        if len(parts) < tasks or any(part.size * self._ratio > 2 * largest for part in parts):
            parts = [piece for part in parts for piece in self._cut(part, largest / self._ratio)]
        weights = [part.size * self._ratio + _FILE_COST for part in parts]
        return [self._task(parts[r.start : r.stop]) for r in cut(weights, tasks)]

    def _worth(self, cost: int) -> int:
        """Tasks that are worth their price. Files that are rows may be dear to decode."""
        if self.scan.datasource._ONE_ROW_PER_FILE:
            return len(self.files.files)
        return cost // _WORTH_SPLITTING

    def _cut(self, part: FilePart, size: float) -> list[FilePart]:
        """Parts of about this size on storage, where the format allows it."""
        datasource, scan = self.scan.datasource, self.scan
        pieces = min(round(part.size / max(1.0, size)), part.size)
        cuttable = (
            isinstance(datasource, LineBasedDatasource)
            and not is_compressed(part.path, scan.open_args)
            and datasource._can_cut(scan.reader_args)
        )
        if pieces <= 1 or not cuttable:
            return [part]
        bounds = [part.size * i // pieces for i in range(pieces + 1)]
        return [
            FilePart(part.path, stop - start, start, None if stop == part.size else stop)
            for start, stop in zip(bounds, bounds[1:])
        ]

    def _task(self, parts: list[FilePart]) -> ReadTask:
        paths = list(dict.fromkeys(part.path for part in parts))
        size = int(sum(part.size for part in parts) * self._ratio)
        rows = len(parts) if self.scan.datasource._ONE_ROW_PER_FILE else None
        metadata = BlockMetadata(rows, size, self.schema(), paths)
        if self.meta_provider is not None:
            given = self.meta_provider(
                paths, self.schema(), rows_per_file=None, file_sizes=[part.size for part in parts]
            )
            metadata = replace(metadata, num_rows=given.num_rows or rows, size_bytes=given.size_bytes or size)
        origin = paths[0] if len(paths) == 1 else f"{len(paths)} files, {paths[0]} to {paths[-1]}"
        return ReadTask(partial(self.scan.read, parts), replace(metadata, origin=origin))

    @property
    def _ratio(self) -> float:
        return self.scan.datasource._MEMORY_RATIO * (4.0 if self._first_is_compressed else 1.0)

    @property
    def _first_is_compressed(self) -> bool:
        return is_compressed(self.files.files[0].path, self.scan.open_args)


_COMPRESSED = (".gz", ".bz2", ".zst", ".zstd", ".lz4", ".br", ".snappy")


def is_compressed(path: str, open_args: Mapping[str, Any]) -> bool:
    """Whether a file is decompressed while it is read."""
    given = open_args.get("compression", "detect")
    return path.lower().endswith(_COMPRESSED) if given == "detect" else given is not None


def with_compressed(*extensions: str) -> tuple[str, ...]:
    """The extensions, also with those of compressed files behind them."""
    return tuple(name + suffix for name in extensions for suffix in ("", *_COMPRESSED))
