"""The page of a run: returns, lengths, losses, steps per second.

::

    from aktis.rllib.html_report import write_report

    write_report(result.log_dir)  # report.html in that directory

From a shell: ``rllib report DIRECTORY``. The page is a file that loads nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["write_report"]


def write_report(path: str | os.PathLike[str], output: str | os.PathLike[str] | None = None) -> Path:
    """Write the page of the run at ``path``, and return the file. Works while the run goes on, and for runs that were killed.

    Args:
        path: The directory of a trial, or that of an experiment: then all its trials are on the page.
        output: The file; ``report.html`` in that directory when left out.

    Raises:
        FileNotFoundError: there are no results.
        OSError: the file can't be written.
    """
    from aktis.rllib._report.page import build_page

    target = Path(output) if output is not None else Path(path) / "report.html"
    return build_page(Path(path)).write(target)
