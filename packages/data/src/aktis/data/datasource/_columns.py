"""Which columns go into files, and what they are called there."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from aktis.data._blocks import kind_of
from aktis.data._blocks.types import Block
from aktis.data.exceptions import SchemaError

VALUE = "value"  # what the column of plain items is called in files


def named_columns(block: Block) -> Block:
    """The block with a name for the column of plain items (numbers, strings ...), which has none of its own."""
    return block.rename_columns([VALUE]) if kind_of(block) == "simple" else block


def is_object(kind: pa.DataType) -> bool:
    """Whether values of this type are pickled Python objects."""
    return getattr(kind, "extension_name", "") == "aktis.object"


def is_tensor(kind: pa.DataType) -> bool:
    """Whether values of this type are arrays."""
    return "tensor" in getattr(kind, "extension_name", "")


def check_columns(schema: pa.Schema, writer: str, *, tensors: bool = True, nested: bool = True) -> None:
    """Raise SchemaError for columns that a format has no place for, naming the column and what helps."""
    for column in schema:
        kind: Any = column.type
        if is_object(kind):
            raise SchemaError(
                f"{writer}: column {column.name!r} holds Python objects, which are never pickled into files. Turn them into "
                "strings, numbers, lists or dicts of them, or arrays (with map or map_batches), or leave the column out "
                f"(with drop_columns([{column.name!r}]))"
            )
        if not tensors and is_tensor(kind):
            raise SchemaError(
                f"{writer}: column {column.name!r} holds tensors ({kind}), and this format has none. Write Parquet "
                "(write_parquet) or NumPy files (write_numpy), or make it a plain column (with map_batches)"
            )
        if not nested and (pa.types.is_nested(kind) or pa.types.is_map(kind)):
            raise SchemaError(
                f"{writer}: column {column.name!r} has type {kind}, and this format has no lists or structs. Write JSON or "
                "Parquet (write_json, write_parquet), or make it a plain column (with map_batches)"
            )
