"""Writing through a Datasource of the user's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from aktis.data._blocks.types import Block
from aktis.data.datasource._base import Datasource
from aktis.data.datasource._sink import Sink

if TYPE_CHECKING:
    from aktis.data._transforms._base import TaskContext


class DummyOutputDatasource(Datasource):
    """Takes rows and forgets them: for tests and measurements. ``rows_written``, ``num_ok`` and ``num_failed`` count."""

    def __init__(self) -> None:
        self.rows_written = 0
        self.num_ok = 0
        self.num_failed = 0

    def write(self, blocks: Iterable[Block], **write_args: Any) -> int:
        """In a task: the number of rows."""
        return sum(block.num_rows for block in blocks)

    def on_write_complete(self, write_results: list[Any], **kwargs: Any) -> None:
        self.rows_written += sum(write_results)
        self.num_ok += 1

    def on_write_failed(self, write_results: list[Any], error: Exception, **kwargs: Any) -> None:
        self.num_failed += 1


class DatasourceSink(Sink):
    """For a Datasource that defines ``write(blocks, **write_args)``: called in each task, streaming."""

    def __init__(self, datasource: Any, write_args: dict[str, Any]) -> None:
        self._datasource = datasource
        self._write_args = write_args
        self.name = f"Write{datasource.get_name()}"

    def write(self, blocks: Iterator[Block], task: TaskContext) -> Any:
        return self._datasource.write(blocks, **self._write_args)

    def commit(self, results: list[Any]) -> None:
        self._datasource.on_write_complete(results)

    def abort(self, error: BaseException) -> None:
        self._datasource.on_write_failed([], error)
