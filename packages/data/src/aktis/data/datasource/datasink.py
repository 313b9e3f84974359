"""Writing to places of your own: subclass Datasink, and give an instance to :meth:`Dataset.write_datasink`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from aktis.data._blocks import to_batch
from aktis.data._blocks.types import Block
from aktis.data.datasource._file_sink import BlockFileSink, FileOptions, FileSink, RowFileSink
from aktis.data.datasource._sink import Incoming, Sink
from aktis.data.datasource._staging import SaveMode
from aktis.data.datasource.filenames import FilenameProvider

if TYPE_CHECKING:
    from aktis.data._transforms._base import TaskContext

__all__ = ["BlockAccessor", "BlockBasedFileDatasink", "Datasink", "RowBasedFileDatasink", "WriteContext", "WriteResult"]


@dataclass
class WriteContext:
    """What a :class:`Datasink` may know about the task that it writes in."""

    task_idx: int  # among the tasks of the write; a task that is run again has the same
    op_name: str = ""
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class WriteResult:
    """What a whole write has done."""

    num_rows: int
    size_bytes: int  # in memory
    write_returns: list[Any]  # what ``write`` returned, in the order of tasks


class Datasink:
    """A place that rows are written to. ``write`` is all that must be defined."""

    def on_write_start(self) -> None:
        """Called once, in the driver, before anything is written."""

    def write(self, blocks: Iterable[Block], ctx: WriteContext) -> Any:
        """Called in each task, perhaps again if a worker dies. What it returns must be small and picklable."""
        raise NotImplementedError(f"{type(self).__name__} must define write(blocks, ctx)")

    def on_write_complete(self, write_result: WriteResult) -> None:
        """Called once, in the driver, when all is written."""

    def on_write_failed(self, error: Exception) -> None:
        """Called once, in the driver, when something failed, or was interrupted."""

    def get_name(self) -> str:
        """What the operator is called: "Write" + this."""
        name = type(self).__name__
        return name.removesuffix("Datasink") or name

    @property
    def min_rows_per_write(self) -> int | None:
        """Each call of ``write`` should get at least so many rows, where there are as many."""
        return None

    @property
    def supports_distributed_writes(self) -> bool:
        """Whether several tasks may write at a time."""
        return True

    def as_sink(self) -> Sink:
        """What the executor drives."""
        return DatasinkAdapter(self)


class DatasinkAdapter(Sink):
    """Drives a user's Datasink."""

    def __init__(self, datasink: Datasink) -> None:
        self.datasink = datasink
        self.name = f"Write{datasink.get_name()}"

    @property
    def min_rows_per_task(self) -> int | None:
        return self.datasink.min_rows_per_write

    def start(self) -> None:
        self.datasink.on_write_start()

    def write(self, blocks: Iterator[Block], task: TaskContext) -> tuple[int, int, Any]:
        incoming = Incoming(blocks)
        returned = self.datasink.write(incoming, WriteContext(task.index, task.operator))
        return incoming.rows, incoming.size, returned

    def commit(self, results: list[Any]) -> None:
        rows, sizes, returns = zip(*results) if results else ((), (), ())
        self.datasink.on_write_complete(WriteResult(sum(rows), sum(sizes), list(returns)))

    def abort(self, error: BaseException) -> None:
        self.datasink.on_write_failed(error)  # type: ignore[arg-type]  # Ctrl-C, too


class BlockAccessor:
    """A block, in the form that is wanted."""

    def __init__(self, block: Block) -> None:
        self._block = block

    def to_arrow(self) -> pa.Table:
        """An Arrow table."""
        return self._block

    def to_pandas(self) -> Any:
        """A pandas frame."""
        return to_batch(self._block, "pandas")

    def to_numpy(self, columns: str | list[str] | None = None) -> Any:
        """An array for one column, else a dict of arrays."""
        if isinstance(columns, str):
            return to_batch(self._block.select([columns]), "numpy")[columns]
        return to_batch(self._block if columns is None else self._block.select(columns), "numpy")

    def num_rows(self) -> int:
        """How many rows there are."""
        return int(self._block.num_rows)


class _FileDatasink(Datasink):
    """Files in a folder, invisible until all are written."""

    def __init__(
        self,
        path: str,
        *,
        filesystem: Any = None,
        try_create_dir: bool = True,
        open_stream_args: dict[str, Any] | None = None,
        filename_provider: FilenameProvider | None = None,
        dataset_uuid: str | None = None,
        file_format: str | None = None,
        mode: SaveMode | str = SaveMode.APPEND,
        min_rows_per_file: int | None = None,
    ) -> None:
        self.path = path
        self.file_format = file_format
        self.dataset_uuid = dataset_uuid
        self._options = FileOptions(
            path=path,
            filesystem=filesystem,
            try_create_dir=try_create_dir,
            open_stream_args=open_stream_args or {},
            filename_provider=filename_provider,
            mode=mode,
            min_rows_per_file=min_rows_per_file,
        )

    @property
    def min_rows_per_write(self) -> int | None:
        return self._options.min_rows_per_file


class BlockBasedFileDatasink(_FileDatasink):
    """Writes files with many rows each. Define :meth:`write_block_to_file`.

    Args:
        path: the folder. The other arguments are those of :meth:`Dataset.write_csv`; ``file_format`` is the extension.
    """

    @abstractmethod
    def write_block_to_file(self, block: BlockAccessor, file: Any) -> None:
        """Write all rows of ``block`` to an open ``pyarrow.NativeFile``."""
        raise NotImplementedError(f"{type(self).__name__} must define write_block_to_file(block, file)")

    def as_sink(self) -> Sink:
        return _BlockFileAdapter(self)


class RowBasedFileDatasink(_FileDatasink):
    """Writes a file per row. Define :meth:`write_row_to_file`.

    Args:
        path: the folder. The other arguments are those of :meth:`Dataset.write_images`; ``file_format`` is the extension.
    """

    @abstractmethod
    def write_row_to_file(self, row: dict[str, Any], file: Any) -> None:
        """Write one row to an open ``pyarrow.NativeFile``."""
        raise NotImplementedError(f"{type(self).__name__} must define write_row_to_file(row, file)")

    def as_sink(self) -> Sink:
        return _RowFileAdapter(self)


class _Hooks(FileSink):
    """Calls the hooks of a file Datasink around the work of a file sink."""

    def __init__(self, datasink: _FileDatasink) -> None:
        super().__init__(datasink._options)
        self.datasink: Any = datasink
        self.name = f"Write{datasink.get_name()}"
        self.extension = datasink.file_format or "bin"

    def start(self) -> None:
        super().start()
        if not self.skip:
            self.datasink.on_write_start()

    def commit(self, results: list[Any]) -> None:
        super().commit(results)
        rows, size = sum(result.rows for result in results), sum(result.size for result in results)
        self.datasink.on_write_complete(WriteResult(rows, size, [None] * len(results)))

    def abort(self, error: BaseException) -> None:
        super().abort(error)
        self.datasink.on_write_failed(error)


class _BlockFileAdapter(_Hooks, BlockFileSink):
    def prepare(self, block: Block) -> Block:
        return block

    def write_file(self, blocks: Iterator[Block], stream: Any) -> None:
        from aktis.data._blocks import concat

        self.datasink.write_block_to_file(BlockAccessor(concat(list(blocks))), stream)


class _RowFileAdapter(_Hooks, RowFileSink):
    def write_row(self, row: Any, stream: Any) -> None:
        self.datasink.write_row_to_file(row, stream)
