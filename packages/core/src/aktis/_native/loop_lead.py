"""An event loop that leads the pump: what its tasks wait for is read by the loop itself, without a thread hand-off.

The loop of an async actor leads for good (:mod:`aktis._native.loop_calls`). A loop of the program's own leads from the
first ``await`` of a reference until it has waited for nothing for a while; then the deputy may lead again.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from aktis._asyncio import Inbox
    from aktis._native.pump import Pump

IDLE = 0.1  # seconds without anybody waiting after which a loop gives up the lead


class LoopLead:
    """One loop, while it leads. Everything but :meth:`wake` runs on the loop."""

    nap = 0.01  # seconds after which the deputy sees that the loop is blocked, and does its work

    def __init__(self, pump: Pump, inbox: Inbox, loop: asyncio.AbstractEventLoop) -> None:
        self.pump = pump
        self.inbox = inbox
        self.thread = threading.get_ident()
        self.waiting = 0  # tasks that wait for a reference now
        self._loop = weakref.ref(loop)
        self._flush_scheduled = False

    def closed(self) -> bool:
        """The loop has ended without telling us: they do."""
        loop = self._loop()
        return loop is None or loop.is_closed()

    def begin(self) -> None:
        loop = self._loop()
        assert loop is not None
        self.inbox.turn = self.turn
        loop.add_reader(self.pump.fileno(), self.on_readable)
        self.pump.led_by(self)

    def end(self) -> None:
        loop = self._loop()
        self.inbox.turn = None
        self.pump.led_by(None)
        if loop is not None and not loop.is_closed():
            loop.remove_reader(self.pump.fileno())

    def look_again(self) -> None:
        """Lead only as long as somebody waits."""
        loop = self._loop()
        if self.pump.loop_lead is not self or loop is None or self.pump.stopping:
            return
        if self.waiting:
            loop.call_later(IDLE, self.look_again)
        else:
            self.end()

    # turns ----------------------------------------------------------------------------------
    def on_readable(self) -> None:
        self.turn(self.read)

    def read(self) -> bool:
        """Read what has come, and go on with what waited for it."""
        self.inbox.scheduled = True  # whatever comes of reading is dealt with here and now
        found = False
        try:
            found = self.pump.poll_from_loop()
        finally:
            self.inbox.empty()
        return found

    def turn(self, work: Callable[[], Any]) -> Any:
        """Do some work, then send all that came of it."""
        self.pump.turning = self.thread
        try:
            return work()
        finally:
            self.pump.turning = 0
            self.flush()

    def wake(self) -> None:
        """Something is to be flushed: once per turn of the loop is enough. From any thread."""
        if self._flush_scheduled:
            return
        loop = self._loop()
        if loop is None:
            return
        self._flush_scheduled = True
        try:
            if threading.get_ident() == self.thread:
                loop.call_soon(self._flush_now)
            else:
                loop.call_soon_threadsafe(self._flush_now)
        except RuntimeError:  # the loop was closed: the deputy sees to it
            self._flush_scheduled = False

    def _flush_now(self) -> None:
        self._flush_scheduled = False
        self.flush()
        self.idle()

    def flush(self) -> None:
        self.pump.flush_all()

    def idle(self) -> None:
        """What was to be sent is sent."""


def lead_from(pump: Pump, inbox: Inbox, loop: asyncio.AbstractEventLoop) -> LoopLead | None:
    """Have the running loop lead, unless another one does; None when it cannot."""
    lead = pump.loop_lead
    if lead is not None and not lead.closed():
        return None
    lead = LoopLead(pump, inbox, loop)
    try:
        lead.begin()
    except (NotImplementedError, OSError, RuntimeError):  # a loop without add_reader, or a pump that was closed
        return None
    loop.call_later(IDLE, lead.look_again)
    return lead
