"""What a plan says about its result without being executed. Pure functions; None means "not known"."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from aktis.data._blocks import unify_schemas
from aktis.data._exchanges.zip import Zip
from aktis.data._plan.logical import (
    Exchanged,
    Filter,
    InputBlocks,
    Limit,
    LogicalOperator,
    Map,
    Project,
    Read,
    Rearranged,
    Union,
)


def walk(root: LogicalOperator) -> Iterator[LogicalOperator]:
    """Every operator once, inputs first."""
    seen: set[int] = set()

    def visit(node: LogicalOperator) -> Iterator[LogicalOperator]:
        if id(node) not in seen:
            seen.add(id(node))
            for child in node.inputs:
                yield from visit(child)
            yield node

    return visit(root)


def preserves_rows(node: LogicalOperator) -> bool:
    """Whether an all-to-all operation gives exactly the rows that it gets, in whatever order and blocks."""
    if isinstance(node, Exchanged):
        return bool(getattr(node.exchange, "preserves_rows", False))
    return isinstance(node, Rearranged) and bool(getattr(node.rearrangement, "preserves_rows", False))


def has_reads(root: LogicalOperator) -> bool:
    """Whether anything is read from a source, so that results may differ between executions."""
    return any(isinstance(node, Read) for node in walk(root))


def input_files(root: LogicalOperator) -> list[str]:
    """The files that the data come from, in order, each once."""
    files: dict[str, None] = {}
    for node in walk(root):
        if isinstance(node, Read):
            files.update(dict.fromkeys(node.reader.input_files()))
        elif isinstance(node, InputBlocks):
            for handle in node.handles:
                files.update(dict.fromkeys(handle.metadata.input_files or ()))
    return list(files)


def known_rows(root: LogicalOperator) -> int | None:
    """How many rows come out."""
    if isinstance(root, InputBlocks):
        rows = [handle.metadata.num_rows for handle in root.handles]
        return None if any(n is None for n in rows) else sum(n or 0 for n in rows)
    if isinstance(root, Read):
        return root.reader.count_rows()
    if isinstance(root, Limit):
        if root.limit == 0:
            return 0
        rows_in = known_rows(root.inputs[0])
        return None if rows_in is None else min(root.limit, rows_in)
    if isinstance(root, Union):
        return _sum([known_rows(child) for child in root.inputs])
    if isinstance(root, Rearranged) and isinstance(root.rearrangement, Zip):
        counts = {known_rows(child) for child in root.inputs}
        return counts.pop() if len(counts) == 1 else None  # different lengths are an error, which executing reports
    if isinstance(root, Project) or (isinstance(root, Map) and root.keeps_rows) or preserves_rows(root):
        return known_rows(root.inputs[0])
    return None


def most_rows(root: LogicalOperator) -> int | None:
    """A number of rows that is certainly not exceeded, from limits and data in memory alone."""
    if isinstance(root, InputBlocks):
        return known_rows(root)
    if isinstance(root, Limit):
        below = most_rows(root.inputs[0])
        return root.limit if below is None else min(root.limit, below)
    if isinstance(root, Union):
        return _sum([most_rows(child) for child in root.inputs])
    passes = isinstance(root, (Project, Filter)) or (isinstance(root, Map) and root.keeps_rows) or preserves_rows(root)
    return most_rows(root.inputs[0]) if passes else None


def _sum(counts: list[int | None]) -> int | None:
    return None if any(n is None for n in counts) else sum(n or 0 for n in counts)


def known_schema(root: LogicalOperator) -> pa.Schema | None:
    """The columns and types of the blocks that come out."""
    if isinstance(root, InputBlocks):
        filled = [handle.metadata for handle in root.handles if handle.metadata.num_rows != 0]
        return _unified([metadata.schema for metadata in filled or [handle.metadata for handle in root.handles]])
    if isinstance(root, Read):
        return root.reader.schema()
    if isinstance(root, Project):
        below = known_schema(root.inputs[0])
        return None if below is None else projected_schema(root, below)
    if isinstance(root, Union):
        schemas = [known_schema(child) for child in root.inputs]
        return None if any(schema is None for schema in schemas) else _unified(schemas)
    if isinstance(root, (Filter, Limit)) or preserves_rows(root):
        return known_schema(root.inputs[0])
    return None


def _unified(schemas: list[pa.Schema | None]) -> pa.Schema | None:
    known = [schema for schema in schemas if schema is not None]
    if not known or len(known) < len(schemas):
        return None
    try:
        return unify_schemas(known)
    except (ValueError, TypeError, pa.ArrowException):  # an error of the data, which executing reports better
        return None


def projected_schema(project: Project, schema: pa.Schema) -> pa.Schema | None:
    """What a projection makes of blocks of this schema. None: it does not suit, or a function does not say its type."""
    from aktis.data._transforms.project import ProjectTransform

    if len(schema) == 0:
        return None
    try:
        return ProjectTransform.of(project).schema(schema)
    except Exception:  # whatever it is, executing reports it with the data at hand
        return None


def estimated_bytes(root: LogicalOperator) -> int | None:
    """About how many bytes come out, as far as sources say it. Functions are taken to give what they get."""
    if isinstance(root, InputBlocks):
        return _sum([handle.metadata.size_bytes for handle in root.handles])
    if isinstance(root, Read):
        return root.reader.estimate_inmemory_data_size()
    size = _sum([estimated_bytes(child) for child in root.inputs])
    if size is None or not isinstance(root, Limit):
        return size
    rows = known_rows(root.inputs[0])
    return size if not rows else size * min(root.limit, rows) // rows
