"""Readers and sinks, one file per format, and what it takes to write your own."""

from __future__ import annotations

from aktis.data._blocks.types import Block, BlockMetadata
from aktis.data.datasource._base import Datasource, Reader, ReadTask
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
from aktis.data.datasource.parquet_datasource import ParquetBaseDatasource, ParquetDatasource
from aktis.data.datasource.partitioning import (
    Partitioning,
    PartitionStyle,
    PathPartitionEncoder,
    PathPartitionFilter,
    PathPartitionParser,
)
from aktis.data.datasource.range_datasource import RandomIntRowDatasource, RangeDatasource

__all__ = [
    "BaseFileMetadataProvider",
    "Block",
    "BlockMetadata",
    "Datasource",
    "DefaultFileMetadataProvider",
    "DefaultParquetMetadataProvider",
    "FastFileMetadataProvider",
    "FileExtensionFilter",
    "FileMetadataProvider",
    "FileShuffleConfig",
    "ParquetBaseDatasource",
    "ParquetDatasource",
    "ParquetMetadataProvider",
    "PartitionStyle",
    "Partitioning",
    "PathPartitionEncoder",
    "PathPartitionFilter",
    "PathPartitionParser",
    "RandomIntRowDatasource",
    "RangeDatasource",
    "ReadTask",
    "Reader",
]
