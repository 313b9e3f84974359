"""Writing to databases through Python's DB-API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from aktis.data._blocks import to_rows
from aktis.data._blocks.types import Block
from aktis.data.datasource._columns import check_columns, named_columns
from aktis.data.datasource._file_sink import TaskResult
from aktis.data.datasource._sink import Incoming, Sink
from aktis.data.datasource._staging import write_error
from aktis.data.exceptions import DataError

if TYPE_CHECKING:
    from aktis.data._transforms._base import TaskContext

_ROWS = 10_000  # of one executemany()


class SQLSink(Sink):
    """Executes a statement for each row, in one transaction per task.

    A task that fails leaves nothing, but tasks that were committed before it stay, and a task whose worker dies after its
    commit and before it could report that is run again. Where that matters, write to a fresh table, or use a statement that
    may be repeated (``INSERT ... ON CONFLICT DO NOTHING``).

    Args:
        sql: the statement, with one placeholder per column, in the style of the database's module.
        connection_factory: opens a connection; called in each task.
    """

    name = "WriteSQL"

    def __init__(self, sql: str, connection_factory: Callable[[], Any]) -> None:
        if not callable(connection_factory):
            raise TypeError(f"connection_factory is a function that opens a connection, got {connection_factory!r}")
        self._sql = sql
        self._connect = connection_factory

    def write(self, blocks: Iterator[Block], task: TaskContext) -> TaskResult:
        incoming = Incoming(blocks)
        connection = None
        try:
            connection = self._connect()
            cursor = connection.cursor()
            for block in incoming:
                table = named_columns(block)
                check_columns(table.schema, self.name, tensors=False)
                for start in range(0, table.num_rows, _ROWS):
                    rows = to_rows(table.slice(start, _ROWS))
                    cursor.executemany(self._sql, [tuple(row.values()) for row in rows])
            cursor.close()
            connection.commit()
        except BaseException as error:
            if connection is not None:
                self._roll_back(connection)
            if (
                error is incoming.error
                or not isinstance(error, Exception)
                or isinstance(error, (DataError, ImportError))
            ):
                raise
            raise write_error(f"{self.name}: {self._sql!r} failed", error) from error
        finally:
            if connection is not None:
                connection.close()
        return TaskResult((), incoming.rows, incoming.size, incoming.schema)

    @staticmethod
    def _roll_back(connection: Any) -> None:
        try:
            connection.rollback()
        except Exception:  # the connection is broken: the database rolls back by itself
            pass
