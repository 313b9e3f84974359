"""The page of a training run: curves, throughput, what each rank did and used, restarts, checkpoints, configuration.

::

    from aktis.train.html_report import write_report

    write_report(result.log_dir)  # report.html in that directory

From a shell: ``python -m aktis.train.html_report DIRECTORY``, or ``tune report DIRECTORY``. The page is a file that loads nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aktis.air.html import Part

__all__ = ["add_run", "write_report"]


def add_run(part: Part, path: str | os.PathLike[str]) -> None:
    """Say all about the training run at ``path`` in a part of a page.

    Raises:
        FileNotFoundError: There is no run.
        ValueError: There are several.
    """
    from aktis.train._report.gather import gather
    from aktis.train._report.page import add_run

    add_run(part, gather(path))


def write_report(path: str | os.PathLike[str], output: str | os.PathLike[str] | None = None) -> Path:
    """Write the page of the training run at ``path``, and return the file.

    Works while the run goes on, and for runs that were killed.

    Args:
        path: The directory of the run (``Result.log_dir``), or of its experiment when there is no other run in it.
        output: The file; ``report.html`` in the run's directory when left out.

    Raises:
        FileNotFoundError: There is no run.
        ValueError: There are several.
        OSError: The file can't be written.
    """
    from aktis.train._report.page import write_report

    return write_report(path, output)


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code: 0, or 2 with one line about what is wrong."""
    import argparse
    import sys

    parser = argparse.ArgumentParser(
        prog="python -m aktis.train.html_report",
        description="Write an HTML page about a training run: one file, also offline.",
    )
    parser.add_argument("directory", help="the run's directory (Result.log_dir), or its experiment's")
    parser.add_argument("-o", "--output", help="file to write; default: report.html in the run's directory")
    given = parser.parse_args(arguments)
    try:
        target = write_report(given.directory, given.output)
    except (OSError, ValueError) as error:
        print(f"aktis.train.html_report: {error}", file=sys.stderr)
        return 2
    print(f"{target} ({target.stat().st_size / 1e3:,.0f} kB)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
