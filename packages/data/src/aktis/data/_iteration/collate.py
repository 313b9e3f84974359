"""Collate functions that say which kind of batch they take."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa


class CollateFn(ABC):
    """Turns a batch into what a training loop wants. Subclass one of the classes below, which say what a batch is."""

    batch_format: ClassVar[str] = "numpy"

    @abstractmethod
    def __call__(self, batch: Any) -> Any:
        """What the loop gets for a batch: a tensor, or a list, tuple or dict of tensors, or anything else."""


class NumpyBatchCollateFn(CollateFn):
    """Gets a dict of arrays (one array for tensor data)."""

    batch_format = "numpy"

    @abstractmethod
    def __call__(self, batch: dict[str, np.ndarray]) -> Any: ...


class ArrowBatchCollateFn(CollateFn):
    """Gets an Arrow table: nothing is copied before."""

    batch_format = "pyarrow"

    @abstractmethod
    def __call__(self, batch: pa.Table) -> Any: ...


class PandasBatchCollateFn(CollateFn):
    """Gets a pandas frame."""

    batch_format = "pandas"

    @abstractmethod
    def __call__(self, batch: pd.DataFrame) -> Any: ...


def batch_format_of(collate: Callable[[Any], Any]) -> str:
    """What a collate function takes: plain functions get "numpy" batches."""
    return collate.batch_format if isinstance(collate, CollateFn) else "numpy"
