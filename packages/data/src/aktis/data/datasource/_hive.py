"""Rows by the values of their partition columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aktis.data._blocks import size_bytes
from aktis.data._blocks.types import Block
from aktis.data.exceptions import SchemaError

NULL = "__HIVE_DEFAULT_PARTITION__"
_MOST_BYTES = 128 << 20  # of rows that are held back so that partitions get few files
_FULL = 32 << 20  # bytes of one partition that are worth a file


class Partitioner:
    """Collects the rows of each partition, and gives them out in portions that are worth a file."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = list(columns)
        self._pieces: dict[str, list[Block]] = {}
        self._sizes: dict[str, int] = {}

    def add(self, block: Block) -> Iterator[tuple[str, Iterator[Block]]]:
        """Rows that are ready now: folder, blocks."""
        for folder, rows in split_by_values(block, self._columns):
            self._pieces.setdefault(folder, []).append(rows)
            self._sizes[folder] = self._sizes.get(folder, 0) + size_bytes(rows)
        for folder in [folder for folder, size in self._sizes.items() if size >= _FULL]:
            yield self._pop(folder)
        while sum(self._sizes.values()) > _MOST_BYTES:
            yield self._pop(max(self._sizes, key=self._sizes.__getitem__))

    def flush(self) -> Iterator[tuple[str, Iterator[Block]]]:
        """What is left."""
        for folder in list(self._pieces):
            yield self._pop(folder)

    def _pop(self, folder: str) -> tuple[str, Iterator[Block]]:
        del self._sizes[folder]
        pieces = self._pieces.pop(folder)
        groups: list[list[Block]] = []
        for piece in pieces:
            if groups and groups[-1][0].schema.equals(piece.schema):
                groups[-1].append(piece)
            else:
                groups.append([piece])
        return folder, iter([pa.concat_tables(group) for group in groups])


def split_by_values(block: Block, columns: Sequence[str]) -> Iterator[tuple[str, Block]]:
    """The rows for each combination of values, in their order, without the partition columns; and its folder's name."""
    missing = [name for name in columns if name not in block.column_names]
    if missing:
        raise SchemaError(f"partition_cols names {missing}, and the columns are {block.column_names}")
    rest = block.drop_columns(list(columns))
    if not rest.num_columns:
        raise SchemaError(f"partition_cols names all columns ({list(columns)}): none is left for the files")
    codes: Any = np.zeros(block.num_rows, dtype=np.int64)
    labels: list[list[str]] = []
    for name in columns:
        encoded = _as_text(name, block.column(name)).dictionary_encode().unify_dictionaries()
        texts = encoded.chunk(0).dictionary.to_pylist() if encoded.num_chunks else []
        indices = pa.chunked_array([chunk.indices for chunk in encoded.chunks], pa.int32())
        codes = codes * (len(texts) + 1) + pc.fill_null(indices, len(texts)).to_numpy()
        labels.append([f"{quote(name, safe='')}={quote(text, safe='')}" for text in texts] + [f"{name}={NULL}"])
    unique: Any = np.unique(codes, return_index=True, return_inverse=True)
    found, first, inverse = unique
    if len(found) == 1:
        yield _folder(int(found[0]), labels), rest
        return
    order: Any = np.argsort(inverse, kind="stable")
    ordered = rest.take(pa.array(order))
    bounds: Any = np.searchsorted(inverse[order], np.arange(len(found) + 1))
    positions: Any = np.argsort(first)
    for position in positions:  # partitions in the order in which they come up
        start, stop = int(bounds[position]), int(bounds[position + 1])
        yield _folder(int(found[position]), labels), ordered.slice(start, stop - start)


def _folder(code: int, labels: list[list[str]]) -> str:
    parts = []
    for texts in reversed(labels):
        code, index = divmod(code, len(texts))
        parts.append(texts[index])
    return "/".join(reversed(parts))


def _as_text(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType) or pa.types.is_binary(kind):
        raise SchemaError(
            f"partition column {name!r} has type {kind}; values in folder names are numbers, strings or dates"
        )
    return column.cast(pa.string())
