"""Pages about runs: which library knows how to make one of a directory.

A library registers its writer as an entry point of the group ``aktis.reports``. Its name is a file that is in the directories
that it is for::

    [project.entry-points."aktis.reports"]
    "train_stats.jsonl" = "aktis.train.html_report:write_report"

The writer is called with the directory and the file to write (None: it chooses one), and returns the path of that file.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

__all__ = ["GROUP", "ReportWriter", "find_writer"]

GROUP = "aktis.reports"

ReportWriter = Callable[[Path, "Path | None"], Path]


def find_writer(directory: str | os.PathLike[str]) -> ReportWriter | None:
    """Who makes a page of that directory; None: nobody who is installed."""
    place = Path(directory)
    for name, entry in _entries(tuple(sys.path)):
        if (place / name).is_file():
            writer: ReportWriter = entry.load()
            return writer
    return None


@functools.lru_cache(maxsize=4)  # looking through all that is installed takes some hundredths of a second
def _entries(path: tuple[str, ...]) -> list[tuple[str, metadata.EntryPoint]]:
    found = metadata.entry_points(group=GROUP)
    return [(entry.name, entry) for entry in found if os.path.basename(entry.name) == entry.name]
