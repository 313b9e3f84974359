"""A worker's standard streams: they say whose output follows.

The node tails the log files and prefixes each line with what printed it. A worker runs many functions, so
before the first output of another one a line of its own goes into the file: ``\\x1e`` and the name.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

MARK = "\x1e"


class NamedStream(io.TextIOWrapper):
    """A text stream that marks whose output follows. The mark waits until the line before it is complete."""

    def __init__(self, fd: int, name: Callable[[], str]) -> None:
        super().__init__(
            io.FileIO(fd, "w", closefd=False), encoding="utf-8", errors="backslashreplace", write_through=True
        )
        self._name_of_caller = name
        self._marked = ""
        self._at_line_start = True

    def write(self, text: str) -> int:
        if not text:
            return 0
        if self._at_line_start:
            name = self._name_of_caller()
            if name != self._marked:
                self._marked = name
                super().write(f"{MARK}{name}\n{text}")
                self._at_line_start = text.endswith("\n")
                return len(text)
        self._at_line_start = text.endswith("\n")
        return super().write(text)

    def isatty(self) -> bool:
        return False


def install(name: Callable[[], str]) -> None:
    """Replace this process's standard output and error."""
    sys.stdout = NamedStream(1, name)
    sys.stderr = NamedStream(2, name)
