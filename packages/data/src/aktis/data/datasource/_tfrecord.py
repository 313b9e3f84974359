"""TFRecord files of ``tf.train.Example`` messages, read and written without TensorFlow.

A file is a sequence of frames. Each is::

    uint64 length | uint32 masked crc32c of the length | the record | uint32 masked crc32c of the record

all little-endian. A record is a serialized ``Example``: a map from feature names to lists of bytes, floats or integers.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aktis.data.exceptions import SchemaError

_LENGTH = struct.Struct("<QI")  # the record's length, and the checksum of these 8 bytes
_CHECKSUM = struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8
_LONGEST_RECORD = 1 << 34  # bytes; a length beyond this comes from a file that is no TFRecord file
_EXTRA = "TFRecord files need protobuf and crc32c: pip install 'aktis-data[tfrecords]'"

_ARROW_TYPES = {"bytes_list": pa.binary(), "float_list": pa.float32(), "int64_list": pa.int64()}


@functools.cache
def _crc32c() -> Callable[[bytes], int]:
    try:
        from crc32c import crc32c
    except ImportError as error:
        raise ImportError(_EXTRA) from error
    function: Callable[[bytes], int] = crc32c
    return function


def _masked(data: bytes) -> int:
    crc = _crc32c()(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def frame(record: bytes) -> bytes:
    """The record as it stands in a file."""
    length = struct.pack("<Q", len(record))
    return b"".join((_LENGTH.pack(len(record), _masked(length)), record, _CHECKSUM.pack(_masked(record))))


def read_records(stream: BinaryIO, *, verify: bool = True) -> Iterator[bytes]:
    """The records of a file, one by one.

    Args:
        stream: where to read from, decompressed.
        verify: whether checksums are checked.

    Raises:
        ValueError: the file is truncated, damaged, or no TFRecord file; says at which byte.
    """
    position = 0
    while True:
        head = bytes(stream.read(_LENGTH.size))
        if not head:
            return
        if len(head) < _LENGTH.size:
            raise ValueError(
                f"truncated TFRecord file: {len(head)} of the 12 bytes of a record's head at byte {position}"
            )
        length, check = _LENGTH.unpack(head)
        if (verify and _masked(head[:8]) != check) or length > _LONGEST_RECORD:
            raise ValueError(
                f"no TFRecord file, or a damaged one: the length of the record at byte {position} does not fit its checksum"
            )
        body = bytes(stream.read(length + _CHECKSUM.size))
        if len(body) < length + _CHECKSUM.size:
            raise ValueError(
                f"truncated TFRecord file: the record at byte {position} has {len(body)} of {length + _CHECKSUM.size} bytes"
            )
        record = body[:length]
        if verify and _masked(record) != _CHECKSUM.unpack_from(body, length)[0]:
            raise ValueError(f"damaged TFRecord file: the record at byte {position} does not fit its checksum")
        yield record
        position += _LENGTH.size + len(body)


@functools.cache
def example_class() -> Any:
    """The protobuf class of ``tf.train.Example``, made from its description in a pool of our own."""
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as error:
        raise ImportError(_EXTRA) from error
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="aktis/data/example.proto", package="tensorflow", syntax="proto3")

    def message(name: str, parent: Any = None) -> Any:
        return (file.message_type if parent is None else parent.nested_type).add(name=name)

    def field(owner: Any, name: str, number: int, kind: int, type_name: str = "", repeated: bool = False) -> Any:
        label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
        return owner.field.add(name=name, number=number, type=kind, type_name=type_name or None, label=label)

    for name, kind in (
        ("BytesList", kinds.TYPE_BYTES),
        ("FloatList", kinds.TYPE_FLOAT),
        ("Int64List", kinds.TYPE_INT64),
    ):
        field(message(name), "value", 1, kind, repeated=True)
    feature = message("Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(("BytesList", "FloatList", "Int64List"), start=1):
        snake = {"BytesList": "bytes_list", "FloatList": "float_list", "Int64List": "int64_list"}[name]
        field(feature, snake, number, kinds.TYPE_MESSAGE, f".tensorflow.{name}").oneof_index = 0
    features = message("Features")
    entry = message("FeatureEntry", features)
    entry.options.map_entry = True
    field(entry, "key", 1, kinds.TYPE_STRING)
    field(entry, "value", 2, kinds.TYPE_MESSAGE, ".tensorflow.Feature")
    field(features, "feature", 1, kinds.TYPE_MESSAGE, ".tensorflow.Features.FeatureEntry", repeated=True)
    field(message("Example"), "features", 1, kinds.TYPE_MESSAGE, ".tensorflow.Features")

    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName("tensorflow.Example")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)  # protobuf before 4.22


# ---------------------------------------------------------------------------------------------------- from records


def decode_examples(records: Iterable[bytes], *, list_columns: Collection[str] = ()) -> pa.Table:
    """One row per record: bytes become ``binary``, integers ``int64``, floats ``float32``.

    A feature that never has more than one value here is a plain column (null where it is missing or empty), others are
    lists (null where missing).

    Args:
        records: serialized examples, such as :func:`read_records` gives.
        list_columns: features that are lists even where they have one value in these records, so that all parts of a
            data set agree.

    Raises:
        SchemaError: a feature has values of several kinds.
        ValueError: a record is no ``Example``.
    """
    from google.protobuf.message import DecodeError

    cls = example_class()
    columns: dict[str, _Column] = {}
    count = 0
    for record in records:
        try:
            features = cls.FromString(record).features.feature
        except DecodeError as error:
            raise ValueError(f"record {count} is no tf.train.Example: {error}") from error
        for name, feature in features.items():
            column = columns.get(name)
            if column is None:
                column = columns[name] = _Column(name)
            column.add(count, feature)
        count += 1
    names = sorted(columns)  # the order in a message is arbitrary
    arrays = [columns[name].build(count, as_list=name in list_columns) for name in names]
    if not arrays:  # records without any feature are rows all the same
        return pa.table({}) if not count else pa.table({"features": pa.nulls(count)})
    return pa.table(arrays, names=names)


class _Column:
    """The values of one feature: flat, with the number of values per row."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._kind: str | None = None
        self._rows: list[int] = []
        self._lengths: list[int] = []
        self._values: list[Any] = []

    def add(self, row: int, feature: Any) -> None:
        kind = feature.WhichOneof("kind")
        if kind is None:
            return
        values = getattr(feature, kind).value
        if kind != self._kind:
            if self._kind is not None and len(values) and self._values:
                raise SchemaError(
                    f"feature {self._name!r} is a {self._kind} in some records, and a {kind} in record {row}; "
                    "a column has values of one kind"
                )
            if self._kind is None or len(values):
                self._kind = kind
        self._rows.append(row)
        self._lengths.append(len(values))
        self._values.extend(values)

    def build(self, count: int, *, as_list: bool) -> pa.Array:
        if self._kind is None:
            return pa.nulls(count)
        kind = _ARROW_TYPES[self._kind]
        if self._kind == "bytes_list":
            if sum(map(len, self._values)) >= 2**31 - 1:
                kind = pa.large_binary()
            flat = pa.array(self._values, kind)
        else:
            flat = pa.array(np.array(self._values, dtype=kind.to_pandas_dtype()))
        lengths: Any = np.zeros(count, dtype=np.int64)
        lengths[self._rows] = self._lengths
        if not as_list and lengths.max(initial=0) <= 1:
            if len(flat) == count:
                return flat
            positions = np.cumsum(lengths) - 1
            return flat.take(pa.array(positions, mask=lengths == 0))
        offsets: Any = np.zeros(count + 1, dtype=np.int32)
        np.cumsum(lengths, out=offsets[1:])
        present: Any = np.zeros(count, dtype=bool)
        present[self._rows] = True
        if present.all():
            return pa.ListArray.from_arrays(pa.array(offsets), flat)
        return pa.ListArray.from_arrays(pa.array(offsets, mask=np.append(~present, False)), flat)


# ------------------------------------------------------------------------------------------------------ to records


def encode_examples(block: pa.Table) -> Iterator[bytes]:
    """Each row as a serialized ``Example``.

    Strings are written as UTF-8, booleans and integers as integers, floats as 32-bit floats, tensors flat (their shape
    is not kept), null as an empty list; null lists are left out.

    Raises:
        SchemaError: a column has a type for which examples have none; names the column.
    """
    cls = example_class()
    columns = [(name, *_encodable(name, block.column(name))) for name in block.column_names]
    for row in range(block.num_rows):
        example = cls()
        features = example.features.feature
        for name, kind, is_list, values in columns:
            value = values[row]
            if value is None and is_list:
                continue  # an empty list is not the same as no list
            target = getattr(features[name], kind)
            if is_list:
                target.SetInParent()
                target.value.extend(value)
            elif value is None:
                target.SetInParent()  # the kind stays known where all values are null
            else:
                target.value.append(value)
        yield example.SerializeToString(deterministic=True)


def check_encodable(schema: pa.Schema) -> None:
    """Raise SchemaError unless blocks with this schema can be encoded."""
    for field in schema:
        _kind_of(field.name, _value_type(field.type)[0])


def _value_type(kind: pa.DataType) -> tuple[pa.DataType, bool]:
    """The type of single values, and whether a row has several."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return kind.value_type, True
    return kind, False


def _kind_of(name: str, kind: pa.DataType) -> str:
    types = pa.types
    if types.is_integer(kind) or types.is_boolean(kind) or types.is_null(kind):
        return "int64_list"
    if types.is_floating(kind):
        return "float_list"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind):
        return "bytes_list"
    if types.is_fixed_size_binary(kind):
        return "bytes_list"
    raise SchemaError(
        f"column {name!r} has type {kind}, and a tf.train.Example has only bytes, integers and floats, and flat lists of "
        "them; convert the column (with map_batches) or leave it out (with drop_columns)"
    )


def _encodable(name: str, column: pa.ChunkedArray) -> tuple[str, bool, list[Any]]:
    """The kind of list, whether rows are lists, and the values as Python objects."""
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    value_type, is_list = _value_type(column.type)
    kind = _kind_of(name, value_type)
    if not is_list:
        if kind == "bytes_list" and not pa.types.is_fixed_size_binary(value_type):
            column = column.cast(pa.large_binary())
        elif pa.types.is_boolean(value_type):
            column = column.cast(pa.int64())
        elif pa.types.is_uint64(value_type) and (pc.max(column).as_py() or 0) > 2**63 - 1:
            raise SchemaError(
                f"column {name!r} has values beyond 2**63 - 1, the greatest that a tf.train.Example holds"
            )
        return kind, False, column.to_pylist()
    if kind == "bytes_list" and (pa.types.is_string(value_type) or pa.types.is_large_string(value_type)):
        column = column.cast(pa.large_list(pa.large_binary()))
    return kind, True, _without_nulls(name, column)


def _without_nulls(name: str, column: pa.ChunkedArray) -> list[Any]:
    rows: list[Any] = []
    for chunk in column.chunks:
        if chunk.flatten().null_count:
            raise SchemaError(f"column {name!r} has lists with nulls in them, which a tf.train.Example cannot hold")
        rows.extend(chunk.to_pylist())
    return rows
