"""Batches of TensorFlow tensors, and data sets for Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Union

import numpy as np

from aktis.data._blocks import ITEM, Block, kind_of, to_batch
from aktis.data._iteration.formats import cut_dict
from aktis.data.exceptions import BatchTypeError

Names = Union[str, Sequence[str]]


def import_tensorflow() -> Any:
    try:
        import tensorflow
    except ImportError as error:
        raise ImportError("TensorFlow is not installed: pip install tensorflow") from error
    return tensorflow


def as_tensor(values: Any, column: str = "", dtype: Any = None) -> Any:
    """A tensor of an array; a ragged one where rows are arrays of different shapes.

    Raises:
        BatchTypeError: TensorFlow has nothing that holds such values.
    """
    tf = import_tensorflow()
    values = np.asarray(values)
    if values.dtype == object and len(values) and all(isinstance(value, (np.ndarray, list)) for value in values):
        rows = [np.asarray(value) for value in values]
        if len({row.shape for row in rows}) > 1:
            return tf.ragged.stack([tf.convert_to_tensor(row, dtype) for row in rows])
        values = np.stack(rows)
    try:
        return tf.convert_to_tensor(values, dtype)
    except (TypeError, ValueError) as error:
        where = f"column {column!r} has" if column else "there are"
        kinds = sorted({type(v).__name__ for v in values}) if values.dtype == object else [str(values.dtype)]
        wanted = f" of type {dtype.name}" if dtype is not None else ""
        raise BatchTypeError(
            f"{where} values of type {', '.join(kinds)}, which fit in no TensorFlow tensor{wanted}. "
            "Leave the column out (drop_columns), fill its nulls, or encode it as numbers."
        ) from error


def to_tensors(dtypes: Any) -> Callable[[Any], Any]:
    """A function from "numpy" batches to tensors of these types (one for all, or some by name)."""

    def convert(batch: Any) -> Any:
        if not isinstance(batch, dict):
            return as_tensor(batch, "", None if isinstance(dtypes, Mapping) else dtypes)
        if list(batch) == [ITEM]:
            return as_tensor(batch[ITEM], "", None if isinstance(dtypes, Mapping) else dtypes)
        return {
            name: as_tensor(values, name, dtypes.get(name) if isinstance(dtypes, Mapping) else dtypes)
            for name, values in batch.items()
        }

    return convert


class Selection:
    """Features, labels and more, each one column or a dict of columns, out of batches that are dicts of arrays."""

    def __init__(self, features: Names, labels: Names, additional: Names | None) -> None:
        self._parts: list[Names] = [features, labels] if additional is None else [features, labels, additional]

    def names(self) -> list[str]:
        """All columns that are used."""
        found = (name for part in self._parts for name in ([part] if isinstance(part, str) else part))
        return list(dict.fromkeys(found))

    def apply(self, function: Callable[[str], Any]) -> tuple[Any, ...]:
        """The parts, with what ``function`` gives for the name of a column."""
        return tuple(
            function(part) if isinstance(part, str) else {name: function(name) for name in part} for part in self._parts
        )


def columns_of(block: Block) -> dict[str, Any]:
    """The columns of a block as arrays, whatever the kind of data; those of simple and tensor data have the internal name."""
    batch = to_batch(block, "numpy", copy=False)
    return batch if isinstance(batch, dict) else {block.column_names[0]: batch}


def signature(block: Block, selection: Selection) -> tuple[Any, ...]:
    """Types and shapes of batches, from the first rows of the data.

    Raises:
        ValueError: there is no such column.
    """
    missing = [name for name in selection.names() if name not in block.column_names]
    if missing:
        raise ValueError(f"to_tf: no such column: {', '.join(missing)}. There are: {', '.join(block.column_names)}")
    columns = columns_of(block.select(selection.names()))
    return selection.apply(lambda name: _spec(name, columns[name]))


def _spec(name: str, values: Any) -> Any:
    tf = import_tensorflow()
    values = np.asarray(values)
    if values.dtype != object:
        return tf.TensorSpec((None, *values.shape[1:]), dtype=as_tensor(values[:1], name).dtype, name=name)
    if len(values) and isinstance(values[0], (np.ndarray, list)):
        inner = np.asarray(values[0])
        dtype = as_tensor(inner, name).dtype
        return tf.RaggedTensorSpec((None,) * (inner.ndim + 1), dtype=dtype, ragged_rank=inner.ndim)
    return tf.TensorSpec((None,), dtype=as_tensor(values[:1], name).dtype, name=name)


def fitted(values: Any, spec: Any, name: str) -> Any:
    """A tensor of exactly the specified kind."""
    tf = import_tensorflow()
    if not isinstance(spec, tf.RaggedTensorSpec):
        return as_tensor(values, name, spec.dtype)
    rows = [np.asarray(value) for value in values]
    if not rows:
        return tf.RaggedTensor.from_tensor(
            tf.zeros((0,) + (0,) * spec.ragged_rank, spec.dtype), ragged_rank=spec.ragged_rank
        )
    if spec.ragged_rank == 1:
        lengths = [len(row) for row in rows]
        return tf.RaggedTensor.from_row_lengths(tf.convert_to_tensor(np.concatenate(rows), spec.dtype), lengths)
    return tf.ragged.constant([row.tolist() for row in rows], dtype=spec.dtype, ragged_rank=spec.ragged_rank)


def tf_dataset(
    batches: Callable[[], Iterator[Any]], selection: Selection, specs: tuple[Any, ...], length: int | None = None
) -> Any:
    """A ``tf.data.Dataset`` over batches that are dicts of arrays. Each iteration over it is a new pass.

    Args:
        batches: starts a pass.
        specs: of the parts of ``selection``.
        length: number of batches, if that is known: Keras shows progress with it, and warns where it is not.
    """
    tf = import_tensorflow()
    by_name = {}
    for part, spec in zip(selection._parts, specs):
        by_name.update({part: spec} if isinstance(part, str) else {name: spec[name] for name in part})

    def generate() -> Iterator[Any]:
        for batch in batches():
            tensors = {name: fitted(batch[name], spec, name) for name, spec in by_name.items()}
            yield selection.apply(tensors.__getitem__)

    dataset = tf.data.Dataset.from_generator(generate, output_signature=specs)
    if length is not None:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(length))
    options = tf.data.Options()
    # The data are sharded already where they are to be; TensorFlow would read everything on each worker, and drop most of it.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options)


class ColumnsFormat:
    """Batches are dicts of arrays, for some columns only, whatever the kind of data. They must not be changed."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def convert(self, block: Block, batches: int) -> Any:
        missing = [name for name in self._names if name not in block.column_names]
        if missing:
            raise BatchTypeError(f"a block has no column {missing[0]!r}. It has: {', '.join(block.column_names)}")
        return columns_of(block if kind_of(block) != "table" else block.select(self._names))

    def place(self, converted: Any) -> Any:
        return converted

    def cut(self, converted: Any, rows: int, batch_rows: int) -> Iterator[Any]:
        return cut_dict(converted, rows, batch_rows)
