"""Output that goes to a file, too."""

from __future__ import annotations

import logging
from typing import Any, TextIO

__all__ = ["Tee", "open_log"]

logger = logging.getLogger(__name__)


class Tee:
    """A text stream whose output also goes to a file. Handlers of ``logging`` may keep it: it outlives the file.

    Args:
        stream: Where the output goes anyway; None: nowhere.
        file: The file; None: none now. It may be changed at any time.
    """

    def __init__(self, stream: Any, file: TextIO | None = None) -> None:
        self.stream = stream
        self.file = file

    def write(self, text: str) -> int:
        """Write to both. A file that cannot be written any longer is given up; the stream still gets it all."""
        file = self.file
        if file is not None:
            try:
                file.write(text)
            except (OSError, ValueError) as error:  # the disk is full, or the file was closed
                self.file = None
                logger.warning("output is no longer copied to %s: %s", file.name, error)
        if self.stream is not None:
            self.stream.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of them."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush both."""
        if self.file is not None and not self.file.closed:
            self.file.flush()
        if self.stream is not None:
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:  # fileno, isatty, encoding, buffer, ...
        if name in ("stream", "file"):
            raise AttributeError(name)
        return getattr(self.stream, name)


def open_log(path: str) -> TextIO:
    """A file for a :class:`Tee`: output is added to its end, line by line, whatever characters it has."""
    return open(path, "a", encoding="utf-8", errors="backslashreplace", buffering=1)
