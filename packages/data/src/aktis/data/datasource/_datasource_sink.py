"""Writing through a Datasource of the user's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aktis.data._blocks.types import Block
from aktis.data.datasource._sink import Sink

if TYPE_CHECKING:
    from aktis.data._transforms._base import TaskContext


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
