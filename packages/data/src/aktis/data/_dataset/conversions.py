"""Conversions of a Dataset."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa

import aktis
from aktis.data._blocks import concat, empty_like, kind_of, to_batch
from aktis.data._blocks.types import TENSOR, Block
from aktis.data._dataset._base import DatasetBase
from aktis.data.datasource._columns import named_columns
from aktis.data.exceptions import SchemaError

if TYPE_CHECKING:
    import datasets
    import pandas as pd

    from aktis.data._execution.handle import BlockHandle

LIMIT = 100_000


class Conversions(DatasetBase):
    """Conversions of a Dataset to what other libraries work with. A column of plain items is called "value" there."""

    def to_pandas(self, limit: int | None = LIMIT) -> pd.DataFrame:
        """Everything as one pandas frame, in the memory of this process.

        Args:
            limit: most rows; None: any number.

        Raises:
            ValueError: there are more rows than ``limit``.
        """
        return to_pandas_frame(self._table(limit))

    def _table(self, limit: int | None) -> Block:
        """All rows as one block."""
        blocks: list[Block] = []
        rows = 0
        with self._stream() as stream:
            for handle in stream:
                block = handle.load()
                rows += block.num_rows
                if limit is not None and rows > limit:
                    raise ValueError(
                        f"the data set has more rows than limit={limit:,} allows. Everything would be in the memory of this "
                        f"process: if that is fine, pass limit=None; else take less, with .limit({limit})"
                    )
                blocks.append(block)
        if blocks:
            return concat(blocks)
        schema = self._known_schema()
        return empty_like(schema if schema is not None else pa.schema([]))

    def _known_schema(self) -> pa.Schema | None:
        schema: pa.Schema | None = self._schema()  # type: ignore[attr-defined]  # of Inspection
        return schema

    def to_pandas_refs(self) -> list[aktis.ObjectRef[pd.DataFrame]]:
        """A reference to a pandas frame for each block."""
        return self._converted(to_pandas_frame)

    def to_numpy_refs(self, *, column: str | None = None) -> list[aktis.ObjectRef[Any]]:
        """A reference for each block: to an array of plain items, of arrays, or of one column, else to a dict of arrays.

        Args:
            column: the only one that is wanted.
        """
        return self._converted(functools.partial(_to_numpy, column=column))

    def to_arrow_refs(self) -> list[aktis.ObjectRef[pa.Table]]:
        """A reference to an Arrow table for each block: without a copy, where data are in the object store."""
        refs = []
        for handle in self._handles():
            schema = handle.metadata.schema
            as_it_is = schema is not None and kind_of(schema) != "simple"
            refs.append(handle.ref() if as_it_is else _convert(handle, named_columns))
        return refs

    def _converted(self, function: Callable[[Block], Any]) -> list[aktis.ObjectRef[Any]]:
        return [_convert(handle, function) for handle in self._handles()]

    def to_dask(self, meta: Any = None, verify_meta: bool = True) -> Any:
        """A Dask DataFrame with a partition for each block (``pip install 'aktis-data[dask]'``).

        Args:
            meta: an empty frame with the columns and types, as Dask knows it. None: from the schema.
            verify_meta: check each partition against ``meta`` when it is computed.
        """
        try:
            import dask.dataframe as dd
        except ImportError as error:
            raise ImportError("to_dask needs Dask: pip install 'aktis-data[dask]'") from error
        handles = self._handles()
        if meta is None:
            schema = self._known_schema()
            meta = to_pandas_frame(empty_like(schema if schema is not None else pa.schema([])))
        if not handles:
            return dd.from_pandas(meta, npartitions=1)
        parts = [_Partition(handle) for handle in handles]
        return dd.from_map(_load_partition, parts, meta=meta, enforce_metadata=verify_meta)

    def to_modin(self) -> Any:
        """A Modin DataFrame, where Modin is installed."""
        try:
            import modin.pandas
        except ImportError as error:
            raise ImportError("to_modin needs Modin: pip install modin") from error
        return modin.pandas.DataFrame(self.to_pandas(limit=None))

    def to_spark(self, spark: Any) -> Any:
        """A Spark DataFrame.

        Args:
            spark: the ``SparkSession`` to make it in. Data go through the memory of this process.
        """
        if not hasattr(spark, "createDataFrame"):
            raise TypeError(f"spark is a pyspark.sql.SparkSession, got {spark!r}")
        return spark.createDataFrame(self.to_pandas(limit=None))

    def to_huggingface(self) -> datasets.Dataset:
        """A dataset of Hugging Face's library (``pip install 'aktis-data[huggingface]'``), in the memory of this process."""
        try:
            import datasets
        except ImportError as error:
            raise ImportError("to_huggingface needs datasets: pip install 'aktis-data[huggingface]'") from error
        table = named_columns(self._table(None))
        return datasets.Dataset(datasets.table.InMemoryTable(table.replace_schema_metadata(None)))


def to_pandas_frame(block: Block) -> pd.DataFrame:
    """A frame of any block."""
    return to_batch(named_columns(block), "pandas")


def _to_numpy(block: Block, *, column: str | None) -> Any:
    kind = kind_of(block)
    if kind == "tensor" and column in (None, TENSOR):
        return to_batch(block, "default")
    block = named_columns(block)
    if column is not None:
        if column not in block.column_names:
            raise SchemaError(f"there is no column {column!r}; the columns are {block.column_names}")
        block = block.select([column])
    arrays = to_batch(block, "numpy")
    if isinstance(arrays, dict) and (column is not None or kind == "simple"):
        return next(iter(arrays.values()))
    return arrays


def _convert(handle: BlockHandle, function: Callable[[Block], Any]) -> aktis.ObjectRef[Any]:
    """A reference to ``function(block)``: computed where the block is."""
    if isinstance(handle.where, pa.Table):
        return aktis.put(function(handle.where))
    converted: aktis.ObjectRef[Any] = _convert_task().remote(function, handle.where)
    return converted


@functools.cache
def _convert_task() -> Any:
    def convert_block(function: Callable[[Block], Any], block: Block) -> Any:
        return function(block)

    return aktis.remote(convert_block)


class _Partition:
    """A block in a Dask graph, which is not to look into it to name it."""

    def __init__(self, handle: BlockHandle) -> None:
        self.handle = handle
        self._token = uuid.uuid4().hex

    def __dask_tokenize__(self) -> str:
        return self._token


def _load_partition(part: _Partition) -> pd.DataFrame:
    return to_pandas_frame(part.handle.load())
