"""Writing JSON files: an object per line."""

from __future__ import annotations

import base64
import datetime
import decimal
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aktis.data._blocks.types import Block
from aktis.data.datasource._columns import named_columns
from aktis.data.datasource._file_sink import BlockFileSink, FileOptions
from aktis.data.exceptions import SchemaError

_ROWS = 65_536  # lines that are made at a time
_CONTROL = r"[\x00-\x1f]"
_NOTHING = pa.scalar("", pa.large_string())


class JSONSink(BlockFileSink):
    """JSON Lines: UTF-8, an object per row and line.

    Numbers come back exactly; NaN and infinities, which JSON has no words for, and nulls are ``null``. Times are strings in ISO
    form, bytes strings in base64, decimals strings.

    Args:
        options: where to, and how rows are spread over files.
        args: for ``pandas.DataFrame.to_json``, which is used if there are any.
        args_fn: called in the task for more of them, where they cannot be pickled.
    """

    name = "WriteJSON"
    extension = "json"

    def __init__(
        self,
        options: FileOptions,
        args: Mapping[str, Any] | None = None,
        args_fn: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(options)
        self._args = dict(args or {})
        self._args_fn = args_fn
        if self._args.get("orient", "records") != "records" or self._args.get("lines", True) is not True:
            raise ValueError(
                "write_json writes an object per line: orient can only be 'records' and lines True, got "
                f"orient={self._args.get('orient', 'records')!r}, lines={self._args.get('lines', True)!r}"
            )

    def write_file(self, blocks: Iterator[Block], stream: Any) -> None:
        args = {**self._args, **(self._args_fn() if self._args_fn is not None else {})}
        args.pop("orient", None)
        args.pop("lines", None)
        for block in blocks:
            for start in range(0, block.num_rows, _ROWS):
                part = block.slice(start, _ROWS)
                if args:
                    text = part.to_pandas().to_json(orient="records", lines=True, **{"date_format": "iso", **args})
                    stream.write(text.encode() if text.endswith("\n") else text.encode() + b"\n")
                else:
                    stream.write(json_lines(part))


def json_lines(block: Block) -> pa.Buffer | bytes:
    """The rows as JSON Lines. Columns are turned into text by Arrow; only nested ones go through Python."""
    block = named_columns(block)
    if not block.num_columns:
        return b"{}\n" * block.num_rows
    parts: list[Any] = []
    for index, name in enumerate(block.column_names):
        parts.append(("{" if index == 0 else ",") + json.dumps(name, ensure_ascii=False) + ":")
        parts.append(_as_json(name, block.column(index)))
    lines = pc.binary_join_element_wise(
        *_large(parts), pa.scalar("}\n", pa.large_string()), pa.scalar("", pa.large_string())
    )
    out = []
    for chunk in lines.chunks if isinstance(lines, pa.ChunkedArray) else [lines]:
        offsets = np.frombuffer(chunk.buffers()[1], np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
        out.append(chunk.buffers()[2].slice(int(offsets[0]), int(offsets[-1] - offsets[0])))
    return out[0] if len(out) == 1 else b"".join(out)


def _large(parts: list[Any]) -> list[Any]:
    kind = pa.large_string()
    return [pa.scalar(part, kind) if isinstance(part, str) else part.cast(kind) for part in parts]


def _as_json(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Each value's JSON text."""
    types, kind = pa.types, column.type
    if types.is_dictionary(kind):
        return _as_json(name, column.cast(kind.value_type))
    if types.is_null(kind):
        return pa.chunked_array([pa.array(["null"] * len(column), pa.large_string())])
    if types.is_boolean(kind) or types.is_integer(kind):
        return pc.fill_null(column.cast(pa.large_string()), "null")
    if types.is_floating(kind):
        finite = pc.if_else(pc.is_finite(column), column, pa.scalar(None, kind))
        text = finite.cast(pa.large_string())
        whole = pc.match_substring_regex(text, r"^-?\d+$")  # 1.0 shall not become the integer 1
        floats = pc.binary_join_element_wise(text, pa.scalar(".0", pa.large_string()), _NOTHING)
        return pc.fill_null(
            pc.if_else(whole, floats, text),
            "null",
        )
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return _quoted(_escaped(column.cast(pa.large_string())))
    if types.is_decimal(kind) or types.is_temporal(kind):
        return _quoted(_moments(column) if types.is_timestamp(kind) else column.cast(pa.large_string()))
    try:
        texts = [None if v is None else json.dumps(_clean(v, kind), ensure_ascii=False) for v in column.to_pylist()]
    except TypeError as error:
        raise SchemaError(f"WriteJSON: column {name!r} has values that JSON cannot hold: {error}") from None
    return pc.fill_null(pa.chunked_array([pa.array(texts, pa.large_string())]), "null")


def _moments(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """ISO form: ``2024-05-01T12:30:00.5``, with ``Z`` where there is a time zone."""
    zone = column.type.tz
    text = column.cast(pa.timestamp(column.type.unit)).cast(pa.large_string())
    text = pc.replace_substring(text, " ", "T", max_replacements=1)
    return pc.binary_join_element_wise(text, pa.scalar("Z", pa.large_string()), _NOTHING) if zone else text


def _escaped(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pc.any(pc.match_substring_regex(column, _CONTROL)).as_py():
        texts = [None if v is None else json.dumps(v, ensure_ascii=False)[1:-1] for v in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.large_string())])
    return pc.replace_substring(pc.replace_substring(column, "\\", "\\\\"), '"', '\\"')


def _quoted(column: pa.ChunkedArray) -> pa.ChunkedArray:
    quote = pa.scalar('"', pa.large_string())
    return pc.fill_null(pc.binary_join_element_wise(quote, column, quote, _NOTHING), "null")


def _clean(value: Any, kind: pa.DataType) -> Any:
    """What the json module makes the right text of."""
    if value is None:
        return None
    types = pa.types
    if types.is_struct(kind):
        return {field.name: _clean(value[field.name], field.type) for field in kind}
    if types.is_map(kind):
        return {str(key): _clean(item, kind.item_type) for key, item in value}
    if isinstance(value, list):
        return [_clean(item, kind.value_type) for item in value]
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, (str, int)):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, datetime.timedelta)):
        return str(value)
    raise TypeError(f"{type(value).__name__} {value!r}")
