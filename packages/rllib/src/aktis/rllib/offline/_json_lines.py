"""A batch as a line of JSON, and back.

    {"type": "SampleBatch", "obs": "QUtMMQ...", "actions": [0, 1], ...}
    {"type": "MultiAgentBatch", "count": 2, "policy_batches": {"default_policy": {"obs": ..., ...}}}

A column is base64 of its compressed form (``aktis.rllib.utils.compression``), or plain lists. Lists of fractions are float32,
of whole numbers int64, of truth values bool; a column of another type says so in ``"dtypes"``. The same form as in RLlib 2,
whose files can be read.
"""

from __future__ import annotations

import base64
import binascii
import json
import pickle
from collections.abc import Collection
from typing import Any

import numpy as np

from aktis.rllib.offline._foreign_pickle import is_lz4, unpack_foreign
from aktis.rllib.offline.errors import OfflineDataError
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from aktis.rllib.utils.compression import pack, unpack

__all__ = ["from_json", "from_json_data", "to_json"]

Batch = SampleBatch | MultiAgentBatch
_META = ("type", "dtypes")


def to_json(batch: Batch, compress_columns: Collection[str] = ()) -> str:
    """A batch as one line, without the line's end.

    Args:
        batch: It is not changed.
        compress_columns: Columns that are packed; all others stay readable.

    Raises:
        OfflineDataError: a column holds what cannot be written.
    """
    if isinstance(batch, MultiAgentBatch):
        parts = {str(name): _columns_to_json(part, compress_columns) for name, part in batch.policy_batches.items()}
        data = {"type": "MultiAgentBatch", "count": int(batch.count), "policy_batches": parts}
    else:
        data = {"type": "SampleBatch", **_columns_to_json(batch, compress_columns)}
    return json.dumps(data, separators=(", ", ": "), allow_nan=True)


def from_json(line: str) -> Batch:
    """The batch of a line.

    Raises:
        OfflineDataError: this is no batch; the message says why.
    """
    try:
        data = json.loads(line)
    except ValueError as error:
        raise OfflineDataError(f"this is not JSON: {error}") from None
    return from_json_data(data)


def from_json_data(data: Any) -> Batch:
    """The batch of a line that is parsed already.

    Raises:
        OfflineDataError: this is no batch; the message says why.
    """
    if not isinstance(data, dict):
        raise OfflineDataError(f"a batch is an object with columns, not {str(data)[:60]!r}")
    kind = data.get("type", "SampleBatch")
    if kind == "SampleBatch":
        return _columns_from_json(data)
    if kind != "MultiAgentBatch":
        raise OfflineDataError(f"the type of a batch is 'SampleBatch' or 'MultiAgentBatch', not {kind!r}")
    parts = data.get("policy_batches")
    if not isinstance(parts, dict) or not all(isinstance(part, dict) for part in parts.values()):
        raise OfflineDataError("a MultiAgentBatch needs 'policy_batches': an object with the columns of each policy")
    batches = {name: _columns_from_json(part) for name, part in parts.items()}
    steps = data.get("count")
    return MultiAgentBatch(batches, max(b.count for b in batches.values()) if steps is None else int(steps))


# -- columns ------------------------------------------------------------------------------------------------------------


def _columns_to_json(batch: SampleBatch, packed: Collection[str]) -> dict[str, Any]:
    batch = batch.copy(shallow=True).decompress_if_needed(list(batch))
    made: dict[str, Any] = {}
    dtypes: dict[str, str] = {}
    for key in batch:
        column = dict.__getitem__(batch, key)
        try:
            if key == "infos":
                made[key] = [_plain(info) for info in column]
            elif key in packed or not _reads_back(column):
                made[key] = base64.b64encode(pack(_arrays(column))).decode("ascii")
            else:
                made[key] = _lists(column)
                if isinstance(column, np.ndarray) and column.dtype != _usual(column.dtype):
                    dtypes[key] = column.dtype.str
        except (TypeError, ValueError) as error:
            raise OfflineDataError(f"the column {key!r} cannot be written to JSON: {error}") from error
    if dtypes:
        made["dtypes"] = dtypes
    return made


def _arrays(column: Any) -> Any:
    """Tensors as arrays."""
    if isinstance(column, dict):
        return {key: _arrays(part) for key, part in column.items()}
    if isinstance(column, tuple):
        return tuple(_arrays(part) for part in column)
    return np.asarray(column.detach().cpu() if hasattr(column, "detach") else column)


def _reads_back(column: Any) -> bool:
    """Whether lists of a column are read as the same structure: of tuples, empty arrays and parts with other types they would
    not be."""
    if isinstance(column, tuple):
        return False
    if isinstance(column, dict):
        return all(
            _reads_back(part) and (not isinstance(part, np.ndarray) or part.dtype == _usual(part.dtype))
            for part in column.values()
        )
    array = np.asarray(column.detach().cpu() if hasattr(column, "detach") else column)
    return array.size > 0 and array.dtype.kind in "biuf" and array.dtype.itemsize <= 8


def _usual(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What lists of such numbers are read as."""
    return np.dtype({"b": np.bool_, "f": np.float32}.get(dtype.kind, np.int64))


def _lists(column: Any) -> Any:
    if isinstance(column, dict):
        return {key: _lists(part) for key, part in column.items()}
    array = np.asarray(column.detach().cpu() if hasattr(column, "detach") else column)
    if (
        array.dtype.kind == "f" and array.dtype.itemsize < 8
    ):  # as few digits as say which one it is: of a double they would be 17
        return _nested([float(text) for text in array.ravel().astype(str).tolist()], array.shape)
    return array.tolist()


def _nested(flat: list[Any], shape: tuple[int, ...]) -> list[Any]:
    for size in reversed(shape[1:]):
        flat = [flat[i : i + size] for i in range(0, len(flat), size)]
    return flat


def _plain(value: Any) -> Any:
    """An info as JSON: arrays as lists, and what is neither number nor text by its description."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(item) for item in value]
    return repr(value)


def _columns_from_json(data: dict[str, Any]) -> SampleBatch:
    dtypes = data.get("dtypes") or {}
    columns: dict[str, Any] = {}
    for key, value in data.items():
        if key in _META:
            continue
        try:
            columns[key] = _column(key, value, dtypes.get(key) if isinstance(dtypes, dict) else None)
        except (ValueError, TypeError, KeyError, binascii.Error, pickle.UnpicklingError, EOFError) as error:
            raise OfflineDataError(f"the column {key!r} is broken: {error}") from error
    rows = {
        key: _rows(column) for key, column in columns.items() if key != "seq_lens" and not key.startswith("state_in_")
    }
    if len(set(rows.values())) > 1:
        raise OfflineDataError(f"the columns of a batch must have the same number of rows; they have {rows}")
    return SampleBatch(columns)


def _rows(column: Any) -> int:
    while isinstance(column, (dict, tuple)) and column:
        column = next(iter(column.values())) if isinstance(column, dict) else column[0]
    return len(column) if hasattr(column, "__len__") else 0


def _column(key: str, value: Any, dtype: str | None) -> Any:
    if isinstance(value, str):
        return _unpacked(base64.b64decode(value, validate=True))
    if key == "infos":
        infos: np.ndarray[Any, Any] = np.empty(len(value), dtype=object)
        for index, info in enumerate(value):
            infos[index] = info
        return infos
    if isinstance(value, list) and value and isinstance(value[0], str):  # each row for itself
        return SampleBatch({key: [_unpacked(base64.b64decode(row, validate=True)) for row in value]})[key]
    if isinstance(value, dict):
        return {name: _column(name, part, None) for name, part in value.items()}
    if not isinstance(value, list):
        raise ValueError(f"it must be a list with one element for each step, not {str(value)[:40]!r}")
    if value and isinstance(value[0], dict):  # steps that are objects: a column of each part
        return {name: _column(name, [row[name] for row in value], None) for name in value[0]}
    if dtype is not None and np.dtype(dtype).kind in "biuf":
        return np.array(value, np.dtype(dtype))  # directly: large whole numbers would be fractions on the way
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"it is not made of numbers (rows of different lengths, perhaps): {str(value)[:60]}")
    return array.astype(np.int32 if key == "seq_lens" else _usual(array.dtype), copy=False)


def _unpacked(data: bytes) -> Any:
    return unpack_foreign(data) if is_lz4(data) else unpack(data)
