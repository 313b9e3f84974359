"""MongoDB collections, through pymongo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from aktis.data._blocks import from_rows
from aktis.data._blocks.types import Block, BlockMetadata
from aktis.data._cpus import cpu_count
from aktis.data.datasource._base import Datasource, Reader, ReadTask
from aktis.data.datasource._source import cast_to
from aktis.data.exceptions import ReadError

__all__ = ["MongoDatasource"]

_DOCUMENTS = 10_000  # that become one table
_SAMPLED_PER_TASK = 20  # documents, to find the limits between tasks


class MongoDatasource(Datasource):
    """The documents of a collection, or what a pipeline makes of them."""

    def get_name(self) -> str:
        return "Mongo"

    def create_reader(self, **read_args: Any) -> MongoReader:
        """Takes what :func:`aktis.data.read_mongo` takes."""
        import_pymongo()
        return MongoReader(**read_args)


def import_pymongo() -> Any:
    """The module, or an error that says how to install it."""
    try:
        import pymongo
    except ImportError as error:
        raise ImportError("MongoDB needs pymongo: pip install 'aktis-data[mongo]'") from error
    return pymongo


@dataclass(frozen=True)
class MongoReader(Reader):
    """Cuts a collection by ``_id``. A pipeline runs in each part on its own, so it should work on single documents."""

    uri: str
    database: str
    collection: str
    pipeline: Sequence[Mapping[str, Any]] | None = None
    schema_: pa.Schema | None = None
    mongo_args: Mapping[str, Any] = field(default_factory=dict)

    chooses_parallelism = True

    def schema(self) -> pa.Schema | None:
        return self.schema_

    def describe(self) -> str:
        return f"{self.database}.{self.collection}"

    def get_read_tasks(self, parallelism: int = -1) -> list[ReadTask]:
        client = import_pymongo().MongoClient(self.uri, **self.mongo_args)
        try:
            if self.database not in client.list_database_names():
                raise ValueError(f"There is no database {self.database!r} at {_without_password(self.uri)}")
            if self.collection not in client[self.database].list_collection_names():
                raise ValueError(f"There is no collection {self.collection!r} in the database {self.database!r}")
            source = client[self.database][self.collection]
            bounds = self._bounds(source, parallelism if parallelism > 0 else 2 * cpu_count())
        finally:
            client.close()
        metadata = BlockMetadata(None, None, self.schema_, [], None, f"{self.database}.{self.collection}")
        ends = [None, *bounds, None]
        return [ReadTask(partial(self._read, low, high), metadata) for low, high in zip(ends, ends[1:])]

    def _bounds(self, source: Any, tasks: int) -> list[Any]:
        """Values of ``_id`` that cut the collection into about equal parts."""
        if tasks <= 1:
            return []
        sample = source.aggregate([{"$sample": {"size": tasks * _SAMPLED_PER_TASK}}, {"$project": {"_id": 1}}])
        ids = [document["_id"] for document in sample]
        if len({type(value) for value in ids}) != 1:  # no common order in Python; MongoDB's is by type first
            return []
        ids = sorted(set(ids))
        tasks = min(tasks, len(ids))
        return [ids[len(ids) * i // tasks] for i in range(1, tasks)]

    def _read(self, low: Any, high: Any) -> Iterator[Block]:
        pymongo = import_pymongo()
        limits = {**({} if low is None else {"$gte": low}), **({} if high is None else {"$lt": high})}
        stages: list[Mapping[str, Any]] = [{"$match": {"_id": limits}}] if limits else []
        client = pymongo.MongoClient(self.uri, **self.mongo_args)
        try:
            waiting: list[dict[str, Any]] = []
            for document in client[self.database][self.collection].aggregate([*stages, *(self.pipeline or [])]):
                waiting.append(document)
                if len(waiting) >= _DOCUMENTS:
                    yield self._table(waiting)
                    waiting = []
            yield self._table(waiting)
        except pymongo.errors.PyMongoError as error:
            raise ReadError(f"Cannot read {self.database}.{self.collection}: {error}") from error
        finally:
            client.close()

    def _table(self, documents: list[dict[str, Any]]) -> Block:
        names = self.schema_.names if self.schema_ is not None else dict.fromkeys(k for d in documents for k in d)
        rows = [{name: _plain(document.get(name)) for name in names} for document in documents]
        if self.schema_ is None:
            return from_rows(rows)
        if not rows:
            return self.schema_.empty_table()
        return cast_to(from_rows(rows), self.schema_, f"{self.database}.{self.collection}")


def _plain(value: Any) -> Any:
    """Values that only MongoDB has as the nearest that Arrow has: identifiers become their hexadecimal digits."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    kind = type(value)
    if kind.__module__.startswith("bson"):
        convert = getattr(value, "to_decimal", None)
        if convert is not None:
            return convert()
        return int(value) if isinstance(value, int) else bytes(value) if isinstance(value, bytes) else str(value)
    return value


def _without_password(uri: str) -> str:
    head, mark, tail = uri.partition("://")
    return f"{head}{mark}{tail.rpartition('@')[2]}"
