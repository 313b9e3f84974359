"""Hash partitioning: equal keys go to equal partitions, in whichever block and process they are."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aktis.data._exchanges._keys import KeyColumn, numbers, one_chunk

Hashes: TypeAlias = npt.NDArray[np.uint64]

_NULL = np.uint64(0x9E3779B97F4A7C15)


def hash_partitions(columns: Sequence[KeyColumn], num_partitions: int) -> npt.NDArray[np.int64]:
    """The partition of each row. Blocks must agree on the types of keys: see ``cast_key``."""
    total: Hashes | None = None
    for column in columns:
        hashes = _hash_column(column)
        total = hashes if total is None else _mix(total * np.uint64(31) + hashes)
    assert total is not None
    return (total % np.uint64(num_partitions)).astype(np.int64)


def _mix(values: Hashes) -> Hashes:
    """The finishing steps of splitmix64: every bit of the input changes about half of the output."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _hash_column(column: KeyColumn) -> Hashes:
    if isinstance(column, list):
        return _mix(np.fromiter((_hash_value(value) for value in column), np.uint64, len(column)))
    array = one_chunk(column)
    if pa.types.is_null(array.type):
        return np.full(len(array), _NULL)
    plain = numbers(array)
    if plain is None:
        hashes = _hash_distinct(array)
    elif plain.dtype.kind == "f":
        normal = plain.astype(np.float64) + 0.0  # makes -0.0 and 0.0 one value
        normal[np.isnan(normal)] = np.nan  # one of the many
        hashes = _mix(normal.view(np.uint64))
    else:
        hashes = _mix(plain.astype(np.int64, copy=False).view(np.uint64))
    if array.null_count:
        hashes = np.where(array.is_null().to_numpy(zero_copy_only=False), _NULL, hashes)
    return hashes


def _hash_distinct(array: pa.Array) -> Hashes:
    """Strings and the like: each distinct value is hashed once."""

    encoded = array.dictionary_encode()
    values = encoded.dictionary
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.string())
    from pandas.util import hash_array  # pandas takes long to import

    distinct = hash_array(np.array(values.to_pylist(), dtype=object), categorize=False)
    codes = pc.fill_null(encoded.indices, 0).to_numpy(zero_copy_only=False)
    return np.asarray(distinct[codes] if len(distinct) else np.zeros(len(array)), dtype=np.uint64)


def _hash_value(value: Any) -> int:
    """The same in all processes, unlike ``hash``, and equal for values that are equal."""
    if value is None or value != value:
        return int(_NULL)
    if isinstance(value, (bool, int, float, complex)):
        return hash(value) % (1 << 64)  # numbers are not salted
    if isinstance(value, str):
        return zlib.crc32(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, (tuple, frozenset)):
        parts = [_hash_value(part) for part in value]
        if isinstance(value, frozenset):
            parts.sort()
        total = 17
        for part in parts:
            total = (total * 1_000_003 + part) % (1 << 64)
        return total
    return zlib.crc32(pickle.dumps(value, 5))
