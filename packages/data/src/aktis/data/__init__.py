"""Lazy, streaming data sets over Arrow blocks."""

from __future__ import annotations

from aktis.data.context import DataContext, DatasetContext
from aktis.data.dataset import Dataset, MaterializedDataset

__all__ = ["DataContext", "Dataset", "DatasetContext", "MaterializedDataset"]
