"""Batches of torch tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from aktis.data._blocks import ITEM, Block, kind_of, to_batch
from aktis.data.exceptions import BatchTypeError

if TYPE_CHECKING:
    import torch

    Dtypes = Union[torch.dtype, Mapping[str, torch.dtype]]


def import_torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError("torch is not installed: pip install 'aktis-data[torch]'") from error
    return torch


def as_tensor(values: Any, column: str = "", dtype: torch.dtype | None = None) -> Any:
    """A tensor of an array that we own (it shares its memory), or a list of tensors where rows differ in shape.

    Raises:
        BatchTypeError: torch has nothing that holds such values.
    """
    torch = import_torch()
    if isinstance(values, list):
        values = np.asarray(values)
    if values.dtype == object:
        return _tensor_of_objects(values, column, dtype)
    if not values.flags.writeable or any(step < 0 for step in values.strides):
        values = values.copy()  # torch knows no memory that must not be written
    try:
        tensor = torch.from_numpy(values)
    except TypeError as error:
        raise _no_tensor(column, f"values of type {values.dtype}") from error
    return tensor if dtype is None else tensor.to(dtype)


def _tensor_of_objects(values: np.ndarray, column: str, dtype: torch.dtype | None) -> Any:
    if len(values) and all(isinstance(value, (np.ndarray, list)) for value in values):
        rows = [np.asarray(value) for value in values]
        if len({row.shape for row in rows}) == 1:
            rows_dtype = np.result_type(*rows) if len({row.dtype for row in rows}) > 1 else rows[0].dtype
            if not rows_dtype.hasobject:
                return as_tensor(np.stack(rows), column, dtype)
        return [as_tensor(row, column, dtype) for row in rows]
    kinds = {type(value).__name__ for value in values}
    if (kinds <= {"bool", "NoneType"} and "NoneType" in kinds) or not kinds:
        raise _no_tensor(column, "nulls")
    if kinds <= {"bool", "int", "float", "NoneType"}:
        return as_tensor(values.astype(np.float64 if kinds & {"float", "NoneType"} else np.int64), column, dtype)
    raise _no_tensor(column, f"values of type {', '.join(sorted(kinds))}")


def _no_tensor(column: str, what: str) -> BatchTypeError:
    where = f"column {column!r} has {what}" if column else f"there are {what}"
    return BatchTypeError(
        f"{where}, which no torch tensor can hold. Leave it out (drop_columns), encode it as numbers, or pass a collate_fn."
    )


def map_tensors(value: Any, function: Callable[[Any], Any]) -> Any:
    """``function`` applied to all tensors in nested lists, tuples and mappings; anything else stays as it is."""
    torch = import_torch()
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {key: map_tensors(item, function) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(item, function) for item in value))
    if isinstance(value, (list, tuple)):
        return type(value)(map_tensors(item, function) for item in value)
    return value


class Placement:
    """Where tensors go: pinned host memory on the way, a device at the end."""

    def __init__(self, device: Any, pin_memory: bool) -> None:
        torch = import_torch()
        device = _own_device() if device == "auto" else device
        self.device: Any = None if device is None else torch.device(device)
        self._pin = pin_memory and torch.cuda.is_available()
        self._moves = self.device is not None and self.device.type != "cpu"

    @property
    def move(self) -> Callable[[Any], Any] | None:
        """Puts tensors on the device. None: they are where they should be."""
        return self._move if self._moves else None

    @property
    def pin(self) -> Callable[[Any], Any] | None:
        """Puts tensors in memory from which a device can fetch them by itself. None: nothing to do."""
        return self._pinned if self._pin else None

    def _move(self, value: Any) -> Any:
        # A copy from pinned memory goes on while Python goes on: torch keeps the memory until it is done.
        return map_tensors(value, lambda tensor: tensor.to(self.device, non_blocking=self._pin))

    def _pinned(self, value: Any) -> Any:
        return map_tensors(value, lambda tensor: tensor.pin_memory() if tensor.device.type == "cpu" else tensor)


def _own_device() -> str:
    """The GPU that this worker was given, if any. GPUs that nobody assigned to us are not ours to take."""
    import aktis

    torch = import_torch()
    if aktis.is_initialized() and aktis.get_gpu_ids() and torch.cuda.is_available():
        return "cuda:0"  # workers see only the devices that are theirs
    return "cpu"


class TorchFormat:
    """Batches are dicts of tensors (one tensor for tensor and simple data)."""

    def __init__(self, dtypes: Dtypes | None, placement: Placement) -> None:
        self._dtypes = dtypes
        self._placement = placement
        self._move = placement.move

    def convert(self, block: Block, batches: int) -> Any:
        batch = to_batch(block, "numpy")
        if isinstance(batch, dict) and kind_of(block) == "simple":
            batch = batch[ITEM]
        if isinstance(batch, dict):
            made: Any = {name: as_tensor(values, name, self._dtype(name)) for name, values in batch.items()}
        else:
            made = as_tensor(batch, "", self._dtype(""))
        pin = self._placement.pin
        return pin(made) if pin else made

    def _dtype(self, column: str) -> Any:
        return self._dtypes.get(column) if isinstance(self._dtypes, Mapping) else self._dtypes

    def place(self, converted: Any) -> Any:
        return self._move(converted) if self._move else converted

    def cut(self, converted: Any, rows: int, batch_rows: int) -> Iterator[Any]:
        if isinstance(converted, dict):
            names = list(converted)
            columns = [split_rows(values, batch_rows) for values in converted.values()]
            return (dict(zip(names, batch)) for batch in zip(*columns))
        return iter(split_rows(converted, batch_rows))


def split_rows(values: Any, batch_rows: int) -> Sequence[Any]:
    """A column of a chunk, cut into batches: views, made in one call where it is a tensor."""
    if isinstance(values, list):
        return [values[start : start + batch_rows] for start in range(0, len(values), batch_rows)]
    pieces: Sequence[Any] = values.split(batch_rows)
    return pieces


Columns = Union[None, list[str], list[list[str]], Mapping[str, list[str]]]


class PairFormat:
    """Batches are (features, label): columns are put side by side (dimension 1) in one tensor, or one per group."""

    def __init__(
        self,
        label: str | None,
        features: Columns,
        label_dtype: torch.dtype | None,
        feature_dtypes: Any,
        unsqueeze_label: bool,
        unsqueeze_features: bool,
    ) -> None:
        self._label = label
        self._groups = _groups(features)
        self._features = features
        self._label_dtype = label_dtype
        self._feature_dtypes = feature_dtypes
        self._unsqueeze_label = unsqueeze_label
        self._unsqueeze_features = unsqueeze_features
        _check_dtypes(self._groups, feature_dtypes)

    def convert(self, block: Block, batches: int) -> Any:
        batch = to_batch(self._needed(block), "numpy")
        if not isinstance(batch, dict):
            batch = {block.column_names[0]: batch}
        label = None
        if self._label is not None:
            label = as_tensor(batch[self._label], self._label, self._label_dtype)
            if self._unsqueeze_label:
                label = label.unsqueeze(1)
        if self._groups is None:
            names = [name for name in batch if name != self._label]
            return self._side_by_side(batch, names, self._feature_dtypes), label
        made = {key: self._side_by_side(batch, names, self._dtypes_of(key)) for key, names in self._groups.items()}
        if isinstance(self._features, Mapping):
            return made, label
        return (list(made.values()) if self._grouped else made[0]), label

    @property
    def _grouped(self) -> bool:
        return not isinstance(self._features, Mapping) and not all(
            isinstance(name, str) for name in self._features or ()
        )

    def _dtypes_of(self, group: Any) -> Any:
        if isinstance(self._feature_dtypes, Mapping) or (
            isinstance(self._feature_dtypes, (list, tuple)) and self._grouped
        ):
            return self._feature_dtypes[group]
        return self._feature_dtypes

    def _needed(self, block: Block) -> Block:
        """Only the columns that are used: the others need not be convertible."""
        if self._groups is None:
            wanted = block.column_names
        else:
            wanted = list(dict.fromkeys(name for names in self._groups.values() for name in names))
        if self._label is not None and self._label not in wanted:
            wanted = [*wanted, self._label]
        missing = [name for name in wanted if name not in block.column_names]
        if missing:
            raise KeyError(
                f"to_torch: no such column: {', '.join(missing)}. There are: {', '.join(block.column_names)}"
            )
        return block if wanted == block.column_names else block.select(wanted)

    def _side_by_side(self, batch: Mapping[str, Any], names: list[str], dtypes: Any) -> Any:
        torch = import_torch()
        one_each = list(dtypes) if isinstance(dtypes, (list, tuple)) else [dtypes] * len(names)
        tensors = [as_tensor(batch[name], name, dtype) for name, dtype in zip(names, one_each)]
        ragged = [name for name, tensor in zip(names, tensors) if isinstance(tensor, list)]
        if ragged:
            raise BatchTypeError(
                f"to_torch: the rows of column {ragged[0]!r} differ in shape, so that they fit in no tensor. "
                "Pad them to one shape first, or use iter_torch_batches, which gives lists of tensors."
            )
        if not tensors:
            raise ValueError("to_torch: there are no feature columns beside the label")
        if self._unsqueeze_features:
            tensors = [tensor.unsqueeze(1) for tensor in tensors]
        if len(tensors) == 1:
            return tensors[0]
        if all(tensor.dim() == 1 for tensor in tensors):
            return torch.stack(tensors, dim=1)
        if len({tensor.dim() for tensor in tensors}) > 1:
            shapes = ", ".join(f"{name}: {list(tensor.shape)}" for name, tensor in zip(names, tensors))
            raise ValueError(
                f"to_torch: columns of different dimensions do not fit in one tensor ({shapes}). "
                "Put them in groups of their own: feature_columns=[[...], [...]]"
            )
        return torch.cat(tensors, dim=1)

    def place(self, converted: Any) -> Any:
        return converted

    def cut(self, converted: Any, rows: int, batch_rows: int) -> Iterator[Any]:
        for start in range(0, rows, batch_rows):
            yield map_tensors(converted, itemgetter(slice(start, start + batch_rows)))


def _groups(features: Columns) -> dict[Any, list[str]] | None:
    """Feature columns by group; None: all but the label."""
    if features is None:
        return None
    if isinstance(features, Mapping):
        return {key: list(names) for key, names in features.items()}
    if isinstance(features, str) or not isinstance(features, (list, tuple)):
        raise TypeError(
            f"feature_columns is {features!r}, but must be a list of names, a list of such lists, or a dict of such"
        )
    if all(isinstance(name, str) for name in features):
        return {0: list(features)}  # type: ignore[arg-type]
    if any(isinstance(name, str) for name in features):
        raise ValueError(f"feature_columns mixes names and lists of names: {features!r}")
    return {index: list(names) for index, names in enumerate(features)}


def _check_dtypes(groups: Mapping[Any, list[str]] | None, dtypes: Any) -> None:
    if isinstance(dtypes, Mapping) and (groups is None or set(dtypes) != set(groups)):
        keys = sorted(map(str, groups)) if groups else "none"
        raise ValueError(f"feature_column_dtypes has the keys {sorted(map(str, dtypes))}, feature_columns has {keys}")
    if isinstance(dtypes, (list, tuple)):
        wanted = 0 if groups is None else len(groups) if len(groups) != 1 else len(groups.get(0, ()))
        if len(dtypes) not in (wanted, len(groups or ())):
            raise ValueError(f"feature_column_dtypes has {len(dtypes)} entries, which do not fit feature_columns")
