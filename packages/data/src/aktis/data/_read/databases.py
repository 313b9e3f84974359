"""Reads of databases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from aktis.data._read._common import read_dataset
from aktis.data.dataset import Dataset
from aktis.data.datasource.mongo_datasource import MongoDatasource
from aktis.data.datasource.sql_datasource import Parameters, SQLDatasource


def read_sql(
    sql: str,
    connection_factory: Callable[[], Any],
    *,
    sql_params: Parameters = None,
    shard_keys: Sequence[str] | None = None,
    shard_hash_fn: str = "MOD",
    parallelism: int = -1,
    ray_remote_args: Mapping[str, Any] | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
) -> Dataset:
    """Read what a query gives, through any DB-API 2 package (``sqlite3``, ``psycopg`` ...).

    One task runs the query as it is, and streams its rows. With ``shard_keys``, several tasks each read the rows whose
    key has a certain remainder.

    Args:
        sql: the query.
        connection_factory: a function that opens a connection. It is called in the tasks.
        sql_params: parameters of the query, in the style of the package.
        shard_keys: columns of the result that say which rows a task reads.
        shard_hash_fn: ``"MOD"`` for one integer column; else a function of the database that gives an integer.
        parallelism: how many tasks, with ``shard_keys``.
        ray_remote_args: options of the read tasks.
        concurrency: most read tasks (so connections) at a time.
        override_num_blocks: the same as ``parallelism``.

    Raises:
        ReadError: when the dataset is executed: the connection or the query failed.
    """
    reader = SQLDatasource().create_reader(
        sql=sql,
        connection_factory=connection_factory,
        sql_params=sql_params,
        shard_keys=shard_keys,
        shard_hash_fn=shard_hash_fn,
    )
    return read_dataset(
        reader,
        "ReadSQL",
        parallelism=parallelism,
        override_num_blocks=override_num_blocks,
        concurrency=concurrency,
        remote_args=ray_remote_args,
    )


def read_mongo(
    uri: str,
    database: str,
    collection: str,
    *,
    pipeline: Sequence[Mapping[str, Any]] | None = None,
    schema: pa.Schema | None = None,
    parallelism: int = -1,
    ray_remote_args: Mapping[str, Any] | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    **mongo_args: Any,
) -> Dataset:
    """Read the documents of a MongoDB collection.

    The collection is cut by ``_id``; the pipeline runs in each part on its own. Object ids become strings.

    Args:
        uri: such as ``mongodb://user:password@host:27017/?authSource=admin``.
        database: which database.
        collection: which collection of it.
        pipeline: stages of an aggregation. Stages that look at all documents (``$group``, ``$sort``) need ``parallelism=1``.
        schema: of the result. Default: what is found, field by field.
        parallelism: how many tasks.
        ray_remote_args: options of the read tasks.
        concurrency: most read tasks at a time.
        override_num_blocks: the same as ``parallelism``.
        mongo_args: for ``pymongo.MongoClient``.

    Raises:
        ValueError: there is no such database or collection.
        ReadError: the server refused, or went away.
    """
    reader = MongoDatasource().create_reader(
        uri=uri, database=database, collection=collection, pipeline=pipeline, schema_=schema, mongo_args=mongo_args
    )
    return read_dataset(
        reader,
        "ReadMongo",
        parallelism=parallelism,
        override_num_blocks=override_num_blocks,
        concurrency=concurrency,
        remote_args=ray_remote_args,
    )
