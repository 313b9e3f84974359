"""Mending of the files that show what the journal has: cut a torn end, append what is missing."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from aktis.util.files import write_whole

__all__ = ["identity", "mend"]

# What tells results of a trial apart. All of them are filled in for every result.
_IDENTITY = ("training_iteration", "timestamp", "time_total_s", "date", "pid")


def identity(row: dict[str, Any]) -> tuple[str, ...] | None:
    """What tells a result from the others of its trial; None when it says nothing of that kind."""
    found = tuple(str(row[key]) if key in row else "" for key in _IDENTITY)
    return found if any(found) else None


def mend(
    path: str,
    content: bytes,
    head: bytes,
    records: list[bytes],
    wanted: Sequence[bytes],
    same: Callable[[bytes, int], bool],
) -> None:
    """Make a file hold what came before the first wanted record, and then exactly the wanted ones.

    Args:
        path: The file.
        content: What is in it, torn end included.
        head: What comes before the first record.
        records: The whole records that are in it.
        wanted: The records that have to be in it, from the first that the journal knows to the last.
        same: Whether a record is that of the wanted one at an index, though perhaps written differently.
    """
    start = len(records)
    if wanted:
        start = next((index for index, record in enumerate(records) if same(record, 0)), len(records))
    kept = records[start : start + len(wanted)]
    exact = [record if same(record, index) else wanted[index] for index, record in enumerate(kept)]
    whole = head + b"".join([*records[:start], *exact, *wanted[len(exact) :]])
    if whole == content:
        return
    if whole.startswith(content):
        with open(path, "ab") as file:
            file.write(whole[len(content) :])
    elif content.startswith(whole):
        os.truncate(path, len(whole))
    else:
        write_whole(path, whole)
