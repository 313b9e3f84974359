"""The extension API for reading and writing: Datasource, Reader, ReadTask."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from aktis.data._blocks.types import BlockMetadata

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc

    from aktis.data.context import DatasetContext
    from aktis.data.datasource._sink import Sink


class ReadTask:
    """Reads a part of a source. ``read_fn`` is pickled to a worker, called there without arguments, and gives blocks
    one by one: Arrow tables, pandas frames, dicts of arrays, or lists of rows. ``metadata`` is an estimate or better."""

    def __init__(self, read_fn: Callable[[], Iterable[Any]], metadata: BlockMetadata) -> None:
        self.read_fn = read_fn
        self.metadata = metadata

    def __call__(self) -> Iterable[Any]:
        return self.read_fn()

    def get_metadata(self) -> BlockMetadata:
        """What is known about the blocks before they are read."""
        return self.metadata


class Reader:
    """A source, ready to be read. Subclass it for a datasource of your own: two methods are enough.

    The others tell the optimizer what the source can do by itself. They return a new reader, or None for "I cannot".
    """

    chooses_parallelism: bool = False
    """True: ``get_read_tasks(-1)`` gives as many tasks as the reader finds right. Else it is asked for a number that
    follows from :meth:`estimate_inmemory_data_size`."""

    def estimate_inmemory_data_size(self) -> int | None:
        """Bytes that all the data will take in memory, if that is known without much reading."""
        return None

    def get_read_tasks(self, parallelism: int) -> list[ReadTask]:
        """At most about ``parallelism`` tasks, in the order that their rows are to have."""
        raise NotImplementedError(f"{type(self).__name__} must define get_read_tasks(parallelism)")

    def schema(self) -> pa.Schema | None:
        """The schema, if it is known without reading data."""
        return None

    def count_rows(self) -> int | None:
        """How many rows there are, if metadata say so."""
        return None

    def input_files(self) -> list[str]:
        """The files that would be read."""
        return []

    def with_columns(self, columns: list[str]) -> Reader | None:
        """A reader of these columns only, in this order. An empty list: only the number of rows matters."""
        return None

    def with_filter(self, predicate: pc.Expression) -> Reader | None:
        """A reader that gives exactly the rows for which the predicate is true."""
        return None

    def with_limit(self, rows: int) -> Reader | None:
        """A reader that may stop after so many rows (it may give more)."""
        return None

    def fitted(self, context: DatasetContext) -> Reader:
        """A reader whose tasks and blocks have the sizes of this context, which may be smaller than the user's."""
        return self

    def describe(self) -> str:
        """What ``explain()`` shows in brackets: files, pushed columns, predicate, limit."""
        return ""


class Datasource:
    """Something that can be read, written, or both. Subclass it, and use ``read_datasource`` and ``write_datasource``."""

    def create_reader(self, **read_args: Any) -> Reader:
        """A reader for these arguments."""
        return _PreparedReader(self, read_args)

    def prepare_read(self, parallelism: int, **read_args: Any) -> list[ReadTask]:
        """The older form of :meth:`create_reader`: gives the tasks at once."""
        raise NotImplementedError(f"{type(self).__name__} cannot be read: it defines no create_reader()")

    def get_name(self) -> str:
        """What operators are called: ``Read`` + this."""
        return type(self).__name__.removesuffix("Datasource") or type(self).__name__

    def do_write(
        self, blocks: list[Any], metadata: list[BlockMetadata], ray_remote_args: dict[str, Any], **write_args: Any
    ) -> list[Any]:
        """Start tasks that write the blocks (references), and return their references: one result each."""
        raise NotImplementedError(f"{type(self).__name__} cannot be written: it defines no do_write()")

    def on_write_complete(self, write_results: list[Any], **kwargs: Any) -> None:
        """Called once, in the driver, after all tasks of ``do_write`` have succeeded."""

    def on_write_failed(self, write_results: list[Any], error: Exception, **kwargs: Any) -> None:
        """Called once, in the driver, when one of them failed."""

    def create_sink(self, **write_args: Any) -> Sink | None:
        """A streaming way to write, which :meth:`do_write` is not. None: ``do_write`` is used."""
        return None


class _PreparedReader(Reader):
    def __init__(self, datasource: Datasource, read_args: dict[str, Any]) -> None:
        self._datasource = datasource
        self._read_args = read_args

    def get_read_tasks(self, parallelism: int) -> list[ReadTask]:
        return self._datasource.prepare_read(parallelism, **self._read_args)
