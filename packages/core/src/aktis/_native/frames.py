"""Frames on a stream: a 4-byte little-endian length and a pickled list of messages.

Both directions of every connection in a session use this, see :mod:`aktis._native.protocol`.
Frames are only ever read from peers that could open a 0600 socket in a 0700 directory.
"""

from __future__ import annotations

import struct
from pickle import dumps, loads
from typing import Any

MAX_FRAME = 2**32 - 1
"""What the length field can say."""

HELLO_LIMIT = 1 << 22
"""Enough for any HELLO. A listener decodes with this limit until it knows its peer."""

_HEADER = struct.Struct("<I")
_HEADER_SIZE = _HEADER.size


class FrameError(Exception):
    """The peer sent something that is not a frame; its connection is of no further use."""


def encode(messages: list[Any]) -> bytes:
    """One frame that carries ``messages``."""
    data = dumps(messages, 5)
    if len(data) > MAX_FRAME:
        raise FrameError(
            f"A frame of {len(data):,} bytes exceeds the limit of {MAX_FRAME:,}. Send large values through the store."
        )
    return _HEADER.pack(len(data)) + data


class Decoder:
    """Collects bytes and gives out whole messages. After a FrameError it must not be used again."""

    __slots__ = ("_buffer", "_need", "limit")

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._need = _HEADER_SIZE  # bytes in the buffer before looking at it is worth while

    @property
    def pending(self) -> int:
        """Bytes of an unfinished frame; not zero at end of file means that the peer died while it wrote."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Any]:
        """Messages that ``data`` completes, in order."""
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < self._need:
                return []
            data = bytes(buffer)
            buffer.clear()
        size = len(data)
        position = 0
        messages: list[Any] = []
        view = memoryview(data)
        while size - position >= _HEADER_SIZE:
            (length,) = _HEADER.unpack_from(data, position)
            if length > self.limit:
                raise FrameError(f"The length field says {length:,} bytes, at most {self.limit:,} are allowed here.")
            end = position + _HEADER_SIZE + length
            if end > size:
                self._need = _HEADER_SIZE + length
                break
            messages += _load(view[position + _HEADER_SIZE : end])
            position = end
        else:
            self._need = _HEADER_SIZE
        if position < size:
            buffer += view[position:]
        return messages


def _load(frame: memoryview) -> list[Any]:
    try:
        content = loads(frame)
    except Exception as error:
        raise FrameError(f"A frame of {len(frame):,} bytes does not unpickle: {error!r}.") from error
    if type(content) is not list:
        raise FrameError(f"A frame holds a list of messages, this one holds {type(content).__name__}.")
    return content
