"""Arguments of calls that are not there yet: responses of other calls, references, requests whose body has not been read.

Whoever calls ``.remote()`` is not blocked: the call is sent when all of them are there. Values of responses and references are not
looked at here: the replica gets the references, and reads each from where it is.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aktis import ObjectRef
from aktis.serve._routing.calls import FAILED, Call
from aktis.serve._routing.responses import Response, StreamResponse

if TYPE_CHECKING:
    import asyncio

_AWAITED = (ObjectRef, Response, StreamResponse)


def are_plain(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether the arguments can be sent as they are."""
    for value in args:
        if isinstance(value, _AWAITED):
            return False
    if kwargs:
        for value in kwargs.values():
            if isinstance(value, _AWAITED):
                return False
    requests = sys.modules.get("starlette.requests")
    if requests is None:
        return True
    return not any(isinstance(value, requests.Request) for value in (*args, *kwargs.values()))


def start(call: Call) -> None:
    """Send the call when its arguments are there; their failure is its failure."""
    pending: list[Any] = []
    requests = sys.modules.get("starlette.requests")
    values = [*call.args, *call.kwargs.values()]
    for index, value in enumerate(values):
        if isinstance(value, StreamResponse):
            raise TypeError(
                "a DeploymentResponseGenerator cannot be an argument of a call: iterate over it, and pass its items"
            )
        if isinstance(value, (ObjectRef, Response)):
            pending.append(value)
        elif requests is not None and isinstance(value, requests.Request):
            values[index] = portable = PortableRequest(value)
            if portable.reading is not None:
                pending.append(portable)
    call.args, call.kwargs = _split(call, values)
    call.register()
    _advance(call, pending)


def _split(call: Call, values: list[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    number = len(call.args)
    return tuple(values[:number]), dict(zip(call.kwargs, values[number:]))


def _advance(call: Call, pending: list[Any]) -> None:
    while pending:
        # The last one first: results come mostly in the order they were asked for, so then the others are there too.
        value = pending.pop()
        later = functools.partial(_advance, call, pending)
        if isinstance(value, Response):
            value._call.when_finished(later)
        elif isinstance(value, ObjectRef):
            value.add_done_callback(later)
        else:
            value.when_read(later)
        return
    _send(call)


def _send(call: Call) -> None:
    values = [*call.args, *call.kwargs.values()]
    for index, value in enumerate(values):
        if isinstance(value, Response):
            other = value._call
            if other.state is FAILED:
                call.finish(FAILED, other.value)
                return
            values[index] = other.as_argument()
        elif isinstance(value, PortableRequest) and value.error is not None:
            call.finish(FAILED, value.error)
            return
    call.args, call.kwargs = _split(call, values)
    call.go()


# Requests of Starlette -----------------------------------------------------------------------------------------------

_OF_THIS_PROCESS = frozenset({"app", "router", "endpoint", "state", "extensions", "route"})


class PortableRequest:
    """A Starlette request on its way to another process: its scope, and its whole body."""

    def __init__(self, request: Any) -> None:
        self.error: BaseException | None = None
        self.reading: asyncio.Task[bytes] | None = None
        self.type = type(request)
        self.scope = {
            key: value
            for key, value in request.scope.items()
            if key not in _OF_THIS_PROCESS and not key.startswith(("fastapi", "starlette", "aktis"))
        }
        self.body: bytes | None = getattr(request, "_body", None)
        if self.body is None:
            self._read(request)

    def _read(self, request: Any) -> None:
        import asyncio

        if asyncio._get_running_loop() is not None:
            self.reading = asyncio.get_running_loop().create_task(request.body())
            self.reading.add_done_callback(self._was_read)
            return
        body = request.body()  # in a thread: what is here already can be read without a loop
        cause: BaseException | None = None
        try:
            body.send(None)
        except StopIteration as end:
            self.body = end.value
            return
        except RuntimeError as error:  # it wants a loop
            cause = error
        body.close()
        raise TypeError(
            "the body of this request has not arrived yet, and a thread cannot wait for it: read it in async code "
            "(await request.body()) before the request is passed on"
        ) from cause

    def _was_read(self, task: asyncio.Task[bytes]) -> None:
        if task.cancelled():
            from aktis.serve.exceptions import RequestCancelledError

            self.error = RequestCancelledError()
        else:
            self.error = task.exception()
            if self.error is None:
                self.body = task.result()

    def when_read(self, callback: Callable[[], None]) -> None:
        if self.reading is None or self.reading.done():
            callback()
        else:
            self.reading.add_done_callback(lambda _: callback())

    def __reduce__(self) -> Any:
        return restore_request, (self.scope, self.body)


def restore_request(scope: dict[str, Any], body: bytes) -> Any:
    """The request, in the process that it was sent to."""
    from starlette.requests import Request

    told = False

    async def receive() -> dict[str, Any]:
        nonlocal told
        if told:
            return {"type": "http.disconnect"}
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    request = Request(scope, receive)
    request._body = body
    return request
