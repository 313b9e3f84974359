"""A proxy's end of lines: see :mod:`aktis.serve._lines`.

::

    slot.line: None ──first request──► False ──connected──► Line ──the replica has ended──► False
                                         └── the replica is elsewhere, or takes none: it stays False

While there is no line, requests go by calls of core. A line that breaks means that its replica has died; what was sent over it may
have begun.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aktis.exceptions import ActorUnavailableError, AktisError, AktisTaskError
from aktis.serve._lines import Reader, frame
from aktis.serve._protocol import HTTPReply, Rejected

if TYPE_CHECKING:
    from aktis.serve._protocol import HTTPRequest, RequestMeta

MOST_BODY = 64 * 1024  # of a request; larger ones go by core, which has shared memory

_new = tuple.__new__
Outcome = Callable[[Any, Any, Any], None]


class Line(asyncio.Protocol):
    """To one replica. ``outcome(exchange, lease, what)`` is called once for each request, with a HTTPReply, a Rejected, or an
    exception."""

    def __init__(self, slot: Any, outcome: Outcome) -> None:
        self._slot = slot
        self._outcome = outcome
        self._reader = Reader()
        self._numbers = itertools.count()
        self._waiting: dict[int, tuple[Any, Any]] = {}
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._slot.line = self

    def ask(self, ex: Any, lease: Any, meta: RequestMeta, request: HTTPRequest) -> None:
        """Send a request."""
        number = next(self._numbers)
        data = frame((number, tuple(meta), tuple(request)))
        self._waiting[number] = ex, lease
        self._transport.write(data)

    def cancel(self, call_id: str) -> None:
        """Nobody waits for that request any more. It is answered all the same, which ends its lease."""
        if not self._transport.is_closing():
            self._transport.write(frame((None, call_id)))

    def data_received(self, data: bytes) -> None:
        for message in self._reader.feed(data):
            ex, lease = self._waiting.pop(message[0])
            kind = len(message)
            if kind == 5:
                what: Any = _new(HTTPReply, message[1:])
            elif kind == 3:
                what = _new(Rejected, message[1:])
            else:
                what = AktisTaskError("http", message[1])
            self._outcome(ex, lease, what)

    def connection_lost(self, exc: Exception | None) -> None:
        self._slot.line = False
        waiting, self._waiting = self._waiting, {}
        for ex, lease in waiting.values():
            self._outcome(
                ex, lease, ActorUnavailableError(f"replica {self._slot.view.id} closed its line: it has died")
            )


async def open_line(slot: Any, outcome: Outcome) -> None:
    """Have a line to the replica of a slot, if that can be."""
    try:
        path = await slot.view.actor.open_line.remote()
        if path:
            await asyncio.get_running_loop().create_unix_connection(lambda: Line(slot, outcome), path)
    except (AktisError, AttributeError, NotImplementedError, OSError):
        pass  # calls of core do
