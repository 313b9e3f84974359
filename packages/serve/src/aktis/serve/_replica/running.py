"""One request that a replica has taken."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.serve._protocol import RequestMeta
    from aktis.serve._replica.streams import Inbox, Outbox
    from aktis.serve._replica.thread_call import ThreadCall
    from aktis.serve._replica.threads import ThreadIterator


class Running:
    """What is known of a request while it counts. It counts until each of its parts has ended: the coroutine that took it, the
    application's task, a thread that was left behind, the rest of a reply."""

    # In the class and not in each object: most requests never change most of them, and making one is on every request's way.
    parts = 1
    cancelled = False
    websocket = False
    error: BaseException | None = None
    entered = False  # the application's task has taken its first step
    items: ThreadIterator | None = None  # of a generator that runs in a thread
    abandoned: asyncio.Future[Any] | None = None  # of a function in a thread that nobody waits for any more
    task: asyncio.Task[Any] | ThreadCall | None = None  # where user code runs
    inbox: Inbox | None = None
    outbox: Outbox | None = None
    stream_ended: Callable[[], None] | None = None  # of a reply whose rest is to be fetched; called once
    timer: asyncio.TimerHandle | None = None
    span: Any = None  # of tracing
    at_end_calls: list[Callable[[], None]] | None = None

    def __init__(self, meta: RequestMeta, began: float) -> None:
        self.meta = meta
        self.began = began

    def at_end(self, callback: Callable[[], None]) -> None:
        """Call ``callback()`` on the loop when the request has ended."""
        if self.at_end_calls is None:
            self.at_end_calls = []
        self.at_end_calls.append(callback)

    def cancel(self) -> None:
        """Nobody wants the reply: tell the application, and interrupt it. Those of websockets end by themselves when told."""
        self.stop_timer()
        if self.inbox is not None:
            self.inbox.leave()
        if self.outbox is not None:
            self.outbox.close()
        if self.task is not None and not self.websocket:
            self.task.cancel()
        self.fetched()

    def stop_timer(self) -> None:
        """Somebody fetches the rest of the reply, or nobody will."""
        timer, self.timer = self.timer, None
        if timer is not None:
            timer.cancel()

    def fetched(self) -> None:
        """The rest of the reply was fetched, or will not be."""
        ended, self.stream_ended = self.stream_ended, None
        if ended is not None:
            ended()


running_context: contextvars.ContextVar[Running | None] = contextvars.ContextVar("aktis_serve_running", default=None)
