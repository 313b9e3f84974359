"""Lazy, streaming data sets over Arrow blocks."""

from __future__ import annotations

from aktis.data._read.files import read_datasource, read_parquet, read_parquet_bulk
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
from aktis.data.context import DataContext, DatasetContext
from aktis.data.dataset import Dataset, MaterializedDataset
from aktis.data.datasource import Datasource, Reader, ReadTask

__all__ = [
    "DataContext",
    "Dataset",
    "DatasetContext",
    "Datasource",
    "MaterializedDataset",
    "ReadTask",
    "Reader",
    "from_arrow",
    "from_arrow_refs",
    "from_items",
    "from_numpy",
    "from_numpy_refs",
    "from_pandas",
    "from_pandas_refs",
    "range",
    "range_arrow",
    "range_table",
    "range_tensor",
    "read_datasource",
    "read_parquet",
    "read_parquet_bulk",
]
