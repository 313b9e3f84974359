"""Lines of text."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from aktis.data._blocks.types import Block
from aktis.data.datasource.file_based_datasource import LineBasedDatasource, with_compressed

__all__ = ["TextDatasource"]

_CHARACTERS = 8 << 20  # decoded at a time
_ASCII_LIKE = frozenset({"utf-8", "utf8", "ascii", "us-ascii", "latin-1", "latin1", "iso-8859-1", "cp1252"})


class TextDatasource(LineBasedDatasource):
    """Rows are ``{"text": line}``. Lines end with any of ``\\n``, ``\\r\\n`` and ``\\r``, which are not part of them."""

    _FILE_EXTENSION = with_compressed("txt", "text", "log", "md")
    _NUM_THREADS_PER_TASK = 2
    _MEMORY_RATIO = 1.2
    _OWN_TABLES = True

    def _can_cut(self, reader_args: Mapping[str, Any]) -> bool:
        # in these encodings no other character contains the byte of a line end
        return str(reader_args.get("encoding", "utf-8")).lower().replace("_", "-") in _ASCII_LIKE

    def _read_stream(
        self,
        f: Any,
        path: str,
        encoding: str = "utf-8",
        errors: str = "strict",
        drop_empty_lines: bool = True,
        **_: Any,
    ) -> Iterator[Block]:
        text = io.TextIOWrapper(f, encoding=encoding, errors=errors, newline=None)
        rest = ""
        given = False
        while chunk := text.read(_CHARACTERS):
            lines = (rest + chunk).split("\n")
            rest = lines.pop()
            yield _table(lines, drop_empty_lines)
            given = True
        if rest or not given:
            yield _table([rest] if rest else [], drop_empty_lines)


def _table(lines: list[str], drop_empty: bool) -> Block:
    if drop_empty:
        lines = [line for line in lines if line and not line.isspace()]
    return pa.table({"text": pa.array(lines, pa.string())})
