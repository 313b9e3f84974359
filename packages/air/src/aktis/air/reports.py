"""Pages about runs: which library knows what to say of a directory.

A library registers a function as an entry point of the group ``aktis.reports``. Its name is a file that is in the directories
that it is for::

    [project.entry-points."aktis.reports"]
    "train_stats.jsonl" = "aktis.train.html_report:add_run"

The function is called with a :class:`~aktis.air.html.Part` (a whole page is one, too) and the directory. It adds facts and
sections, and a title and subtitle where there is none yet.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aktis.air.html import Part

__all__ = ["GROUP", "Reporter", "find_reporter", "write_page"]

GROUP = "aktis.reports"

Reporter = Callable[["Part", Path], None]


def find_reporter(directory: str | os.PathLike[str]) -> Reporter | None:
    """Who says something about that directory; None: nobody who is installed."""
    place = Path(directory)
    for name, entry in _entries(tuple(sys.path)):
        if (place / name).is_file():
            reporter: Reporter = entry.load()
            return reporter
    return None


def write_page(
    reporter: Reporter, directory: str | os.PathLike[str], output: str | os.PathLike[str] | None = None
) -> Path:
    """Write a page about that directory alone, and return the file: ``output``, or ``report.html`` in the directory.

    Raises:
        OSError: The file can't be written.
    """
    from aktis.air.html import Page

    page = Page()
    reporter(page, Path(directory))
    return page.write(Path(directory, "report.html") if output is None else output)


@functools.lru_cache(maxsize=4)  # looking through all that is installed takes some hundredths of a second
def _entries(path: tuple[str, ...]) -> list[tuple[str, metadata.EntryPoint]]:
    found = metadata.entry_points(group=GROUP)
    return [(entry.name, entry) for entry in found if os.path.basename(entry.name) == entry.name]
