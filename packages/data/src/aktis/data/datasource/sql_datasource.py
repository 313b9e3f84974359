"""Tables of databases, through Python's DB-API."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Union

import pyarrow as pa

from aktis.data._blocks import from_rows
from aktis.data._blocks.types import Block, BlockMetadata
from aktis.data._cpus import cpu_count
from aktis.data.datasource._base import Datasource, Reader, ReadTask
from aktis.data.exceptions import ReadError

__all__ = ["SQLDatasource"]

_ROWS = 50_000  # fetched at a time
_HASHES = ("MD5", "MOD", "ABS_MOD", "HASH", "CRC32")

Parameters = Union[Sequence[Any], Mapping[str, Any], None]


class SQLDatasource(Datasource):
    """The rows that a query gives."""

    def get_name(self) -> str:
        return "SQL"

    def create_reader(self, **read_args: Any) -> SQLReader:
        """Takes what :func:`aktis.data.read_sql` takes."""
        return SQLReader(**read_args)


@dataclass(frozen=True)
class SQLReader(Reader):
    """One task for the query as it is; with ``shard_keys`` several, each with a condition of its own."""

    chooses_parallelism = True

    sql: str
    connection_factory: Callable[[], Any]
    sql_params: Parameters = None
    shard_keys: Sequence[str] | None = None
    shard_hash_fn: str = "MOD"

    def __post_init__(self) -> None:
        if not callable(self.connection_factory):
            raise TypeError(
                f"connection_factory is a function that opens a connection, got {self.connection_factory!r}; "
                "connections themselves cannot be sent to tasks"
            )
        if self.shard_keys is not None and (isinstance(self.shard_keys, str) or not self.shard_keys):
            raise ValueError(f"shard_keys is a list of columns, got {self.shard_keys!r}")

    def describe(self) -> str:
        return " ".join(self.sql.split())

    def get_read_tasks(self, parallelism: int = -1) -> list[ReadTask]:
        metadata = BlockMetadata(None, None, None, [], None, f"query {self.describe()[:100]!r}")
        shards = (parallelism if parallelism > 0 else 2 * cpu_count()) if self.shard_keys else 1
        return [ReadTask(partial(self._read, self._query(i, shards)), metadata) for i in range(shards)]

    def _query(self, shard: int, shards: int) -> str:
        query = self.sql.strip().rstrip(";")
        if shards == 1 or not self.shard_keys:
            return query
        keys = list(self.shard_keys)
        name = self.shard_hash_fn.upper()
        if name in ("MOD", "ABS_MOD"):
            if len(keys) != 1:
                raise ValueError(f"shard_hash_fn={self.shard_hash_fn!r} takes one integer column, got {keys}")
            number = f"ABS({keys[0]}) % {shards}"
        else:
            value = keys[0] if len(keys) == 1 else f"CONCAT({', '.join(keys)})"
            number = f"ABS(MOD({self.shard_hash_fn}({value}), {shards}))"
        condition = f"{number} = {shard}"
        if shard == 0:  # rows without a key belong to one shard, too
            condition += "".join(f" OR {key} IS NULL" for key in keys)
        return f"SELECT * FROM ({query}) AS shard WHERE {condition}"

    def _read(self, query: str) -> Iterator[Block]:
        try:
            connection = self.connection_factory()
        except Exception as error:
            raise ReadError(f"connection_factory failed: {type(error).__name__}: {error}") from error
        with closing(connection), closing(connection.cursor()) as cursor:
            try:
                cursor.execute(*((query,) if self.sql_params is None else (query, self.sql_params)))
                yield from self._fetch(cursor)
            except GeneratorExit:
                raise
            except Exception as error:
                raise ReadError(f"The query {query!r} failed: {type(error).__name__}: {error}") from error

    def _fetch(self, cursor: Any) -> Iterator[Block]:
        names = [column[0] for column in cursor.description or ()]
        if not names:
            raise ValueError("it gives no rows: a query that reads is needed")
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"it has several columns of the name {', '.join(sorted(twice))}: use AS")
        schema: pa.Schema | None = None
        while rows := cursor.fetchmany(_ROWS):
            table = from_rows([dict(zip(names, row)) for row in rows])
            schema = table.schema
            yield table
        if schema is None:
            yield pa.table({name: pa.nulls(0) for name in names})
