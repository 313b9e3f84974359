"""The lines of a part of a file, as a file."""

from __future__ import annotations

import io
import sys
from typing import Any

_CHUNK = 1 << 20


class LineRange(io.RawIOBase):
    """Reads the lines that start at ``start`` or later, and before ``stop``, after some bytes of a header.

    A line belongs to the part in which its first byte is. So the parts of a file, put together, are all its lines.
    """

    def __init__(self, file: Any, start: int, stop: int | None, header: bytes = b"") -> None:
        super().__init__()
        self._file = file
        self._stop = stop
        self._rest = memoryview(b"")  # what was read from the file, and not yet given out
        self._header = memoryview(header if start > 0 else b"")
        self._done = stop is not None and start >= stop
        self._position = start  # in the file
        if start > 0 and not self._done:
            self._skip_line(start)

    def readable(self) -> bool:
        return True

    def _skip_line(self, start: int) -> None:
        """Go to the first line start at ``start`` or later: the line that goes on here belongs to the part before."""
        self._file.seek(start - 1)
        self._position = start - 1
        while chunk := self._file.read(_CHUNK):
            end = chunk.find(b"\n")
            if end >= 0:
                first = self._position + end + 1
                if self._stop is not None and first >= self._stop:
                    break
                self._position = first
                self._take(chunk[end + 1 :])
                return
            self._position += len(chunk)
        self._done = True

    def _take(self, chunk: bytes) -> None:
        """``chunk`` is what the file has at the position. Cut it where the last line of the part ends."""
        first = self._position
        self._position += len(chunk)
        if self._stop is not None and self._position >= self._stop:
            end = chunk.find(b"\n", max(0, self._stop - 1 - first))
            if end >= 0:
                chunk, self._done = chunk[: end + 1], True
        self._rest = memoryview(chunk)

    def _next(self, most: int) -> memoryview:
        """Some bytes; none at the end."""
        if self._header:
            part, self._header = self._header[:most], self._header[most:]
            return part
        while not self._rest and not self._done:
            chunk = self._file.read(_CHUNK)
            if chunk:
                self._take(chunk)
            else:
                self._done = True
        part, self._rest = self._rest[:most], self._rest[most:]
        return part

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        part = self._next(len(view))
        view[: len(part)] = part
        return len(part)

    def read(self, size: int | None = -1) -> bytes:
        parts = []
        left = sys.maxsize if size is None or size < 0 else size
        while left > 0 and (part := self._next(left)):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def readall(self) -> bytes:
        return self.read()

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
