"""Questions to the node daemon, and their answers."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from aktis import exceptions
from aktis._native import protocol as op
from aktis._native.pump import Waiter

if TYPE_CHECKING:
    from aktis._native.connection import Connection, Message
    from aktis._native.core import Core


class _Pending:
    __slots__ = ("callback", "ok", "value", "waiter")

    def __init__(self, callback: Callable[[bool, Any], None] | None) -> None:
        self.callback = callback
        self.waiter = None if callback else Waiter()
        self.ok = False
        self.value: Any = None


class Requests:
    """Numbers requests and matches REPLY messages to whoever waits for them."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._lock = threading.Lock()
        core.handlers[op.REPLY] = self._on_reply

    def send(self, *message: Any, callback: Callable[[bool, Any], None] | None = None) -> _Pending:
        """Post ``(operation, request number, ...)``; ``callback(ok, value)`` runs in the leader."""
        node = self._core.node
        pending = _Pending(callback)
        if node is None or node.closed:
            self._finish(pending, False, exceptions.LocalNodeDiedError("The node daemon of this session died."))
            return pending
        number = next(self._numbers)
        self._pending[number] = pending
        node.send_now((message[0], number, *message[1:]))
        return pending

    def call(self, *message: Any, timeout: float | None = None) -> Any:
        """Ask and wait. Raises what the node answered, GetTimeoutError, or LocalNodeDiedError."""
        pending = self.send(*message)
        assert pending.waiter is not None
        deadline = None if timeout is None else monotonic() + timeout
        if not pending.waiter.ready and not self._core.pump.wait(
            pending.waiter, None if deadline is None else max(0.0, deadline - monotonic())
        ):
            raise exceptions.GetTimeoutError(f"The node daemon did not answer {message[1:2]} within {timeout} seconds.")
        if pending.ok:
            return pending.value
        if isinstance(pending.value, BaseException):
            raise pending.value
        raise exceptions.AktisSystemError(str(pending.value))

    def _on_reply(self, _: Connection, message: Message) -> None:
        pending = self._pending.pop(message[1], None)
        if pending is not None:
            self._finish(pending, message[2], message[3])

    def _finish(self, pending: _Pending, ok: bool, value: Any) -> None:
        pending.ok = ok
        pending.value = value
        if pending.waiter is not None:
            self._core.pump.wake_waiter(pending.waiter)
        elif pending.callback is not None:
            pending.callback(ok, value)

    def fail_all(self, text: str) -> None:
        pending, self._pending = self._pending, {}
        for one in pending.values():
            self._finish(one, False, exceptions.LocalNodeDiedError(text))
