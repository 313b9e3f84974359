"""The pump of a process: one thread at a time reads its sockets, preferably the one that waits.

Who runs what
=============
::

    thread in get() ──► wait(waiter) ──► leads: epoll, handlers, flush ──► waiter.ready ──► hands over
    other waiting threads ──────────────► follow: sleep on their own lock until woken or asked to lead
    the deputy thread ──────────────────► leads when nobody has led for NAP seconds

Guarantees
- At most one thread is inside :meth:`Pump.poll` (it holds ``_lead``), so handlers never run concurrently.
- A waiter whose ``ready`` is set wakes at once, whoever sets it; a wait with a timeout ends at the timeout.
- As long as a connection has unsent messages and the process lives, some thread flushes it within NAP seconds.
- While the leader just waits, the deputy sleeps for good: an idle process uses no processor time.

Two thread hand-offs per call are what makes most Python RPC slow; a thread that waits for its own answer needs none.
And a thread that goes to sleep takes longer to wake than most calls take to run: so a leader first spins for
some tens of microseconds, as long as spinning has been paying off.
"""

from __future__ import annotations

import heapq
import itertools
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

from aktis import _config
from aktis._native.interrupts import guard
from aktis._systems import READABLE, WRITABLE, Poller

if TYPE_CHECKING:
    from aktis._native.connection import Connection
    from aktis._native.loop_lead import LoopLead

NAP = 0.002  # a compromise: 500 wake-ups a second cost about 1 % of a core, and only while calls flow
SPIN = _config.read("SPIN_MICROSECONDS") / 1e6  # longer than a round trip of a small call (30 to 60 µs) by default
MOST_SKIPPED = 255
NAPS_BEFORE_SLEEP = 25
READ_SIZE = 1 << 18
LOOP_NAP = 0.05


def report() -> None:
    """Tell about an exception in a handler. It is a defect of ours: nobody else's code runs there."""
    import logging

    logging.getLogger("aktis").exception("An internal handler failed.")


class Waiter:
    """What a thread waits for. ``ready`` is set by :meth:`Pump.wake_waiter`, from any thread."""

    __slots__ = ("_lock", "_sleeping", "ready")

    def __init__(self) -> None:
        self.ready = False
        self._sleeping = False
        self._lock: threading.Lock | None = None


class Pump:
    """Reads all connections of this process. See the module's docstring for threads and guarantees."""

    def __init__(self, name: str) -> None:
        self._epoll = Poller()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._lead = threading.Lock()
        self.read_buffer = bytearray(READ_SIZE)  # only the leader reads
        self.read_view = memoryview(self.read_buffer)
        self._followers: deque[Waiter] = deque()
        self._followers_lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._wake_pending = False
        self._polling = False  # the leader may be asleep in epoll
        self._leading: Waiter | None = None  # what the leader waits for
        self._dirty: list[Connection] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_ids = itertools.count()
        self._sequence = 0  # grows whenever a thread starts or ends leading
        self._deputy_leads = False
        self._deputy_asleep = False
        self._deputy_bell = threading.Lock()
        self._deputy_bell.acquire()
        self._wanted = 0  # threads that want the deputy to stop leading
        self._stopping = False
        self._skip_spins = 0  # sleeps without spinning before the next attempt; doubles whenever spinning fails
        self._skips_left = 0
        self.before_sleep: Callable[[], None] | None = None
        self.on_takeover: Callable[[], None] | None = None  # the deputy takes over: the others are busy elsewhere
        self.turning = 0  # thread of an event loop that flushes at the end of what it does now
        self.loop_lead: LoopLead | None = None  # the event loop that leads
        self._nap = LOOP_NAP  # seconds until the deputy looks whether that is blocked
        self._deputy = threading.Thread(target=self._deputy_loop, name=name, daemon=True)
        self.register(self._wake_read, self._drain_wake)

    def start(self) -> None:
        self._deputy.start()

    # registration ---------------------------------------------------------------------------
    def register(self, fd: int, handler: Callable[[int], None]) -> None:
        self._handlers[fd] = handler
        self._epoll.register(fd, READABLE)

    def want_write(self, fd: int, wanted: bool) -> None:
        if fd in self._handlers:
            self._epoll.modify(fd, READABLE | WRITABLE if wanted else READABLE)

    def unregister(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            try:
                self._epoll.unregister(fd)
            except OSError:
                pass  # the descriptor is closed already

    def fileno(self) -> int:
        """Readable when :meth:`poll` has something to do: lets an event loop lead."""
        return self._epoll.fileno()

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        """Run ``callback`` in the leader after ``delay`` seconds. From any thread."""
        at = monotonic() + delay
        with self._followers_lock:
            heapq.heappush(self._timers, (at, next(self._timer_ids), callback))
        if self._polling:
            self.wake()
        elif self._deputy_asleep:
            self._ring()

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run ``callback`` in the leader, soon. From any thread."""
        self.call_later(0.0, callback)

    # writing --------------------------------------------------------------------------------
    def flush_later(self, connection: Connection) -> None:
        """Let whoever leads next flush: the caller goes on producing messages."""
        self._dirty.append(connection)
        if self.turning and self.turning == threading.get_ident():
            return
        if self.loop_lead is not None:
            self.loop_lead.wake()
        elif self._polling:
            self.wake()
        elif self._deputy_asleep:
            self._ring()

    def mark_dirty(self, connection: Connection) -> None:
        """For handlers: flushed when this wake-up's events are handled."""
        self._dirty.append(connection)

    def flushes_by_itself(self) -> bool:
        """Whether what this thread has queued leaves as soon as it returns to its event loop."""
        if self.turning and self.turning == threading.get_ident():
            return True
        return self.loop_lead is not None

    def flush_all(self) -> None:
        dirty = self._dirty
        while dirty:
            try:
                connection = dirty.pop()
            except IndexError:
                return
            connection.flush_now()

    def wake(self) -> None:
        """End the leader's sleep. From any thread, from finalizers too: takes no lock."""
        if not self._wake_pending:
            self._wake_pending = True
            try:
                os.write(self._wake_write, b"x")
            except (BlockingIOError, OSError):
                pass

    def _drain_wake(self, _: int) -> None:
        self._wake_pending = False  # before reading: a wake() from now on writes a byte of its own
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass

    # waiting --------------------------------------------------------------------------------
    def wake_waiter(self, waiter: Waiter) -> None:
        """Set a waiter ready. From any thread, usually the leader's."""
        waiter.ready = True
        if waiter._lock is not None:  # it follows, or is about to
            with self._followers_lock:
                if waiter._sleeping and waiter._lock is not None:
                    waiter._sleeping = False
                    waiter._lock.release()
        if self._polling:
            self.wake()

    def wait(self, waiter: Waiter, timeout: float | None = None) -> bool:
        """Lead or follow until ``waiter.ready``; False when the timeout came first."""
        with guard:
            deadline = None if timeout is None else monotonic() + timeout
            self.flush_all()
            while not waiter.ready:
                remaining = None
                if deadline is not None:
                    remaining = deadline - monotonic()
                    if remaining <= 0:
                        return False
                if self._lead.acquire(False):
                    self._lead_for(waiter, deadline)
                else:
                    self._follow(waiter, remaining)
        return True

    def _lead_for(self, waiter: Waiter, deadline: float | None) -> None:
        """Having the lead: read until ``waiter`` is ready, or the deadline."""
        self._sequence += 1
        self._leading = waiter
        try:
            while not waiter.ready:
                remaining = None
                if deadline is not None:
                    remaining = deadline - monotonic()
                    if remaining <= 0:
                        return
                self.poll(remaining)
        finally:
            self._leading = None
            self._leave()

    def _leave(self) -> None:
        self._sequence += 1
        self._lead.release()
        if self._followers:
            self._promote_follower()
        if self._deputy_asleep:
            self._ring()

    def _promote_follower(self) -> None:
        with self._followers_lock:
            while self._followers:
                waiter = self._followers.popleft()
                if waiter._sleeping and waiter._lock is not None:
                    waiter._sleeping = False
                    waiter._lock.release()
                    return

    def _follow(self, waiter: Waiter, timeout: float | None) -> None:
        if waiter._lock is None:
            waiter._lock = threading.Lock()
            waiter._lock.acquire()
        with self._followers_lock:
            if waiter.ready:
                return
            waiter._sleeping = True
            self._followers.append(waiter)
        if self._deputy_leads:
            self._wanted += 1
            self.wake()
        elif not self._lead.locked():  # the leader left in between: nobody would wake us
            timeout = 0.0
        # a bounded sleep: the loop in wait() looks again, so that a lost wake-up is a delay, not a hang
        window = guard.open()
        try:
            waiter._lock.acquire(True, 1.0 if timeout is None else min(timeout, 1.0))
        finally:
            guard.close(window)
        with self._followers_lock:
            if waiter._sleeping:
                waiter._sleeping = False
                try:
                    self._followers.remove(waiter)
                except ValueError:
                    pass
            else:
                waiter._lock.acquire(False)

    # leading --------------------------------------------------------------------------------
    def poll(self, timeout: float | None) -> bool:
        """Handle what has come, or wait up to ``timeout`` seconds for something. Only for the leader.

        Returns whether anything had come.
        """
        if self._dirty:
            self.flush_all()
        if self._timers:
            timeout = self._until_next_timer(timeout)
        epoll = self._epoll
        if timeout is None or timeout > 0:
            events = self._spin() or self._sleep(timeout)
        else:
            events = epoll.poll(0)
        with guard:
            handlers = self._handlers
            for fd, event in events:
                handler = handlers.get(fd)
                if handler is not None:
                    try:
                        handler(event)
                    except Exception:
                        report()  # one bad message must not stop the process from reading the others
            if self._timers:
                self._run_timers()
            if self._dirty:
                self.flush_all()
        return bool(events)

    def _spin(self) -> list[tuple[int, int]]:
        """Look for events for a moment without going to sleep, as long as that has been paying off.

        Where other processes compete for the cores it does not pay: then it is tried ever more rarely.
        """
        if not self.may_spin():
            return []
        poll = self._epoll.poll
        end = perf_counter() + SPIN
        while True:
            events = poll(0)
            if events:
                self.spun(True)
                return events
            if perf_counter() > end:
                self.spun(False)
                return []

    def _sleep(self, timeout: float | None) -> list[tuple[int, int]]:
        if self.before_sleep is not None:
            self.before_sleep()
        self._polling = True
        try:
            # Everything that others may have changed is looked at after _polling is set: from then on they wake us.
            if self._timers:
                timeout = self._until_next_timer(timeout)
            ready = self._leading is not None and self._leading.ready
            if ready or self._dirty or (self._deputy_leads and self._wanted):
                return self._epoll.poll(0)
            window = guard.open()
            try:
                return self._epoll.poll(timeout)
            finally:
                guard.close(window)
        finally:
            self._polling = False

    def _until_next_timer(self, timeout: float | None) -> float | None:
        with self._followers_lock:
            if not self._timers:
                return timeout
            delay = max(0.0, self._timers[0][0] - monotonic())
        return delay if timeout is None or delay < timeout else timeout

    def _run_timers(self) -> None:
        now = monotonic()
        while True:
            with self._followers_lock:
                if not self._timers or self._timers[0][0] > now:
                    return
                callback = heapq.heappop(self._timers)[2]
            try:
                callback()
            except Exception:
                report()

    # an event loop leads --------------------------------------------------------------------
    def poll_from_loop(self) -> bool:
        """For an event loop that watches :meth:`fileno`: handle what has come, unless somebody else does."""
        if not self._lead.acquire(False):
            return False
        self._sequence += 1
        try:
            if self.before_sleep is not None:
                self.before_sleep()
            return self.poll(0.0)
        finally:
            self._lead.release()

    def may_spin(self) -> bool:
        """For an event loop that has nothing to do: whether to look again for a moment before it sleeps."""
        if self._skips_left:
            self._skips_left -= 1
            return False
        return True

    def spun(self, found: bool) -> None:
        """How that ended; see :meth:`_spin`."""
        if found:
            self._skip_spins >>= 2
        else:
            self._skip_spins = self._skips_left = min(MOST_SKIPPED, self._skip_spins * 2 + 1)

    def led_by(self, lead: LoopLead | None) -> None:
        """From now on an event loop watches the pump; the deputy only looks now and then, for a loop that is blocked by
        a synchronous call. With None: no longer."""
        self.loop_lead = lead
        self._nap = NAP
        self.wake()  # if the deputy leads: no longer
        self._ring()

    @property
    def stopping(self) -> bool:
        return self._stopping

    # the deputy -----------------------------------------------------------------------------
    def _ring(self) -> None:
        try:
            self._deputy_bell.release()
        except RuntimeError:
            pass  # it rings already

    def _deputy_loop(self) -> None:
        naps = 0
        while not self._stopping:
            sequence = self._sequence
            self._deputy_bell.acquire(True, NAP if self.loop_lead is None else self._nap)
            if self._stopping or sys.is_finalizing():
                return
            if self.loop_lead is not None:
                self._assist(self.loop_lead, sequence)
                continue
            if self._lead.locked():
                naps = naps + 1 if sequence == self._sequence else 0
                if naps > NAPS_BEFORE_SLEEP:
                    naps = 0
                    self._deputy_asleep = True
                    if self._lead.locked():
                        self._deputy_bell.acquire()
                    self._deputy_asleep = False
            elif sequence == self._sequence and self._lead.acquire(False):
                naps = 0
                self._deputy_lead()
            elif self._dirty:
                self.flush_all()

    def _assist(self, lead: LoopLead, sequence: int) -> None:
        """An event loop leads: see whether it does."""
        longest = lead.nap
        if sequence != self._sequence:  # it does: waking up for nothing costs it the interpreter each time
            self._nap = longest
            return
        busy = bool(self._dirty)
        self._nap = NAP if self.poll_from_loop() or busy else min(2 * self._nap, longest)
        if self._nap == longest and lead.closed():
            self.loop_lead = None

    def _deputy_lead(self) -> None:
        self._sequence += 1
        if self.on_takeover is not None:
            self.on_takeover()
        self._deputy_leads = True
        try:
            while not self._wanted and not self._stopping and self.loop_lead is None:
                self.poll(None)
        finally:
            self._deputy_leads = False
            self._wanted = 0
            self._sequence += 1
            self._lead.release()
            self._promote_follower()

    # end ------------------------------------------------------------------------------------
    def abandon(self) -> None:
        """In a forked child, which has no deputy: close the descriptors."""
        self._stopping = True
        self._epoll.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def stop(self) -> None:
        """Stop the deputy and close the descriptors. Waiting threads end at their next wake-up."""
        self._stopping = True
        self.wake()
        self._ring()
        if self._deputy.is_alive() and threading.current_thread() is not self._deputy:
            self._deputy.join(2.0)
        if self._lead.acquire(True, 1.0):
            for fd in list(self._handlers):
                self.unregister(fd)
            self._epoll.close()
            os.close(self._wake_read)
            os.close(self._wake_write)
