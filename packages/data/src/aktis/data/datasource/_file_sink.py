"""Sinks that write files: which rows go into which file, staging, names, commit. Formats are subclasses."""

from __future__ import annotations

import math
import posixpath
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import fs as pafs

from aktis.data._blocks import size_bytes, to_rows
from aktis.data._blocks.types import Block
from aktis.data.datasource._columns import check_columns, named_columns
from aktis.data.datasource._hive import Partitioner
from aktis.data.datasource._listing import as_filesystem, resolve
from aktis.data.datasource._sink import Incoming, Sink
from aktis.data.datasource._staging import (
    Move,
    SaveMode,
    StagedTask,
    Staging,
    TargetExistsError,
    is_hidden,
    sweep,
    write_error,
)
from aktis.data.datasource.filenames import BlockWritePathProvider, FilenameProvider, call_provider, default_filename
from aktis.data.exceptions import DataError

if TYPE_CHECKING:
    from aktis.data._transforms._base import TaskContext

_TAIL_BYTES = 64 << 20  # of blocks that are held back to see whether they are worth a file of their own
_SUFFIXES = {"gzip": "gz", "bz2": "bz2", "zstd": "zst", "lz4": "lz4", "brotli": "br"}


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """What all writes of files have in common. See :meth:`Dataset.write_parquet` for what the fields mean."""

    path: str
    filesystem: Any = None
    try_create_dir: bool = True
    open_stream_args: Mapping[str, Any] = field(default_factory=dict)
    filename_provider: FilenameProvider | None = None
    block_path_provider: BlockWritePathProvider | None = None
    min_rows_per_file: int | None = None
    max_rows_per_file: int | None = None
    num_rows_per_file: int | None = None
    partition_cols: tuple[str, ...] = ()
    mode: SaveMode | str = SaveMode.APPEND

    def __post_init__(self) -> None:
        object.__setattr__(self, "mode", SaveMode.of(self.mode))
        for name in ("min_rows_per_file", "max_rows_per_file", "num_rows_per_file"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} is a positive number of rows, got {value!r}")
        least, most = self.min_rows_per_file, self.max_rows_per_file
        if least is not None and most is not None and least > most:
            raise ValueError(f"min_rows_per_file ({least}) is greater than max_rows_per_file ({most})")
        if self.num_rows_per_file is not None and not least is most is None:
            raise ValueError("give num_rows_per_file, or min_rows_per_file and max_rows_per_file, not both")
        if self.filename_provider is not None and self.block_path_provider is not None:
            raise ValueError("give filename_provider or block_path_provider, not both: each decides all names")


@dataclass(frozen=True, slots=True)
class WrittenFile:
    staged: str  # relative to the staging folder
    folder: str  # relative to the target, of partitions: "year=2024/month=5", or ""
    name: str | None  # None: named when all files are known
    extension: str
    rows: int
    size: int  # bytes on disk, 0 where that is not known


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a task tells the driver."""

    files: tuple[WrittenFile, ...]
    rows: int
    size: int  # bytes in memory
    schema: pa.Schema | None
    count: int = 0  # files of this task so far: the executor may call a sink several times for one


class FileSink(Sink):
    """The frame of all sinks that write files into a folder."""

    name = "Write"
    extension = ""

    def __init__(self, options: FileOptions) -> None:
        self.options = options
        filesystem = None if options.filesystem is None else as_filesystem(options.filesystem)
        path = str(options.path).removeprefix("local://")
        if not path:
            raise ValueError("path is empty: give the folder to write to")
        self.filesystem, target = resolve(path, filesystem)
        if isinstance(self.filesystem, pafs.LocalFileSystem):
            import os

            target = os.path.realpath(target)  # a folder that a link leads to, not the link, is replaced
        self.target = target.rstrip("/") or "/"
        self.staging = Staging(self.filesystem, self.target)
        self._skip = False

    @property
    def skip(self) -> bool:
        return self._skip

    @property
    def min_rows_per_task(self) -> int | None:
        """The executor should give each task at least so many rows, where there are as many."""
        return self.options.num_rows_per_file or self.options.min_rows_per_file

    # ------------------------------------------------------------------------------------------------- in the driver

    def start(self) -> None:
        mode = self.options.mode
        try:
            sweep(self.filesystem, self.target)
            if mode in (SaveMode.ERROR, SaveMode.IGNORE) and self._target_has_data():
                if mode is SaveMode.ERROR:
                    raise TargetExistsError(
                        f"{self.name}: there is something at {self.target!r} already, and mode is SaveMode.ERROR. Choose "
                        "another path, or SaveMode.APPEND or SaveMode.OVERWRITE"
                    )
                self._skip = True
                return
            self.staging.open(create_target=self.options.try_create_dir)
        except DataError:
            raise
        except OSError as error:
            raise write_error(f"{self.name}: cannot write to {self.target!r}", error) from error

    def _target_has_data(self) -> bool:
        info = self.filesystem.get_file_info(self.target)
        if info.type == pafs.FileType.File:
            return True
        children = self.filesystem.get_file_info(pafs.FileSelector(self.target, allow_not_found=True))
        return any(not is_hidden(posixpath.basename(child.path.rstrip("/"))) for child in children)

    def commit(self, results: list[Any]) -> None:
        files = [file for result in results for file in result.files]
        if not files and (empty := self._write_empty(results)) is not None:
            files = [empty]
        moves = [Move(file.staged, final) for file, final in zip(files, self._final_names(files))]
        try:
            self.staging.commit(moves, overwrite=self.options.mode is SaveMode.OVERWRITE)
        except DataError:
            raise
        except OSError as error:
            raise write_error(f"{self.name}: cannot write to {self.target!r}", error) from error

    def abort(self, error: BaseException) -> None:
        self.staging.discard()

    def _write_empty(self, results: list[TaskResult]) -> WrittenFile | None:
        """A file with a schema and no rows, if there are no rows at all and the format can say so."""
        schemas = [result.schema for result in results if result.schema is not None and len(result.schema)]
        if not schemas:
            return None
        return self.write_empty(named_columns(schemas[0].empty_table()), self.staging.task(999_999))

    def write_empty(self, block: Block, staged: StagedTask) -> WrittenFile | None:
        """A file without rows that keeps the schema. None: the format has no such files."""
        return None

    def _final_names(self, files: list[WrittenFile]) -> list[str]:
        """Where the files go, relative to the target."""
        names: list[str] = []
        known: set[str] = set()
        provider = self.options.block_path_provider
        for index, file in enumerate(files):
            if file.name is not None:
                name = posixpath.normpath(posixpath.join(file.folder, file.name))
            elif provider is not None:
                name = self._provided_path(provider, index, file)
            else:
                name = posixpath.join(file.folder, default_filename(self.staging.token, index, file.extension))
            if name in known:
                raise ValueError(
                    f"{self.name}: two files of one write would be called {name!r}; the names that a filename_provider or "
                    "block_path_provider gives must differ, by their indices or keys"
                )
            if name.startswith(("../", "/")) or name in ("..", "."):
                raise ValueError(f"{self.name}: the file name {name!r} leads out of the folder {self.target!r}")
            known.add(name)
            names.append(name)
        return names

    def _provided_path(self, provider: BlockWritePathProvider, index: int, file: WrittenFile) -> str:
        base = posixpath.join(self.target, file.folder) if file.folder else self.target
        path = provider(
            base,
            filesystem=self.filesystem,
            dataset_uuid=self.staging.token,
            block=None,
            block_index=index,
            file_format=file.extension,
        )
        if not isinstance(path, str) or not path.startswith(self.target + "/"):
            raise ValueError(
                f"{self.name}: block_path_provider must return a path below {self.target!r}, not {path!r}; join the name to "
                "the base_path that it gets"
            )
        return posixpath.normpath(path.removeprefix(self.target + "/"))

    # ------------------------------------------------------------------------------------------------------ in tasks

    def write(self, blocks: Iterator[Block], task: TaskContext) -> TaskResult:
        incoming = Incoming(blocks)
        staged: StagedTask | None = None
        try:
            staged = self.staging.task(task.index)
            files = tuple(self.write_files(incoming, staged, task))
        except BaseException as error:
            if staged is not None:
                staged.discard()
            if (
                error is incoming.error
                or not isinstance(error, Exception)
                or isinstance(error, (DataError, ImportError))
            ):
                raise
            raise write_error(f"{self.name}: cannot write to {self.target!r}", error) from error
        return TaskResult(files, incoming.rows, incoming.size, incoming.schema, files_before(task) + len(files))

    @abstractmethod
    def write_files(self, blocks: Incoming, staged: StagedTask, task: TaskContext) -> Iterator[WrittenFile]:
        """Write all blocks, yielding what was written, file by file."""

    def save(
        self, staged: StagedTask, fill: Callable[[Any], int], *, name: str | None = None, folder: str = ""
    ) -> WrittenFile:
        """One file: ``fill`` writes to a stream, and says how many rows that were."""
        open_args = dict(self.options.open_stream_args)
        compression = open_args.pop("compression", None)
        if compression in (None, "detect"):
            compression = _compression_of(name) if compression is None else _compression_of(name or self.extension)
        extension = self.extension
        if compression is not None and compression in _SUFFIXES:
            extension = f"{extension}.{_SUFFIXES[compression]}"
        with staged.file(compression=compression, **open_args) as file:
            rows = fill(file.stream)
        return WrittenFile(file.path, folder, name, extension, rows, file.size)


def files_before(task: TaskContext) -> int:
    """How many files an earlier call for the same task has written."""
    return task.result.count if isinstance(task.result, TaskResult) else 0


def _compression_of(name: str | None) -> str | None:
    """The codec that a reader would expect of a file with this name."""
    suffix = (name or "").rpartition(".")[2].lower()
    return {suffix: codec for codec, suffix in _SUFFIXES.items()}.get(suffix)


class BlockFileSink(FileSink):
    """A sink whose files hold many rows each."""

    tensors = False  # whether tensor columns can be written

    def write_files(self, blocks: Incoming, staged: StagedTask, task: TaskContext) -> Iterator[WrittenFile]:
        tables = (self.prepare(block) for block in blocks)
        limits = self.options.min_rows_per_file, self.options.max_rows_per_file, self.options.num_rows_per_file
        index = files_before(task)
        for folder, pieces in self._by_partition(tables):
            for file_blocks in FileCutter(pieces, *limits).files():
                yield self._write_one(file_blocks, staged, task, index, folder)
                index += 1

    def _by_partition(self, tables: Iterator[Block]) -> Iterator[tuple[str, Iterator[Block]]]:
        if not self.options.partition_cols:
            yield "", tables
            return
        partitioner = Partitioner(self.options.partition_cols)
        for table in tables:
            yield from partitioner.add(table)
        yield from partitioner.flush()

    def _write_one(
        self, blocks: Iterator[Block], staged: StagedTask, task: TaskContext, index: int, folder: str
    ) -> WrittenFile:
        first = next(blocks)
        name = None
        if self.options.filename_provider is not None:
            method = self.options.filename_provider.get_filename_for_block
            name = call_provider(method, first, self.staging.token, task_index=task.index, block_index=index)
        rows = 0

        def counted() -> Iterator[Block]:
            nonlocal rows, first
            block: Block | None = first
            del first  # so that it may go when it is written
            while block is not None:
                rows += block.num_rows
                yield block
                block = None
                block = next(blocks, None)

        def fill(stream: Any) -> int:
            self.write_file(counted(), stream)
            return rows

        return self.save(staged, fill, name=name, folder=folder)

    def prepare(self, block: Block) -> Block:
        """The columns as they go into files. Raises SchemaError for those that cannot."""
        block = named_columns(block)
        check_columns(block.schema, self.name, tensors=self.tensors)
        return block

    def save_blocks(self, staged: StagedTask, blocks: list[Block]) -> WrittenFile:
        """A file of these blocks."""

        def fill(stream: Any) -> int:
            self.write_file(iter(blocks), stream)
            return sum(block.num_rows for block in blocks)

        return self.save(staged, fill)

    @abstractmethod
    def write_file(self, blocks: Iterator[Block], stream: Any) -> None:
        """Write all these blocks (at least one; same schema) to a binary stream, which is closed afterwards."""


class RowFileSink(FileSink):
    """A sink that writes each row to a file of its own."""

    def write_files(self, blocks: Incoming, staged: StagedTask, task: TaskContext) -> Iterator[WrittenFile]:
        provider = self.options.filename_provider
        for block_index, block in enumerate(blocks, files_before(task)):
            for row_index, row in enumerate(to_rows(named_columns(block))):
                name = None
                if provider is not None:
                    indices = {"task_index": task.index, "block_index": block_index, "row_index": row_index}
                    name = call_provider(provider.get_filename_for_row, row, self.staging.token, **indices)

                def fill(stream: Any, row: Any = row) -> int:
                    self.write_row(row, stream)
                    return 1

                yield self.save(staged, fill, name=name)

    @abstractmethod
    def write_row(self, row: Any, stream: Any) -> None:
        """Write one row to a binary stream, which is closed afterwards."""


class FileCutter:
    """Decides where one file ends and the next begins. The blocks of a file must be taken before the next file is asked for.

    Without limits, a file per block. With ``least``, a file goes on until it has so many rows; what is left at the end
    and would be a smaller file goes into the last one. With ``most``, blocks are cut where a file is full. With ``wanted``,
    they are cut there, too, unless so little follows that it would not fill another file. Blocks with another schema
    begin a new file.
    """

    def __init__(self, blocks: Iterator[Block], least: int | None, most: int | None, wanted: int | None = None) -> None:
        self._source = iter(blocks)
        self._least = wanted or least or 1
        self._most = most
        self._wanted = wanted
        self._waiting: deque[Block] = deque()

    def files(self) -> Iterator[Iterator[Block]]:
        while (first := self._next()) is not None:
            file = self._file(first)
            del first
            yield file
            for _ in file:
                pass

    def _next(self) -> Block | None:
        if self._waiting:
            return self._waiting.popleft()
        return next(self._source, None)

    def _file(self, first: Block) -> Iterator[Block]:
        block: Block | None = first
        schema = first.schema
        del first
        rows = 0
        full: float | None = self._wanted or self._most
        while block is not None:
            if not block.schema.equals(schema):
                self._waiting.appendleft(block)
                return
            if full is not None and rows + block.num_rows > full:
                self._waiting.appendleft(block.slice(int(full) - rows))
                block = block.slice(0, int(full) - rows)
            rows += block.num_rows
            yield block
            block = None
            if rows == self._most:
                return
            if rows >= self._least and full is not math.inf:
                if not self._tail_belongs_here(rows):
                    return
                full = math.inf  # what follows is known, and goes in here
            block = self._next()

    def _tail_belongs_here(self, rows: int) -> bool:
        """Whether so little follows that it should go into this file, too."""
        if self._least == 1 and self._wanted is None:
            return False
        ahead = sum(block.num_rows for block in self._waiting)
        size = sum(size_bytes(block) for block in self._waiting)
        while ahead < self._least and size < _TAIL_BYTES:
            block = next(self._source, None)
            if block is None:
                return ahead > 0 and (self._most is None or rows + ahead <= self._most)
            self._waiting.append(block)
            ahead += block.num_rows
            size += size_bytes(block)
        return False
