"""The methods that everything has which can be iterated over: Dataset, DatasetIterator, DatasetPipeline."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

from aktis.data._blocks import to_rows
from aktis.data._iteration.batcher import chunks
from aktis.data._iteration.engine import Batches, BatchSpec, Handles, iterate, load_blocks
from aktis.data._iteration.formats import BatchFormat
from aktis.data._iteration.stats import IterationStats

_ROWS_AT_A_TIME = 4096  # converted to Python objects in one call


class Iterable:
    """Iteration, whatever the blocks come from."""

    _last_iteration: IterationStats | None = None

    @abstractmethod
    def _open(self) -> Handles:
        """Start to produce blocks for one pass."""

    def _new_stats(self) -> IterationStats:
        stats = self._last_iteration = IterationStats()
        return stats

    def iter_rows(self, *, prefetch_blocks: int = 0) -> Batches[Any]:
        """The rows, one by one: dicts, or the items of simple data.

        Args:
            prefetch_blocks: load so many blocks ahead of time, in a thread.
        """
        spec = BatchSpec(prefetch_blocks=prefetch_blocks)
        return Batches(lambda: self._rows(spec))

    def _rows(self, spec: BatchSpec) -> Iterator[Any]:
        stats = self._new_stats()
        handles = self._open()
        try:
            for chunk in chunks(load_blocks(handles, stats, spec.prefetch_blocks), _ROWS_AT_A_TIME, chunk_bytes=0):
                rows = to_rows(chunk.block)
                stats.batches += 1
                stats.rows += len(rows)
                yield from rows
        finally:
            handles.close()

    def iter_batches(
        self,
        *,
        prefetch_batches: int = 1,
        prefetch_blocks: int = 0,
        batch_size: int | None = 256,
        batch_format: str | None = "default",
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
        _collate_fn: Callable[[Any], Any] | None = None,
        _finalize_fn: Callable[[Any], Any] | None = None,
    ) -> Batches[Any]:
        """Batches of rows, in order. Batches span blocks: all have ``batch_size`` rows, but for the last.

        The result may be looped over several times (each time is a new pass), or advanced with ``next()``. Leaving a
        loop early ends the execution.

        Args:
            prefetch_batches: make so many batches ahead of time, in a thread. 0: no thread.
            prefetch_blocks: load so many blocks ahead of time.
            batch_size: rows per batch; None: each block as it is, but for empty ones.
            batch_format: "default" (a pandas frame; an array for tensor data; a list for simple data), "pandas",
                "pyarrow" (a table), "numpy" (a dict of arrays; one array for tensor and simple data) or "polars".
            drop_last: leave out the last batch if it has fewer rows.
            local_shuffle_buffer_size: draw rows at random from a buffer of at least so many rows.
            local_shuffle_seed: makes that repeatable.

        Raises:
            ValueError: for arguments that make no sense; at once, before anything is executed.
        """
        form = BatchFormat(batch_format)
        spec = BatchSpec(
            batch_size=batch_size,
            drop_last=drop_last,
            prefetch_batches=prefetch_batches,
            prefetch_blocks=prefetch_blocks,
            shuffle_buffer=local_shuffle_buffer_size,
            shuffle_seed=local_shuffle_seed,
        )
        return self._batches(spec, form, _collate_fn, _finalize_fn)

    def _batches(
        self,
        spec: BatchSpec,
        form: Any,
        collate: Callable[[Any], Any] | None = None,
        finalize: Callable[[Any], Any] | None = None,
    ) -> Batches[Any]:
        def start() -> Iterator[Any]:
            return iterate(self._open, spec, form, self._new_stats(), collate=collate, finalize=finalize)

        return Batches(start)
