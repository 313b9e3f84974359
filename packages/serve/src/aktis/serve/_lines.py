"""What a line carries: messages between one proxy and one replica, over a socket of theirs alone.

A call of core costs each side some thirty microseconds (a reference, a record of the call, a task, two picklings), as it can be of
any size, go to any node, and be retried and streamed. Most requests over HTTP are small and need none of that. So a proxy asks for
a line to each replica of its machine, and sends these requests there. All else goes by calls, as it does where there is no line:
see ``_proxy/lines.py`` and ``_replica/line.py``.

::

    proxy ──► replica   (number, meta, request)                      a RequestMeta and a HTTPRequest, as plain tuples
                        (None, call_id)                              nobody waits for that request any more
    replica ──► proxy   (number, status, headers, body, more)        a HTTPReply
                        (number, ongoing, draining)                  a Rejected
                        (number, text)                               it failed; a traceback

A frame is its length and the message, by marshal: of built-in types only, and twice as fast as pickle.
"""

from __future__ import annotations

import marshal
import struct
from collections.abc import Sequence
from typing import Any

_LENGTH = struct.Struct("<I")
_VERSION = 2  # of marshal: the last one that does not look for values that occur twice, which takes half the time

Message = tuple[Any, ...]


def frame(message: Message) -> bytes:
    """The bytes of a message. ValueError: a value in it is not exactly of a built-in type."""
    data = marshal.dumps(message, _VERSION)
    return _LENGTH.pack(len(data)) + data


class Reader:
    """Messages out of what comes."""

    __slots__ = ("_rest", "_size", "_wanted")

    def __init__(self) -> None:
        self._rest: list[bytes] = []  # the beginning of a frame
        self._size = 0
        self._wanted = 0

    def feed(self, data: bytes) -> Sequence[Message]:
        """The messages that are whole by now."""
        if self._rest:
            self._rest.append(data)
            self._size += len(data)
            if self._size < self._wanted:
                return ()
            data = b"".join(self._rest)
            self._rest = []
        messages: list[Message] = []
        position, size = 0, len(data)
        wanted = 4
        while size - position >= 4:
            end = position + 4 + _LENGTH.unpack_from(data, position)[0]
            if end > size:
                wanted = end - position
                break
            messages.append(marshal.loads(data[position + 4 : end]))
            position = end
        if position < size:
            self._rest = [data[position:]]
            self._size = size - position
            self._wanted = wanted
        return messages
