"""One schema for many blocks."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from aktis.data._blocks.objects import OBJECT, is_object
from aktis.data._blocks.types import ITEM, ROWS, TENSOR, Kind
from aktis.data._blocks.unify import Incompatible, join, join_items
from aktis.data.exceptions import SchemaError

_NAMES = {
    "simple": "rows that are Python objects",
    "tensor": "rows that are arrays",
    "table": "rows with columns",
}


def kind_of(block: pa.Table | pa.Schema) -> Kind:
    """Which kind of rows a block (or schema) holds."""
    names = block.schema.names if isinstance(block, pa.Table) else block.names
    if len(names) != 1:
        return "table"
    if names[0] == ITEM:
        return "simple"
    return "tensor" if names[0] == TENSOR else "table"


def unify_schemas(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """The narrowest schema that all the given ones can be cast to.

    Columns are in the order in which they first appear; the type of each does not depend on the order of the schemas.
    Schemas without columns count for nothing. Raises SchemaError, naming the column and the types that do not fit.
    """
    distinct = _distinct(schemas)
    full = [schema for schema in distinct if len(schema)]
    if len(full) < 2:
        return (full or distinct or [pa.schema([])])[0]
    kinds = {kind_of(schema) for schema in full}
    if len(kinds) > 1:
        found = " and ".join(sorted(_NAMES[kind] for kind in kinds))
        raise SchemaError(f"blocks of one data set must all hold the same kind of rows, but there are {found}")
    if len(real := [schema for schema in full if schema.names != [ROWS]]) < len(full):
        full = [*real, _all_null(real)] if real else full[:1]
    return _unify(full, items="simple" in kinds)


def _distinct(schemas: Iterable[pa.Schema]) -> list[pa.Schema]:
    """Each schema once. Nearly always all are equal, and often the same object."""
    seen: set[int] = set()
    distinct: list[pa.Schema] = []
    known: set[pa.Schema] = set()
    for schema in schemas:
        if id(schema) in seen:
            continue
        seen.add(id(schema))
        if distinct and schema.equals(distinct[-1]):
            continue
        plain = schema.remove_metadata()
        if plain not in known:
            known.add(plain)
            distinct.append(schema)
    return distinct


def _all_null(schemas: list[pa.Schema]) -> pa.Schema:
    """Beside blocks that have rows but no columns every column may be null."""
    return pa.schema(
        [pa.field(name, pa.null()) for name in dict.fromkeys(n for schema in schemas for n in schema.names)]
    )


def _unify(schemas: list[pa.Schema], *, items: bool) -> pa.Schema:
    found: dict[str, list[pa.Field]] = {}
    for schema in schemas:
        if len(set(schema.names)) < len(schema):
            twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
            raise SchemaError(
                f"columns must have different names, but there are several of {', '.join(map(repr, twice))}"
            )
        for field in schema:
            found.setdefault(field.name, []).append(field)
    fields = []
    for name, versions in found.items():
        everywhere = len(versions) == len(schemas)
        nullable = not everywhere or any(field.nullable for field in versions)
        fields.append(pa.field(name, _join_all(name, [field.type for field in versions], items), nullable))
    return pa.schema(fields)


def _join_all(name: str, types: list[pa.DataType], items: bool) -> pa.DataType:
    # Objects first: beside them types fit that would not fit each other, in whatever order they come.
    if any(map(is_object, types)):
        return OBJECT
    result = types[0]
    for other in types[1:]:
        try:
            result = join_items(result, other) if items else join(result, other)
        except Incompatible:
            raise SchemaError(
                f"column {name!r} is {result} in some blocks and {other} in others, and no type holds the values of both: "
                "cast one of them where the blocks are made"
            ) from None
    return result
