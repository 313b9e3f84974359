"""What happens inside read tasks, for every format: pieces of files become blocks of a good size that know their origin."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa

from aktis.data._blocks import OutputBuffer, unify_schemas
from aktis.data._blocks.convert import conform as conform_block
from aktis.data._blocks.convert import nulls, rows_only
from aktis.data._blocks.types import Block
from aktis.data.exceptions import SchemaError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of one file. ``first_row`` is the number of its first row in the file, None where that is not known.

    ``paths``: each row is a file of its own.
    """

    table: Block
    path: str
    first_row: int | None = None
    paths: tuple[str, ...] = ()


class SourceBlocks(Iterator[Block]):
    """The blocks of one read task. ``origin`` and ``input_files`` belong to the block that was given out last."""

    def __init__(self, pieces: Iterable[Piece], target_bytes: int, limit: int | None = None) -> None:
        self.origin = ""
        self.input_files: list[str] = []
        self._spans: deque[tuple[str, int | None, int]] = deque()
        self._pieces = iter(pieces)
        self._blocks = self._assemble(target_bytes, limit)

    def __iter__(self) -> SourceBlocks:
        return self

    def __next__(self) -> Block:
        block = next(self._blocks)
        self._describe(block.num_rows)
        return block

    def close(self) -> None:
        """Leave early: files are closed, threads end."""
        self._blocks.close()  # type: ignore[attr-defined]
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()

    def _assemble(self, target_bytes: int, limit: int | None) -> Iterator[Block]:
        buffer = OutputBuffer(target_bytes)
        left = limit
        for piece in self._pieces:
            table = piece.table
            if left is not None and table.num_rows >= left:
                table = table.slice(0, left)
            if piece.paths:
                self._spans.extend((path, None, 1) for path in piece.paths[: table.num_rows])
            else:
                self._spans.append((piece.path, piece.first_row, table.num_rows))
            yield from buffer.add(table if table.num_columns else rows_only(table.num_rows))
            if left is not None:
                left -= table.num_rows
                if left <= 0:
                    break
        yield from buffer.flush()

    def _describe(self, rows: int) -> None:
        files: dict[str, None] = {}
        first = last = None
        while self._spans:
            path, start, count = self._spans[0]
            if count > 0 and rows == 0 and files:
                break
            used = min(rows, count)
            if not files:
                first = start
            files[path] = None
            last = None if start is None else start + used
            rows -= used
            if used < count:
                self._spans[0] = (path, None if start is None else start + used, count - used)
                break
            self._spans.popleft()
        self.input_files = list(files)
        self.origin = describe_origin(self.input_files, first, last)


def describe_origin(files: Sequence[str], first: int | None, stop: int | None) -> str:
    """``"a.parquet, rows 0 to 99,999"``, or how many files, and which."""
    if not files:
        return ""
    if len(files) > 1:
        return f"{len(files)} files, {files[0]} to {files[-1]}"
    if first is None or stop is None or stop <= first:
        return files[0]
    if stop == first + 1:
        return f"{files[0]}, row {first:,}"
    return f"{files[0]}, rows {first:,} to {stop - 1:,}"


def ordered_parallel(
    function: Callable[[T], R], items: Sequence[T], threads: int, ahead: int | None = None
) -> Iterator[R]:
    """``map`` with a few threads: results in order, and never more than ``ahead`` of them in memory."""
    if threads <= 1 or len(items) <= 1:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(min(threads, len(items)), thread_name_prefix="aktis-read")
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= (ahead or 2 * threads):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        pool.shutdown(wait=True)


def cut(weights: Sequence[float], parts: int) -> list[range]:
    """Consecutive, non-empty ranges of items with about equal sums of weights: exactly ``min(parts, items)`` of them."""
    count = len(weights)
    parts = max(1, min(parts, count))
    if count == 0:
        return []
    total = float(sum(weights)) or float(count)
    if not sum(weights):
        weights = [1.0] * count
    ranges: list[range] = []
    start = 0
    done = 0.0
    for part in range(1, parts):
        goal = total * part / parts
        stop = start
        # at least one item, and enough left for the parts to come; the last item is taken if that comes closer to the goal
        while stop < count - (parts - part) and (stop == start or done + weights[stop] / 2 <= goal):
            done += weights[stop]
            stop += 1
        ranges.append(range(start, stop))
        start = stop
    ranges.append(range(start, count))
    return ranges


def conform(table: Block, schema: pa.Schema, path: str, reference: str) -> Block:
    """The table with at least the columns of ``schema``, in its order and types: missing ones are null, others follow.

    Raises:
        SchemaError: a column's types cannot be reconciled. It names both files.
    """
    if table.schema.equals(schema):
        return table
    try:
        return conform_block(table, unify_schemas([schema, table.schema]))
    except (SchemaError, pa.ArrowException) as error:
        raise schema_conflict(reference, schema, path, table.schema, error) from error


def cast_to(table: Block, schema: pa.Schema, path: str) -> Block:
    """Exactly these columns, in these types: what a user has asked for by ``schema=``."""
    try:
        return conform_block(table, schema)
    except SchemaError as error:
        raise SchemaError(f"{path} does not fit the given schema: {error}") from error


def schema_conflict(first: str, one: pa.Schema, second: str, two: pa.Schema, cause: BaseException) -> SchemaError:
    """Names the two files and the columns in which they differ."""
    differing = [
        f"{name!r} is {one.field(name).type} and {two.field(name).type}"
        for name in one.names
        if name in two.names and one.field(name).type != two.field(name).type
    ]
    what = "; ".join(differing[:5]) or str(cause)
    files = f"Parts of {first}" if first == second else f"{first} and {second}"
    return SchemaError(f"{files} do not fit together: {what}. ({cause})")


_KNOWN_EXTENSIONS = frozenset(
    {
        "arrow.fixed_shape_tensor",
        "arrow.uuid",
        "arrow.json",
        "arrow.bool8",
        "aktis.variable_shaped_tensor",
    }
)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The schema without metadata, and without extension types other than those that are nothing but JSON and arrays.

    Metadata in files can say "these bytes are pickled objects": nothing that was read from a file may be unpickled.
    """
    return pa.schema([pa.field(field.name, _plain_type(field.type), field.nullable) for field in schema])


def plain_table(table: Block) -> Block:
    """The table with :func:`plain_schema`. Values are not copied."""
    schema = plain_schema(table.schema)
    if table.schema.equals(schema, check_metadata=True):
        return table
    columns = []
    for column, field in zip(table.columns, schema):
        if column.type != field.type:
            column = pa.chunked_array([_plain_array(chunk, field.type) for chunk in column.chunks], field.type)
        columns.append(column)
    if not columns:
        return table.replace_schema_metadata(None)
    return pa.Table.from_arrays(columns, schema=schema)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.BaseExtensionType):
        return kind if kind.extension_name in _KNOWN_EXTENSIONS else _plain_type(kind.storage_type)
    if pa.types.is_struct(kind):
        fields = [pa.field(f.name, _plain_type(f.type), f.nullable) for f in kind]
        return pa.struct(fields)
    if pa.types.is_map(kind):
        return pa.map_(_plain_type(kind.key_type), _plain_type(kind.item_type), kind.keys_sorted)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_plain_type(kind.value_type), kind.list_size)
    if pa.types.is_large_list(kind):
        return pa.large_list(_plain_type(kind.value_type))
    if pa.types.is_list(kind):
        return pa.list_(_plain_type(kind.value_type))
    return kind


def _plain_array(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if isinstance(array, pa.ExtensionArray) and not isinstance(kind, pa.BaseExtensionType):
        return _plain_array(array.storage, kind)
    if array.type == kind:
        return array
    return array.view(kind)


def with_constants(table: Block, values: dict[str, pa.Scalar]) -> Block:
    """The table with columns that have the same value in all rows (in place, if there is one of that name)."""
    for name, value in values.items():
        column = pa.repeat(value, table.num_rows) if value.is_valid else nulls(table.num_rows, value.type)
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, column)
        else:
            table = table.append_column(pa.field(name, value.type), column)
    return table
