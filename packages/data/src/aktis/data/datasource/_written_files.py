"""Writing through file datasources: the built-in formats use their sinks, users' formats their ``_write_block``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from aktis.data._blocks import concat
from aktis.data._blocks.types import Block
from aktis.data.datasource._file_sink import BlockFileSink, FileOptions
from aktis.data.datasource._sink import Sink
from aktis.data.datasource.datasink import BlockAccessor

if TYPE_CHECKING:
    from aktis.data.datasource.file_based_datasource import FileBasedDatasource

ArgsFn = Callable[[], Mapping[str, Any]]
MakeSink = Callable[[FileOptions, Mapping[str, Any], "ArgsFn | None"], Sink]


def file_sink(
    make: MakeSink,
    *,
    path: str,
    filesystem: Any = None,
    try_create_dir: bool = True,
    open_stream_args: Mapping[str, Any] | None = None,
    block_path_provider: Any = None,
    filename_provider: Any = None,
    dataset_uuid: str | None = None,
    write_args_fn: ArgsFn | None = None,
    mode: Any = "append",
    **write_args: Any,
) -> Sink:
    """The sink that ``make`` makes, from the arguments that ``write_datasource`` was given.

    ``dataset_uuid`` is accepted for compatibility: names are unique for each write anyway.
    """
    options = FileOptions(
        path=path,
        filesystem=filesystem,
        try_create_dir=try_create_dir,
        open_stream_args=open_stream_args or {},
        block_path_provider=block_path_provider,
        filename_provider=filename_provider,
        mode=mode,
    )
    return make(options, write_args, write_args_fn)


class HookSink(BlockFileSink):
    """Each file is written by the datasource's ``_write_block``."""

    def __init__(
        self, datasource: FileBasedDatasource, options: FileOptions, args: Mapping[str, Any], args_fn: ArgsFn | None
    ) -> None:
        super().__init__(options)
        names = datasource._FILE_EXTENSION
        self._datasource = datasource
        self._args = dict(args)
        self._args_fn = args_fn
        self.name = f"Write{datasource.get_name()}"
        self.extension = names if isinstance(names, str) else names[0] if names else "bin"

    def prepare(self, block: Block) -> Block:
        return block

    def write_file(self, blocks: Iterator[Block], stream: Any) -> None:
        extra: dict[str, Any] = {} if self._args_fn is None else {"writer_args_fn": self._args_fn}
        self._datasource._write_block(stream, BlockAccessor(concat(list(blocks))), **extra, **self._args)
