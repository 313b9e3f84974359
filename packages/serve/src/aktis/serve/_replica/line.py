"""A replica's end of lines: see :mod:`aktis.serve._lines`.

::

    a request ──► Web.answer, in a task whose first step is done at once ──► Answer ──► the line
    (None, call_id) ──► Web.cancel_now

Every request gets one answer, also one that is cancelled. When a line ends (its proxy has), what came over it is cancelled, as
nobody waits for it.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import secrets
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aktis.serve._lines import Message, Reader, frame
from aktis.serve._protocol import HTTPReply, HTTPRequest, Rejected, RequestMeta
from aktis.serve._replica.eager import start_task

if TYPE_CHECKING:
    from aktis.serve._replica.web import Web

_new = tuple.__new__


class Answer:
    """Where the reply to one request goes. For whoever replies it is like a future; it costs no turn of the loop."""

    __slots__ = ("_done", "_line", "_number")

    def __init__(self, line: Line, number: int) -> None:
        self._line = line
        self._number = number
        self._done = False

    def done(self) -> bool:
        """Whether it was given."""
        return self._done

    def set_result(self, reply: HTTPReply | Rejected) -> None:
        """Send the reply."""
        try:
            data = frame((self._number, *reply))
        except ValueError:
            try:
                data = frame((self._number, *_plain(reply)))
            except Exception as error:  # of no kind that HTTP has
                self.set_exception(error)
                return
        self._send(data)

    def set_exception(self, error: BaseException) -> None:
        """There is no reply."""
        self._send(frame((self._number, "".join(traceback.format_exception(error)))))

    def _send(self, data: bytes) -> None:
        if not self._done:
            self._done = True
            self._line.send(data)


def _plain(reply: Any) -> tuple[Any, ...]:
    """A reply whose status is of an enum, whose body is a memoryview, or the like."""
    status, headers, body, more = reply
    return int(status), [(bytes(name), bytes(value)) for name, value in headers], bytes(body), bool(more)


class Line(asyncio.Protocol):
    """To one proxy."""

    def __init__(self, web: Web, loop: asyncio.AbstractEventLoop, context: contextvars.Context) -> None:
        self._web = web
        self._loop = loop
        self._context = context  # what requests begin in: nothing of another one's
        self._reader = Reader()
        self._calls: set[str] = set()
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._context.run(self._take, self._reader.feed(data))

    def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            number = message[0]
            if number is None:
                self._web.cancel_now(message[1])
                continue
            meta = _new(RequestMeta, message[1])
            self._calls.add(meta.call_id)
            start_task(self._loop, self._run(Answer(self, number), meta, _new(HTTPRequest, message[2])))

    async def _run(self, answer: Answer, meta: RequestMeta, request: HTTPRequest) -> None:
        try:
            await self._web.answer(answer, meta, request)
        except (Exception, asyncio.CancelledError) as error:
            answer.set_exception(error)
        finally:
            self._calls.discard(meta.call_id)

    def send(self, data: bytes) -> None:
        """Send an answer, if there is somebody to read it."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        for call_id in tuple(self._calls):
            self._web.cancel_now(call_id)


class Lines:
    """Where proxies of this machine connect."""

    def __init__(self) -> None:
        self._path = ""
        self._server: asyncio.AbstractServer | None = None

    async def open(self, web: Web, folder: str) -> str:
        """Listens, once; the path to connect to. Raises OSError."""
        if self._server is None:
            self._path = os.path.join(folder, f"s-{secrets.token_hex(8)}.sock")
            loop, context = asyncio.get_running_loop(), contextvars.copy_context()
            self._server = await loop.create_unix_server(lambda: Line(web, loop, context), self._path)
        return self._path

    def close(self) -> None:
        """Take no new ones. Those that are there end with the process."""
        if self._server is not None:
            self._server.close()
            with suppress(OSError):
                os.unlink(self._path)
