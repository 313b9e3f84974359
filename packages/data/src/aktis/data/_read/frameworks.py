"""Datasets of what other libraries hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from aktis.data._blocks import from_batch, from_rows
from aktis.data._blocks.types import Block, BlockMetadata
from aktis.data._read._common import blocks_dataset, capped, num_blocks, read_dataset
from aktis.data._read.memory import from_items
from aktis.data.dataset import Dataset
from aktis.data.datasource._base import Reader, ReadTask
from aktis.data.datasource._source import plain_table

_ROWS = 1000  # taken from an iterable at a time


def from_dask(df: Any) -> Dataset:
    """A dataset of a Dask frame: each partition is a block, which is computed in a task when it is needed.

    Raises:
        TypeError: it is no ``dask.dataframe.DataFrame``.
    """
    if not hasattr(df, "to_delayed"):
        raise TypeError(f"from_dask takes a dask.dataframe.DataFrame, got {type(df).__name__}")
    return read_dataset(_DaskReader(df), "FromDask")


class _DaskReader(Reader):
    chooses_parallelism = True

    def __init__(self, frame: Any) -> None:
        self._partitions = list(frame.to_delayed())

    def get_read_tasks(self, parallelism: int = -1) -> list[ReadTask]:
        count = len(self._partitions)
        return [
            ReadTask(_Compute(part), BlockMetadata(None, None, None, [], None, f"partition {i} of {count}"))
            for i, part in enumerate(self._partitions)
        ]


class _Compute:
    """Compute one partition, in this very process."""

    def __init__(self, partition: Any) -> None:
        self._partition = partition

    def __call__(self) -> Iterator[Any]:
        frame = self._partition.compute(scheduler="synchronous")
        yield from_batch(frame if hasattr(frame, "columns") else frame.to_frame())


def from_modin(df: Any) -> Dataset:
    """A dataset of a Modin frame.

    Raises:
        TypeError: it is no ``modin.pandas.DataFrame``.
    """
    convert = getattr(df, "_to_pandas", None) or (getattr(df, "modin", None) and df.modin.to_pandas)
    if convert is None:
        raise TypeError(f"from_modin takes a modin.pandas.DataFrame, got {type(df).__name__}")
    return blocks_dataset(capped(from_batch(convert())), "FromModin")


def from_spark(df: Any, *, parallelism: int | None = None, override_num_blocks: int | None = None) -> Dataset:
    """A dataset of a Spark frame, which Spark computes now and hands over as Arrow data.

    Args:
        df: a ``pyspark.sql.DataFrame``.
        parallelism: how many blocks. Default: as many as they need to be of a good size.
        override_num_blocks: the same.
    """
    if hasattr(df, "toArrow"):  # Spark 4
        table = df.toArrow()
    elif hasattr(df, "toPandas"):
        table = from_batch(df.toPandas())
    else:
        raise TypeError(f"from_spark takes a pyspark.sql.DataFrame, got {type(df).__name__}")
    wanted = num_blocks(-1 if parallelism is None else parallelism, override_num_blocks)
    if wanted == -1:
        return blocks_dataset(capped(table), "FromSpark")
    wanted = max(1, min(wanted, table.num_rows))
    bounds = [table.num_rows * i // wanted for i in range(wanted + 1)]
    return blocks_dataset((table.slice(a, b - a) for a, b in zip(bounds, bounds[1:])), "FromSpark")


def from_huggingface(
    dataset: Any,
    parallelism: int = -1,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
) -> Dataset | dict[str, Dataset]:
    """A dataset of a Hugging Face one; of a ``DatasetDict``, a dict of datasets.

    The Arrow table of a ``Dataset`` is used as it is, without a copy. An ``IterableDataset`` is streamed: each execution
    goes over it once, in one task for each of its shards.

    Args:
        dataset: a ``datasets.Dataset``, ``DatasetDict``, ``IterableDataset`` or ``IterableDatasetDict``.
        parallelism: how many blocks.
        concurrency: most read tasks at a time (for streams).
        override_num_blocks: the same as ``parallelism``.

    Raises:
        TypeError: it is none of these.
    """
    try:
        import datasets
    except ImportError as error:
        raise ImportError("from_huggingface needs datasets: pip install 'aktis-data[huggingface]'") from error
    if isinstance(dataset, (datasets.DatasetDict, datasets.IterableDatasetDict)):
        return {
            name: _one_huggingface(part, parallelism, concurrency, override_num_blocks)
            for name, part in dataset.items()
        }
    return _one_huggingface(dataset, parallelism, concurrency, override_num_blocks)


def _one_huggingface(
    dataset: Any, parallelism: int, concurrency: int | None, override_num_blocks: int | None
) -> Dataset:
    import datasets

    if isinstance(dataset, datasets.IterableDataset):
        return read_dataset(
            _StreamReader(dataset),
            "FromHuggingFace",
            parallelism=parallelism,
            concurrency=concurrency,
            override_num_blocks=override_num_blocks,
        )
    if not isinstance(dataset, datasets.Dataset):
        raise TypeError(
            f"from_huggingface takes a datasets.Dataset, IterableDataset or dict of such, got {type(dataset).__name__}"
        )
    if dataset._indices is not None:  # rows were chosen or shuffled: the table has others, in another order
        dataset = dataset.flatten_indices()
    table = plain_table(_visible(dataset))
    wanted = num_blocks(parallelism, override_num_blocks)
    if wanted == -1:
        return blocks_dataset(capped(table), "FromHuggingFace")
    wanted = max(1, min(wanted, table.num_rows))
    bounds = [table.num_rows * i // wanted for i in range(wanted + 1)]
    return blocks_dataset((table.slice(a, b - a) for a, b in zip(bounds, bounds[1:])), "FromHuggingFace")


def _visible(dataset: Any) -> pa.Table:
    """The Arrow table of a dataset, with the columns that it shows."""
    table = dataset.data.table
    return table.select(dataset.column_names) if table.column_names != dataset.column_names else table


class _StreamReader(Reader):
    """An iterable dataset, by shards."""

    chooses_parallelism = True

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def get_read_tasks(self, parallelism: int = -1) -> list[ReadTask]:
        shards = int(getattr(self._dataset, "num_shards", None) or getattr(self._dataset, "n_shards", 1) or 1)
        count = min(shards, parallelism) if parallelism > 0 else shards
        parts = [self._dataset] if count == 1 else [self._dataset.shard(count, i) for i in range(count)]
        return [
            ReadTask(_Iterate(part), BlockMetadata(None, None, None, [], None, f"shard {i} of {count}"))
            for i, part in enumerate(parts)
        ]


class _Iterate:
    """Rows of an iterable, in portions."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def __call__(self) -> Iterator[Block]:
        portion: list[Any] = []
        for row in self._rows:
            portion.append(row)
            if len(portion) >= _ROWS:
                yield from_rows(portion)
                portion = []
        if portion:
            yield from_rows(portion)


def from_torch(dataset: Any, *, local_read: bool = False) -> Dataset:
    """A dataset of a torch one. Map-style and iterable datasets are gone over once, now, in this process.

    Args:
        dataset: a ``torch.utils.data.Dataset`` or ``IterableDataset``. Its items are the rows, as they are.
        local_read: accepted for compatibility; reading is always done here.
    """
    if not hasattr(dataset, "__getitem__") and not hasattr(dataset, "__iter__"):
        raise TypeError(f"from_torch takes a torch.utils.data.Dataset, got {type(dataset).__name__}")
    if hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__"):
        return from_items([dataset[i] for i in range(len(dataset))])  # not all of them end by IndexError
    return from_items(list(dataset))


def from_tf(dataset: Any) -> Dataset:
    """A dataset of a ``tf.data.Dataset``, which is gone over once, now, in this process."""
    if not hasattr(dataset, "as_numpy_iterator"):
        raise TypeError(f"from_tf takes a tf.data.Dataset, got {type(dataset).__name__}")
    return from_items(list(dataset.as_numpy_iterator()))
