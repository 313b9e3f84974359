"""Lazy, streaming data sets over Arrow blocks."""

from __future__ import annotations

from aktis.data._execution.progress import set_progress_bars
from aktis.data._read.databases import read_mongo, read_sql
from aktis.data._read.files import read_datasource, read_parquet, read_parquet_bulk
from aktis.data._read.formats import (
    read_binary_files,
    read_csv,
    read_images,
    read_json,
    read_numpy,
    read_text,
    read_tfrecords,
    read_webdataset,
)
from aktis.data._read.frameworks import from_dask, from_huggingface, from_modin, from_spark, from_tf, from_torch
from aktis.data._read.memory import (
    from_arrow,
    from_arrow_refs,
    from_items,
    from_numpy,
    from_numpy_refs,
    from_pandas,
    from_pandas_refs,
    range,
    range_arrow,
    range_table,
    range_tensor,
)
from aktis.data.compute import ActorPoolStrategy, TaskPoolStrategy
from aktis.data.context import DataContext, DatasetContext, ExecutionOptions, ExecutionResources
from aktis.data.dataset import Dataset, MaterializedDataset
from aktis.data.dataset_pipeline import DatasetPipeline
from aktis.data.datasource import Datasink, Datasource, Reader, ReadTask, SaveMode
from aktis.data.iterator import DatasetIterator
from aktis.data.preprocessor import Preprocessor

__worker_modules__ = ("aktis.data._execution.preload",)
"""What aktis.init() has workers import before they are forked, if this package is imported by then."""

__all__ = [
    "ActorPoolStrategy",
    "DataContext",
    "Dataset",
    "DatasetContext",
    "DatasetIterator",
    "DatasetPipeline",
    "Datasink",
    "Datasource",
    "ExecutionOptions",
    "ExecutionResources",
    "MaterializedDataset",
    "Preprocessor",
    "ReadTask",
    "Reader",
    "SaveMode",
    "TaskPoolStrategy",
    "from_arrow",
    "from_arrow_refs",
    "from_dask",
    "from_huggingface",
    "from_items",
    "from_modin",
    "from_numpy",
    "from_numpy_refs",
    "from_pandas",
    "from_pandas_refs",
    "from_spark",
    "from_tf",
    "from_torch",
    "range",
    "range_arrow",
    "range_table",
    "range_tensor",
    "read_binary_files",
    "read_csv",
    "read_datasource",
    "read_images",
    "read_json",
    "read_mongo",
    "read_numpy",
    "read_parquet",
    "read_parquet_bulk",
    "read_sql",
    "read_text",
    "read_tfrecords",
    "read_webdataset",
    "set_progress_bars",
]
