"""Base classes of collate functions for :meth:`aktis.data.Dataset.iter_torch_batches`."""

from __future__ import annotations

from aktis.data._iteration.collate import ArrowBatchCollateFn, CollateFn, NumpyBatchCollateFn, PandasBatchCollateFn

__all__ = ["ArrowBatchCollateFn", "CollateFn", "NumpyBatchCollateFn", "PandasBatchCollateFn"]
