"""A rank's output in a file, beside where it goes anyway."""

from __future__ import annotations

import sys
from typing import Any, TextIO

__all__ = ["copy_output_to"]


class _Copied:
    """A text stream that writes to a file, too."""

    def __init__(self, stream: Any, file: TextIO) -> None:
        self._stream = stream
        self._file: TextIO | None = file

    def write(self, text: str) -> int:
        if self._file is not None:
            try:
                self._file.write(text)
            except (OSError, ValueError):  # the disk is full: the driver still gets it
                self._file = None
        self._stream.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:  # fileno, isatty, encoding, buffer, ...
        if name in ("_stream", "_file"):
            raise AttributeError(name)
        return getattr(self._stream, name)


def copy_output_to(path: str) -> TextIO:
    """Copy what this process prints from now on to the end of a file, line by line."""
    file = open(path, "a", encoding="utf-8", errors="backslashreplace", buffering=1)
    sys.stdout, sys.stderr = _Copied(sys.stdout, file), _Copied(sys.stderr, file)
    return file
