"""The methods that everything has which can be iterated over: Dataset, DatasetIterator, DatasetPipeline."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from aktis.data._blocks import Block, slice_rows, to_rows
from aktis.data._iteration.engine import Batches, BatchSpec, Handles, iterate, load_blocks
from aktis.data._iteration.formats import BatchFormat
from aktis.data._iteration.stats import IterationStats, IterationTotals

if TYPE_CHECKING:
    import torch

    from aktis.data._iteration.torch_dataset import TorchDataset

_ROWS_AT_A_TIME = 4096  # converted to Python objects in one call


class BatchSource:
    """Iteration, whatever the blocks come from."""

    _iteration_stats: IterationStats | None = None
    _earlier_passes = IterationTotals()

    @abstractmethod
    def _open(self) -> Handles:
        """Start to produce blocks for one pass."""

    def _sample(self) -> Block | None:
        """A block with some of the first rows, which costs no pass where a pass has a price. None: there are no rows."""
        handles = self._open()
        try:
            return next((block for block in load_blocks(handles, IterationStats()) if block.num_rows), None)
        finally:
            handles.close()

    def _known_rows(self) -> int | None:
        """How many rows a pass has, if that is known without executing anything."""
        return None

    def _new_stats(self) -> IterationStats:
        self._earlier_passes = self._totals()
        stats = self._iteration_stats = IterationStats()
        return stats

    def _totals(self) -> IterationTotals:
        """What all passes have come to."""
        return (
            self._earlier_passes if self._iteration_stats is None else self._earlier_passes.plus(self._iteration_stats)
        )

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
            for block in load_blocks(handles, stats, spec.prefetch_blocks):
                for start in range(0, block.num_rows, _ROWS_AT_A_TIME):  # a row never waits for the next block
                    rows = to_rows(slice_rows(block, start, min(start + _ROWS_AT_A_TIME, block.num_rows)))
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

    def iter_torch_batches(
        self,
        *,
        prefetch_batches: int = 1,
        prefetch_blocks: int = 0,
        batch_size: int | None = 256,
        dtypes: torch.dtype | Mapping[str, torch.dtype] | None = None,
        device: str | torch.device | None = "auto",
        collate_fn: Callable[[Any], Any] | None = None,
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
        pin_memory: bool = False,
    ) -> Batches[Any]:
        """Batches of torch tensors: dicts with a tensor per column; one tensor for tensor and simple data.

        A column whose rows are arrays of different shapes comes as a list of tensors.

        Args:
            dtypes: of all columns, or of some by name; None: what fits the data.
            device: where tensors go; "auto": the GPU that was given to this worker, else the CPU.
            collate_fn: makes what the loop gets from each batch, in the prefetch thread. A function gets a dict of arrays;
                subclass one of the classes in :mod:`aktis.data.collate_fn` to get tables or frames. Tensors in what it
                returns are moved to the device.
            pin_memory: put tensors in pinned memory on their way to a GPU.

        The others are those of :meth:`iter_batches`.

        Raises:
            ValueError: for ``dtypes`` beside a ``collate_fn``, which makes tensors of the types that it likes.
            BatchTypeError: while iterating, if a column holds what torch has no tensors for.
        """
        from aktis.data._iteration.collate import batch_format_of
        from aktis.data._iteration.torch_batches import Placement, TorchFormat

        spec = BatchSpec(
            batch_size=batch_size,
            drop_last=drop_last,
            prefetch_batches=prefetch_batches,
            prefetch_blocks=prefetch_blocks,
            shuffle_buffer=local_shuffle_buffer_size,
            shuffle_seed=local_shuffle_seed,
        )
        placement = Placement(device, pin_memory)
        if collate_fn is None:
            return self._batches(spec, TorchFormat(dtypes, placement))
        if dtypes is not None:
            raise ValueError(
                "give dtypes or a collate_fn, not both: the collate_fn decides on the types of its tensors"
            )
        pin, own = placement.pin, collate_fn
        collate = own if pin is None else lambda batch: pin(own(batch))
        return self._batches(spec, BatchFormat(batch_format_of(own)), collate, placement.move)

    def to_torch(
        self,
        *,
        label_column: str | None = None,
        feature_columns: list[str] | list[list[str]] | Mapping[str, list[str]] | None = None,
        label_column_dtype: torch.dtype | None = None,
        feature_column_dtypes: Any = None,
        batch_size: int = 1,
        prefetch_batches: int = 1,
        prefetch_blocks: int = 0,
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
        unsqueeze_label_tensor: bool = True,
        unsqueeze_feature_tensors: bool = True,
    ) -> TorchDataset:
        """A torch ``IterableDataset`` of (features, label) pairs, one per batch.

        Columns are put side by side in one tensor of shape (rows, columns). In a ``DataLoader`` (with
        ``batch_size=None``: the batches are made here) that has workers, each worker gives its share of the batches.

        Args:
            label_column: what is to be predicted; None: labels are None.
            feature_columns: a list of names: one tensor of these; a list of lists: a list of tensors; a dict of lists: a dict
                of tensors. None: one tensor of all columns but the label.
            label_column_dtype: of the label; None: what fits the data.
            feature_column_dtypes: one for all; a list or dict like ``feature_columns``: one per group (or column).
            batch_size: rows per pair.
            unsqueeze_label_tensor: labels of shape (rows, 1), as regression losses want them; else (rows,).
            unsqueeze_feature_tensors: a dimension is put in at position 1 of each column before they are joined there.

        The others are those of :meth:`iter_batches`.
        """
        from aktis.data._iteration.torch_batches import PairFormat, import_torch

        import_torch()
        from aktis.data._iteration.torch_dataset import TorchDataset

        spec = BatchSpec(
            batch_size=batch_size,
            drop_last=drop_last,
            prefetch_batches=prefetch_batches,
            prefetch_blocks=prefetch_blocks,
            shuffle_buffer=local_shuffle_buffer_size,
            shuffle_seed=local_shuffle_seed,
        )
        form = PairFormat(
            label_column,
            feature_columns,
            label_column_dtype,
            feature_column_dtypes,
            unsqueeze_label_tensor,
            unsqueeze_feature_tensors,
        )
        return TorchDataset(self, spec, form)

    def iter_tf_batches(
        self,
        *,
        prefetch_batches: int = 1,
        prefetch_blocks: int = 0,
        batch_size: int | None = 256,
        dtypes: Any = None,
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
    ) -> Batches[Any]:
        """Batches of TensorFlow tensors: dicts with a tensor per column; one tensor for tensor and simple data.

        A column whose rows are arrays of different shapes comes as a ragged tensor.

        Args:
            dtypes: a ``tf.DType`` for all columns, or a dict of them for some; None: what fits the data.

        The others are those of :meth:`iter_batches`.

        Raises:
            BatchTypeError: while iterating, if a column holds what TensorFlow has no tensors for.
        """
        from aktis.data._iteration.tf_batches import import_tensorflow, to_tensors

        import_tensorflow()
        spec = BatchSpec(
            batch_size=batch_size,
            drop_last=drop_last,
            prefetch_batches=prefetch_batches,
            prefetch_blocks=prefetch_blocks,
            shuffle_buffer=local_shuffle_buffer_size,
            shuffle_seed=local_shuffle_seed,
        )
        return self._batches(spec, BatchFormat("numpy"), to_tensors(dtypes))

    def to_tf(
        self,
        feature_columns: str | list[str],
        label_columns: str | list[str],
        *,
        additional_columns: str | list[str] | None = None,
        prefetch_batches: int = 1,
        prefetch_blocks: int = 0,
        batch_size: int = 1,
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
        feature_type_spec: Any = None,
        label_type_spec: Any = None,
        additional_type_spec: Any = None,
    ) -> Any:
        """A ``tf.data.Dataset`` of (features, labels) batches, as Keras wants them.

        Args:
            feature_columns: one column gives a tensor, a list gives a dict of tensors.
            label_columns: likewise.
            additional_columns: likewise, as a third element, such as sample weights.
            batch_size: rows per batch.
            feature_type_spec: ``tf.TypeSpec`` (or dict of these) of the features, if it is not to be inferred from the first
                rows of the data.
            label_type_spec: of the labels.
            additional_type_spec: of the additional columns.

        The others are those of :meth:`iter_batches`.

        Raises:
            ValueError: there is no such column, or the data set is empty so that nothing can be inferred.
        """
        from aktis.data._iteration.tf_batches import ColumnsFormat, Selection, import_tensorflow, signature, tf_dataset

        import_tensorflow()
        selection = Selection(feature_columns, label_columns, additional_columns)
        given = [feature_type_spec, label_type_spec]
        given += [additional_type_spec] if additional_columns is not None else []
        if any(spec is None for spec in given):
            first = self._sample()
            if first is None:
                raise ValueError(
                    "to_tf cannot infer types of an empty data set: give feature_type_spec and label_type_spec"
                )
            found = signature(first, selection)
            given = [known if spec is None else spec for spec, known in zip(given, found)]
        spec = BatchSpec(
            batch_size=batch_size,
            drop_last=drop_last,
            prefetch_batches=prefetch_batches,
            prefetch_blocks=prefetch_blocks,
            shuffle_buffer=local_shuffle_buffer_size,
            shuffle_seed=local_shuffle_seed,
        )
        batches = self._batches(spec, ColumnsFormat(selection.names()))
        return tf_dataset(lambda: iter(batches), selection, tuple(given), spec.batches_of(self._known_rows()))
