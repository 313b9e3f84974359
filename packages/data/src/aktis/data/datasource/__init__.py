"""Readers and sinks, one file per format, and what it takes to write your own."""

from __future__ import annotations

from aktis.data._blocks.types import Block, BlockMetadata
from aktis.data.datasource._base import Datasource, Reader, ReadTask
from aktis.data.datasource._datasource_sink import DummyOutputDatasource
from aktis.data.datasource._sink import Sink
from aktis.data.datasource._staging import SaveMode, TargetExistsError
from aktis.data.datasource.binary_datasource import BinaryDatasource
from aktis.data.datasource.csv_datasource import CSVDatasource
from aktis.data.datasource.datasink import (
    BlockBasedFileDatasink,
    Datasink,
    RowBasedFileDatasink,
    WriteContext,
    WriteResult,
)
from aktis.data.datasource.file_based_datasource import FileBasedDatasource
from aktis.data.datasource.file_meta_provider import (
    BaseFileMetadataProvider,
    DefaultFileMetadataProvider,
    DefaultParquetMetadataProvider,
    FastFileMetadataProvider,
    FileExtensionFilter,
    FileMetadataProvider,
    FileShuffleConfig,
    ParquetMetadataProvider,
)
from aktis.data.datasource.filenames import BlockWritePathProvider, DefaultBlockWritePathProvider, FilenameProvider
from aktis.data.datasource.image_datasource import ImageDatasource
from aktis.data.datasource.json_datasource import JSONDatasource
from aktis.data.datasource.mongo_datasource import MongoDatasource
from aktis.data.datasource.numpy_datasource import NumpyDatasource
from aktis.data.datasource.parquet_datasource import ParquetBaseDatasource, ParquetDatasource
from aktis.data.datasource.partitioning import (
    Partitioning,
    PartitionStyle,
    PathPartitionEncoder,
    PathPartitionFilter,
    PathPartitionParser,
)
from aktis.data.datasource.range_datasource import RandomIntRowDatasource, RangeDatasource
from aktis.data.datasource.sql_datasource import SQLDatasource
from aktis.data.datasource.text_datasource import TextDatasource
from aktis.data.datasource.tfrecords_datasource import TFRecordDatasource
from aktis.data.datasource.webdataset_datasource import WebDatasetDatasource

__all__ = [
    "BaseFileMetadataProvider",
    "BinaryDatasource",
    "Block",
    "BlockBasedFileDatasink",
    "BlockMetadata",
    "BlockWritePathProvider",
    "CSVDatasource",
    "Datasink",
    "Datasource",
    "DefaultBlockWritePathProvider",
    "DefaultFileMetadataProvider",
    "DefaultParquetMetadataProvider",
    "DummyOutputDatasource",
    "FastFileMetadataProvider",
    "FileBasedDatasource",
    "FileExtensionFilter",
    "FileMetadataProvider",
    "FilenameProvider",
    "FileShuffleConfig",
    "ImageDatasource",
    "JSONDatasource",
    "MongoDatasource",
    "NumpyDatasource",
    "ParquetBaseDatasource",
    "ParquetDatasource",
    "ParquetMetadataProvider",
    "Partitioning",
    "PartitionStyle",
    "PathPartitionEncoder",
    "PathPartitionFilter",
    "PathPartitionParser",
    "RandomIntRowDatasource",
    "RangeDatasource",
    "Reader",
    "ReadTask",
    "RowBasedFileDatasink",
    "SaveMode",
    "Sink",
    "SQLDatasource",
    "TargetExistsError",
    "TextDatasource",
    "TFRecordDatasource",
    "WebDatasetDatasource",
    "WriteContext",
    "WriteResult",
]
