"""Reads of files, one function per format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from aktis.data._plan.logical import Filter
from aktis.data._read._common import read_dataset
from aktis.data.dataset import Dataset
from aktis.data.datasource._base import Datasource
from aktis.data.datasource._listing import Paths
from aktis.data.datasource.file_meta_provider import (
    BaseFileMetadataProvider,
    FastFileMetadataProvider,
    FileSelection,
    FileShuffleConfig,
    PathFilter,
)
from aktis.data.datasource.parquet_datasource import parquet_reader
from aktis.data.datasource.partitioning import Partitioning

Shuffle = Literal["files"] | FileShuffleConfig | None
HIVE = Partitioning("hive")


def read_datasource(
    datasource: Datasource,
    *,
    parallelism: int = -1,
    ray_remote_args: Mapping[str, Any] | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    **read_args: Any,
) -> Dataset:
    """A dataset of anything: see :class:`aktis.data.datasource.Datasource`.

    Args:
        datasource: the source.
        parallelism: how many read tasks. Default: what the source finds right.
        ray_remote_args: options of the read tasks (``num_cpus``, ``resources`` ...).
        concurrency: most read tasks at a time.
        override_num_blocks: the same as ``parallelism``.
        read_args: passed to ``datasource.create_reader``.
    """
    return read_dataset(
        datasource.create_reader(**read_args),
        f"Read{datasource.get_name()}",
        parallelism=parallelism,
        override_num_blocks=override_num_blocks,
        concurrency=concurrency,
        remote_args=ray_remote_args,
    )


def read_parquet(
    paths: Paths,
    *,
    filesystem: Any = None,
    columns: Sequence[str] | None = None,
    filter: Any = None,
    parallelism: int = -1,
    ray_remote_args: Mapping[str, Any] | None = None,
    tensor_column_schema: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]] | None = None,
    meta_provider: BaseFileMetadataProvider | None = None,
    partition_filter: PathFilter | None = None,
    partitioning: Partitioning | None = HIVE,
    shuffle: Shuffle = None,
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    file_extensions: Sequence[str] | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    on_error: Literal["raise", "skip"] | None = None,
    **arrow_parquet_args: Any,
) -> Dataset:
    """Read Parquet files.

    Only what is needed is read: columns that later steps select, row groups that can satisfy a filter, rows up to a
    limit. Counting reads footers only. Big files are read by several tasks, many small ones by one.

    Args:
        paths: files, directories (searched recursively), patterns or URIs; one or several. ``local://`` before a path:
            on the driver's machine only.
        filesystem: a pyarrow or fsspec file system. Default: what the scheme of the paths says.
        columns: only these, in this order.
        filter: only the rows for which this expression (of pyarrow, or of :mod:`aktis.data.expressions`) is true.
        parallelism: how many tasks and blocks. Default: tasks of about ``DatasetContext.read_task_size`` bytes.
        ray_remote_args: options of the read tasks (``num_cpus``, ``resources`` ...).
        tensor_column_schema: name to (dtype, shape): columns of bytes that are arrays.
        meta_provider: finds files; a ``FastFileMetadataProvider`` takes the paths as they are.
        partition_filter: a function from paths to those that are to be read, such as a ``PathPartitionFilter``.
        partitioning: where columns are in paths; None: nowhere.
        shuffle: ``"files"`` or ``FileShuffleConfig(seed)``: read files in random order.
        include_paths: add a column ``path``.
        ignore_missing_paths: leave out paths that lead to nothing.
        file_extensions: only files that end so.
        concurrency: most read tasks at a time.
        override_num_blocks: the same as ``parallelism``.
        on_error: ``"skip"`` leaves out files that cannot be read. Default: ``DatasetContext.on_unreadable_file``.
        arrow_parquet_args: for ``pyarrow.parquet.ParquetFile``; also ``schema``, ``batch_size`` (rows) and ``use_threads``.

    Raises:
        FileNotFoundError: at once, for a path that leads to nothing.
        ReadError: when the dataset is executed: a file that cannot be read.
        SchemaError: columns that no file has, or that differ between files.
    """
    selection = FileSelection(meta_provider, partition_filter, file_extensions, ignore_missing_paths, shuffle)
    predicate = as_arrow_expression(filter)
    afterwards = filter is not None and predicate is None  # it does something that Arrow's expressions cannot
    reader = parquet_reader(
        paths,
        filesystem,
        columns=None if afterwards else columns,
        filter=predicate,
        selection=selection,
        partitioning=partitioning,
        include_paths=include_paths,
        tensor_column_schema=tensor_column_schema,
        on_error=on_error,
        **arrow_parquet_args,
    )
    dataset = read_dataset(
        reader,
        "ReadParquet",
        parallelism=parallelism,
        override_num_blocks=override_num_blocks,
        concurrency=concurrency,
        remote_args=ray_remote_args,
        driver_only=reader.files.driver_only,
    )
    if afterwards:
        dataset = dataset._with(Filter(inputs=(dataset._root,), predicate=filter))
        dataset = dataset if columns is None else dataset.select_columns(list(columns))
    return dataset


def read_parquet_bulk(
    paths: Paths,
    *,
    filesystem: Any = None,
    columns: Sequence[str] | None = None,
    parallelism: int = -1,
    ray_remote_args: Mapping[str, Any] | None = None,
    arrow_open_file_args: Mapping[str, Any] | None = None,
    tensor_column_schema: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]] | None = None,
    meta_provider: BaseFileMetadataProvider | None = None,
    partition_filter: PathFilter | None = None,
    **arrow_parquet_args: Any,
) -> Dataset:
    """Read many Parquet files whose paths are known: nothing is listed, no directories, no sizes.

    :func:`read_parquet` is about as fast for files on disks. This one saves requests to object stores.
    """
    return read_parquet(
        paths,
        filesystem=filesystem,
        columns=columns,
        parallelism=parallelism,
        ray_remote_args=ray_remote_args,
        tensor_column_schema=tensor_column_schema,
        meta_provider=meta_provider or FastFileMetadataProvider(),
        partition_filter=partition_filter,
        **{**dict(arrow_open_file_args or {}), **arrow_parquet_args},
    )


def as_arrow_expression(predicate: Any) -> Any:
    """A pyarrow expression from one, or from one of ours; None if ours does what Arrow's cannot."""
    import pyarrow.compute as pc

    from aktis.data.expressions import Expr

    if predicate is None or isinstance(predicate, pc.Expression):
        return predicate
    if isinstance(predicate, Expr):
        return predicate.to_pyarrow()
    raise TypeError(f"filter is an expression of pyarrow or of aktis.data.expressions, got {predicate!r}")
