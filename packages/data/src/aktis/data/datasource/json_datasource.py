"""JSON: an object per line, with Arrow's parser; what that cannot read, with Python's."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyarrow import json as pajson

from aktis.data._blocks import from_rows
from aktis.data._blocks.types import Block
from aktis.data.datasource.file_based_datasource import LineBasedDatasource, with_compressed

__all__ = ["JSONDatasource"]

_CHUNK = 32 << 20  # bytes of a file that are parsed at a time
_BLOCK = 4 << 20  # bytes in which the parser expects a whole object, at first


class JSONDatasource(LineBasedDatasource):
    """One row per line, or a whole file that is one array of objects, or one object."""

    _FILE_EXTENSION = with_compressed("json", "jsonl", "ndjson")
    _NUM_THREADS_PER_TASK = 2
    _MEMORY_RATIO = 1.0
    _OWN_TABLES = True

    def _read_stream(self, f: Any, path: str, **arrow_json_args: Any) -> Iterator[Block]:
        chunk = f.read(_CHUNK)
        if not chunk:
            raise ValueError("the file is empty (0 bytes)")
        if chunk.lstrip()[:1] == b"[":
            yield _parse_document(chunk + f.read())
            return
        rest = b""
        first = True
        while chunk:
            following = f.read(_CHUNK)
            if following:
                end = chunk.rfind(b"\n") + 1
                if not end:  # one line that is longer than a chunk
                    chunk += following
                    continue
                chunk, rest = chunk[:end], chunk[end:]
            try:
                yield _parse(chunk, arrow_json_args)
            except ValueError:
                if not first:
                    raise
                # not lines after all: perhaps one object over many lines
                yield _parse_document(chunk + rest + following + f.read())
                return
            first = False
            chunk, rest = rest + following, b""

    def _sink(self, options: Any, args: Mapping[str, Any], args_fn: Any) -> Any:
        from aktis.data.datasource.json_sink import JSONSink

        return JSONSink(options, args, args_fn)


def _parse(lines: bytes, options: dict[str, Any]) -> Block:
    """Lines of JSON as a table."""
    if not lines.strip():
        return pa.table({})
    options = dict(options)
    given = options.pop("read_options", None)
    read = copy.copy(given) if given is not None else pajson.ReadOptions(block_size=_BLOCK)
    read.use_threads = False
    try:
        try:
            return pajson.read_json(pa.BufferReader(lines), read_options=read, **options)
        except pa.ArrowInvalid as error:
            if "straddl" not in str(error):
                raise
            read.block_size = len(lines) + 1  # an object that is larger than a block
            return pajson.read_json(pa.BufferReader(lines), read_options=read, **options)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        try:
            rows = [json.loads(line) for line in lines.splitlines() if line.strip()]
        except ValueError:
            raise error from None
        return _table(rows)


def _parse_document(data: bytes) -> Block:
    """A file that is one JSON value."""
    value = json.loads(data)
    return _table(value if isinstance(value, list) else [value])


def _table(rows: list[Any]) -> Block:
    """Objects that may lack keys of others: those are null."""
    if not rows:
        return pa.table({})
    if not all(isinstance(row, dict) for row in rows):
        wrong = next(row for row in rows if not isinstance(row, dict))
        raise ValueError(f"rows of JSON files are objects, one is {json.dumps(wrong)[:80]}")
    names = list(dict.fromkeys(name for row in rows for name in row))
    return from_rows([{name: row.get(name) for name in names} for row in rows])
