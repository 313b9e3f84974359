"""Numbers that are made where they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from aktis.data._blocks import ITEM, TENSOR
from aktis.data._blocks.convert import rows_only
from aktis.data._blocks.types import Block, BlockMetadata
from aktis.data._cpus import cpu_count
from aktis.data.context import DatasetContext
from aktis.data.datasource._base import Datasource, Reader, ReadTask

__all__ = ["RandomIntRowDatasource", "RangeDatasource"]

_LEAST_TASKS = 16  # rows may be cheap to make and dear to work on: enough tasks to keep a few CPUs busy


def spread(rows: int, size_bytes: int, parallelism: int) -> int:
    """How many blocks data that needs no files is cut into."""
    if parallelism > 0:
        return max(1, min(parallelism, rows))
    context = DatasetContext.get_current()
    for_work = min(max(2 * cpu_count(), _LEAST_TASKS), context.min_parallelism)
    for_memory = -(-size_bytes // max(1, context.read_task_size))
    return max(1, min(max(for_work, for_memory), rows))


class RangeDatasource(Datasource):
    """The integers from 0 to n - 1: as items, as a column ``value``, or as arrays filled with the number."""

    def create_reader(
        self,
        n: int = 0,
        block_format: Literal["list", "arrow", "tensor"] = "list",
        tensor_shape: tuple[int, ...] = (1,),
        column_name: str = "value",
        **_: Any,
    ) -> RangeReader:
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
            raise TypeError(f"n is an integer, got {n!r}")
        if n < 0:
            raise ValueError(f"n is not negative, got {n}")
        if block_format not in ("list", "arrow", "tensor"):
            raise ValueError(f"block_format is 'list', 'arrow' or 'tensor', got {block_format!r}")
        if block_format == "tensor" and any(size < 1 for size in tensor_shape):
            raise ValueError(f"tensor_shape is a tuple of positive integers, got {tensor_shape!r}")
        name = {"list": ITEM, "arrow": column_name, "tensor": TENSOR}[block_format]
        shape = tuple(int(size) for size in tensor_shape) if block_format == "tensor" else None
        return RangeReader(int(n), name, shape)


@dataclass(frozen=True)
class RangeReader(Reader):
    """Knows everything about its rows."""

    chooses_parallelism = True

    n: int
    column: str
    shape: tuple[int, ...] | None = None
    only_count: bool = False
    limit: int | None = None

    def schema(self) -> pa.Schema:
        if self.only_count:
            return pa.schema([])
        kind = pa.int64() if self.shape is None else pa.fixed_shape_tensor(pa.int64(), self.shape)
        return pa.schema([pa.field(self.column, kind)])

    def count_rows(self) -> int:
        return self.n

    def estimate_inmemory_data_size(self) -> int:
        return (self.n if self.limit is None else min(self.n, self.limit)) * self._row_bytes

    def with_columns(self, columns: list[str]) -> RangeReader | None:
        if columns == [self.column]:
            return self
        return replace(self, only_count=True) if not columns else None

    def with_limit(self, rows: int) -> RangeReader:
        return replace(self, limit=rows if self.limit is None else min(rows, self.limit))

    def describe(self) -> str:
        return f"n={self.n}" + ("" if self.limit is None else f", limit={self.limit}")

    @property
    def _row_bytes(self) -> int:
        return 0 if self.only_count else 8 * int(np.prod(self.shape or (1,)))

    def get_read_tasks(self, parallelism: int = -1) -> list[ReadTask]:
        rows = self.n if self.limit is None else min(self.n, self.limit)
        tasks = spread(rows, rows * self._row_bytes, parallelism)
        schema = self.schema()
        bounds = [rows * i // tasks for i in range(tasks + 1)]
        return [
            ReadTask(
                _MakeRange(self, start, stop),
                BlockMetadata(stop - start, (stop - start) * self._row_bytes, schema, origin=_rows(start, stop)),
            )
            for start, stop in zip(bounds, bounds[1:])
        ]

    def make(self, start: int, stop: int) -> Block:
        """The block with these numbers."""
        if self.only_count:
            return rows_only(stop - start)
        numbers: Any = np.arange(start, stop, dtype=np.int64)
        if self.shape is None:
            return pa.table({self.column: pa.array(numbers)})
        size = int(np.prod(self.shape))
        storage = pa.FixedSizeListArray.from_arrays(pa.array(np.repeat(numbers, size)), size)
        kind = pa.fixed_shape_tensor(pa.int64(), self.shape)
        return pa.table({self.column: pa.ExtensionArray.from_storage(kind, storage)})


class _MakeRange:
    """The function of a read task. Many rows come as several blocks."""

    def __init__(self, reader: RangeReader, start: int, stop: int) -> None:
        self._reader, self._start, self._stop = reader, start, stop
        self._step = max(1, DatasetContext.get_current().target_max_block_size // max(1, reader._row_bytes))

    def __call__(self) -> Iterator[Block]:
        if self._start == self._stop:
            yield self._reader.make(0, 0)
        for start in range(self._start, self._stop, self._step):
            yield self._reader.make(start, min(start + self._step, self._stop))


class RandomIntRowDatasource(Datasource):
    """Rows of random integers from 0 to 2**63 - 1 in columns ``c_0``, ``c_1``, ...: for tests and benchmarks."""

    def create_reader(self, n: int = 0, num_columns: int = 1, seed: int | None = None, **_: Any) -> RandomIntReader:
        if n < 0 or num_columns < 1:
            raise ValueError(f"n is not negative and num_columns positive, got n={n}, num_columns={num_columns}")
        entropy = np.random.SeedSequence(seed).entropy  # drawn once: a task that is run again makes the same rows
        return RandomIntReader(n, tuple(f"c_{i}" for i in range(num_columns)), int(entropy or 0))  # type: ignore[arg-type]


@dataclass(frozen=True)
class RandomIntReader(Reader):
    """Rows depend on how many tasks there are, but not on which columns are asked for."""

    chooses_parallelism = True

    n: int
    names: tuple[str, ...]
    entropy: int
    columns: tuple[str, ...] | None = None
    limit: int | None = None

    def schema(self) -> pa.Schema:
        return pa.schema([(name, pa.int64()) for name in (self.names if self.columns is None else self.columns)])

    def count_rows(self) -> int:
        return self.n

    def estimate_inmemory_data_size(self) -> int:
        return self.n * 8 * len(self.schema())

    def with_columns(self, columns: list[str]) -> RandomIntReader | None:
        return replace(self, columns=tuple(columns)) if set(columns) <= set(self.names) else None

    def with_limit(self, rows: int) -> RandomIntReader:
        return replace(self, limit=rows if self.limit is None else min(rows, self.limit))

    def get_read_tasks(self, parallelism: int = -1) -> list[ReadTask]:
        tasks = spread(self.n, self.estimate_inmemory_data_size(), parallelism)
        bounds = [self.n * i // tasks for i in range(tasks + 1)]
        result = []
        for task, (start, stop) in enumerate(zip(bounds, bounds[1:])):
            if self.limit is not None and start >= self.limit and task:
                break
            metadata = BlockMetadata(stop - start, (stop - start) * 8 * len(self.schema()), self.schema())
            make = partial(_random_rows, self.entropy, task, stop - start, self.names, self.schema().names)
            result.append(ReadTask(make, metadata))
        return result


def _random_rows(entropy: int, task: int, rows: int, names: tuple[str, ...], wanted: list[str]) -> Iterator[Block]:
    seeds = np.random.SeedSequence([entropy, task]).spawn(
        len(names)
    )  # one for each column: any of them may not be wanted
    columns = {
        name: np.random.default_rng(seeds[names.index(name)]).integers(0, 2**63 - 1, rows, np.int64) for name in wanted
    }
    yield pa.table(columns) if columns else rows_only(rows)


def _rows(start: int, stop: int) -> str:
    return f"rows {start:,} to {stop - 1:,}" if stop > start else ""
