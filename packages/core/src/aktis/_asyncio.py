"""Waiting in event loops for what other threads, or the loop itself, announce.

::

    any thread, mostly the pump's leader ── Announcement() ──► Inbox.items ── one wake-up of the loop for many ──► Inbox.run
    Inbox.run, on the loop               ── next step of each waiting task, at once

Guarantees
- However many announcements come before the loop looks, it is woken once.
- A task that waits goes on within the turn of the loop that learns of it: not one turn later, as with a Future.
- Everything but :meth:`Inbox.put` runs on the loop's thread.
"""

from __future__ import annotations

import weakref
from collections import deque
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator
    from contextvars import Context


class Item(Protocol):
    """What an inbox holds."""

    def step(self) -> None:
        """Go on with what waited. Runs on the loop, outside of any task."""
        ...


class Inbox:
    """What is to go on in one event loop."""

    __slots__ = ("__weakref__", "_loop", "items", "scheduled", "thread", "turn")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)  # inboxes are found by loop and must not keep it
        self.items: deque[Item] = deque()
        self.scheduled = False  # somebody is about to empty it
        self.thread = 0
        self.turn: Callable[[Callable[[], None]], None] | None = None  # what to do around each emptying

    def put(self, item: Item) -> None:
        """From any thread."""
        self.items.append(item)
        if not self.scheduled:
            self.scheduled = True
            self._schedule()

    def _schedule(self) -> None:
        loop = self._loop()
        if loop is None:
            return
        try:
            if self.thread == get_ident():
                loop.call_soon(self.run)
            else:
                loop.call_soon_threadsafe(self.run)
        except RuntimeError:  # the loop was closed while somebody waited
            self.items.clear()
            self.scheduled = False

    def run(self) -> None:
        """Empty it; on the loop."""
        if self.turn is not None:
            self.turn(self.empty)
        else:
            self.empty()

    def empty(self) -> None:
        """Step what is there now. What comes meanwhile has its turn after the loop's other work."""
        items = self.items
        self.scheduled = True  # what is put while we are here needs no wake-up
        try:
            for _ in range(len(items)):
                items.popleft().step()
        finally:
            self.scheduled = False
            if items:
                self.scheduled = True
                self._schedule()


_inboxes: weakref.WeakKeyDictionary[Any, Inbox] = weakref.WeakKeyDictionary()
_last: Inbox | None = None


def inbox_of(loop: asyncio.AbstractEventLoop) -> Inbox:
    """The inbox of the running loop."""
    global _last
    inbox = _last
    if inbox is None or inbox._loop() is not loop:
        inbox = _inboxes.get(loop)
        if inbox is None:
            inbox = _inboxes[loop] = Inbox(loop)
        _last = inbox
    inbox.thread = get_ident()
    return inbox


class Announcement:
    """Something that a task of the running loop waits for; call it, from any thread, when it has happened.

    To the task it looks like a Future, but it lets the task go on directly, where a Future asks the loop to do so later.
    """

    __slots__ = ("_asyncio_future_blocking", "_callback", "_cancelled", "_context", "_done", "_loop", "inbox")

    def __init__(self) -> None:
        import asyncio

        self._loop = asyncio.get_running_loop()
        self.inbox = inbox_of(self._loop)
        self._asyncio_future_blocking = False
        self._callback: Callable[[Any], Any] | None = None
        self._context: Context | None = None
        self._done = False
        self._cancelled: tuple[Any, ...] | None = None

    def __call__(self) -> None:
        self.inbox.put(self)

    def step(self) -> None:
        self._done = True
        callback, self._callback = self._callback, None
        if callback is not None and self._context is not None:
            self._context.run(callback, self)

    def __await__(self) -> Generator[Any, None, None]:
        if not self._done:
            self._asyncio_future_blocking = True
            yield self

    # what tasks ask of a future -----------------------------------------------------------------
    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def add_done_callback(self, callback: Callable[[Any], Any], *, context: Context | None = None) -> None:
        import contextvars

        self._callback = callback
        self._context = context or contextvars.copy_context()

    def remove_done_callback(self, callback: Callable[[Any], Any]) -> int:
        found = self._callback == callback
        if found:
            self._callback = None
        return int(found)

    def done(self) -> bool:
        return self._done

    def cancelled(self) -> bool:
        return self._cancelled is not None

    def cancel(self, msg: Any = None) -> bool:
        if self._done:
            return False
        self._done = True
        self._cancelled = () if msg is None else (msg,)
        callback, self._callback = self._callback, None
        if callback is not None:
            self._loop.call_soon(callback, self, context=self._context)
        return True

    def result(self) -> None:
        if self._cancelled is not None:
            import asyncio

            raise asyncio.CancelledError(*self._cancelled)

    def exception(self) -> None:
        self.result()


def announced(register: Callable[[Callable[[], None]], Any]) -> Announcement:
    """Wait in the running loop until the callback that ``register`` is given is called, on whatever thread."""
    announcement = Announcement()
    register(announcement)
    return announcement
