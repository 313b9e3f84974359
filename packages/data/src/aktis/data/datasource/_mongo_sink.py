"""Writing to MongoDB."""

from __future__ import annotations

from collections.abc import Iterator
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

_ROWS = 10_000  # documents of one insert_many()


class MongoSink(Sink):
    """Inserts each row as a document. What was inserted before a failure stays: give rows an ``_id`` to be able to repeat.

    Args:
        uri: of the server: "mongodb://user:password@host:port".
        database: its name. It must exist.
        collection: its name. It must exist.
    """

    name = "WriteMongo"

    def __init__(self, uri: str, database: str, collection: str) -> None:
        self._uri = uri
        self._database = database
        self._collection = collection

    def start(self) -> None:
        client = self._client()
        try:
            if self._database not in client.list_database_names():
                raise ValueError(f"{self.name}: there is no database {self._database!r} on the server")
            if self._collection not in client[self._database].list_collection_names():
                raise ValueError(f"{self.name}: there is no collection {self._collection!r} in {self._database!r}")
        finally:
            client.close()

    def _client(self) -> Any:
        try:
            import pymongo
        except ImportError as error:
            raise ImportError("MongoDB needs pymongo: pip install 'aktis-data[mongo]'") from error
        return pymongo.MongoClient(self._uri)

    def write(self, blocks: Iterator[Block], task: TaskContext) -> TaskResult:
        incoming = Incoming(blocks)
        client = self._client()
        try:
            target = client[self._database][self._collection]
            for block in incoming:
                table = named_columns(block)
                check_columns(table.schema, self.name, tensors=False)
                for start in range(0, table.num_rows, _ROWS):
                    target.insert_many(to_rows(table.slice(start, _ROWS)))
        except Exception as error:
            if error is incoming.error or isinstance(error, DataError):
                raise
            raise write_error(f"{self.name}: cannot write to {self._database}.{self._collection}", error) from error
        finally:
            client.close()
        return TaskResult((), incoming.rows, incoming.size, incoming.schema)
