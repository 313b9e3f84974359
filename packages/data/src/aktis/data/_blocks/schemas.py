"""One schema for many blocks."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from aktis.data._blocks.types import ITEM, TENSOR, Kind


def kind_of(block: pa.Table | pa.Schema) -> Kind:
    """Which kind of rows a block (or schema) holds."""
    names = block.schema.names if isinstance(block, pa.Table) else block.names
    if names == [ITEM]:
        return "simple"
    if names == [TENSOR]:
        return "tensor"
    return "table"


def unify_schemas(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """The narrowest schema that all the given ones can be cast to. Raises SchemaError, naming the column."""
    distinct: list[pa.Schema] = []
    for schema in schemas:
        if not any(schema is other or schema.equals(other) for other in distinct):
            distinct.append(schema)
    if not distinct:
        return pa.schema([])
    if len(distinct) == 1:
        return distinct[0]
    return pa.unify_schemas([s for s in distinct if len(s)] or distinct, promote_options="permissive")
