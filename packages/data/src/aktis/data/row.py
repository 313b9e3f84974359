"""A row of a data set that holds tables, as an object of its own."""

from __future__ import annotations

from typing import Any


class TableRow(dict[str, Any]):
    """A row: a dict of its values, by column.

    Rows that functions and iterators get are plain dicts. This class is for programs that were written for rows which were not,
    and call ``as_pydict``.
    """

    __slots__ = ()

    def as_pydict(self) -> dict[str, Any]:
        """The row as a plain dict."""
        return dict(self)

    def __repr__(self) -> str:
        return f"TableRow({dict.__repr__(self)})"
