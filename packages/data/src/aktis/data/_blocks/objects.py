"""Columns of Python objects: pickled, one by one, in a column of bytes.

The type is not registered with pyarrow, on purpose: only this module makes such columns, so no file, whatever its metadata
say, can become one and have its bytes unpickled. Between our own processes the type travels inside pickled tables.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from typing import Any

import cloudpickle
import pyarrow as pa

from aktis.data.exceptions import BatchTypeError


class ObjectType(pa.ExtensionType):  # type: ignore[misc]
    """Python objects, as ``large_binary`` of pickles. ``None`` is null."""

    def __init__(self) -> None:
        super().__init__(pa.large_binary(), "aktis.object")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> ObjectType:
        return cls()

    def __reduce__(self) -> tuple[Any, ...]:
        return ObjectType, ()

    def __hash__(self) -> int:
        return hash("aktis.object")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectType)

    def __ne__(self, other: object) -> bool:  # pyarrow's own would not call __eq__
        return not isinstance(other, ObjectType)

    def __str__(self) -> str:
        return "object"


OBJECT = ObjectType()


def is_object(data_type: pa.DataType) -> bool:
    """Whether a column of this type holds pickled Python objects."""
    return isinstance(data_type, ObjectType)


def encode_objects(values: Iterable[Any]) -> pa.ExtensionArray:
    """A column of these objects."""
    dump = cloudpickle.dumps if cloudpickle.list_registry_pickle_by_value() else _dumps
    encoded: list[bytes | None] = []
    for value in values:
        try:
            encoded.append(None if value is None else dump(value))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise BatchTypeError(
                f"values that Arrow has no type for are pickled, but the one of row {len(encoded)} cannot be "
                f"({type(value).__name__}): {error}"
            ) from error
    return pa.ExtensionArray.from_storage(OBJECT, pa.array(encoded, pa.large_binary()))


def decode_objects(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """The objects of such a column, fresh ones."""
    loads = pickle.loads
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return [None if data is None else loads(data) for chunk in chunks for data in chunk.storage.to_pylist()]


def _dumps(value: Any, dumps: Callable[[Any, int], bytes] = pickle.dumps) -> bytes:
    """As ``pickle`` does it, where that is enough: it is ten times as fast as cloudpickle."""
    try:
        data = dumps(value, 5)
    except (pickle.PicklingError, AttributeError, TypeError):  # lambdas, local classes
        return bytes(cloudpickle.dumps(value))
    # What is in __main__ would be looked for in the reader's __main__, which is another one.
    return bytes(cloudpickle.dumps(value)) if b"__main__" in data else data
