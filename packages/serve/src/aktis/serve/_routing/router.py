"""One router per process and deployment: hands out replicas to requests.

::

    threads, event loops ── try_acquire, acquire, acquire_blocking, acquire_then ──► Router ──► RoutingBrain (under its lock)
             ▲                                                                    ▲
             └─── a Lease, or an error: delivered outside of the lock ◄───────────┤ update(view), tick(): the Watcher's thread
                                                                                  └ lease.release() etc.: whichever thread

Guarantees: every method may be called from any thread, none blocks but ``acquire_blocking``. ``deliver`` of a waiter is called
exactly once, without a lock held, by the thread that freed the replica. The router's lock is the innermost one: nothing is
called under it but the brain. Whoever gets a lease ends it: ``release``, ``rejected`` or ``died``; only the first counts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import random
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from aktis.serve._observe.tracing import exporter_path
from aktis.serve._protocol import DeploymentID, DeploymentView, Rejected, ReplicaView, RequestMeta
from aktis.serve._routing.brain import RoutingBrain, Slot, Waiter
from aktis.serve.exceptions import BackPressureError, DeploymentUnavailableError, RequestTimeoutError

if TYPE_CHECKING:
    import asyncio

    from aktis.serve._routing.watcher import Watcher

Deliver = Callable[["Lease | BaseException"], None]


class Lease:
    """The right to give one request to one replica."""

    __slots__ = ("open", "router", "slot", "waited")

    def __init__(self, router: Router, slot: Slot, waited: bool = False) -> None:
        self.router = router
        self.slot = slot
        self.open = True
        self.waited = waited  # the request has stood in line for it

    @property
    def replica(self) -> ReplicaView:
        """The replica."""
        view: ReplicaView = self.slot.view
        return view

    def release(self) -> None:
        """The request has ended, however it did."""
        self.router.release(self)

    def rejected(self, answer: Rejected) -> None:
        """The replica did not take the request: it is left alone for a moment (for good, when it drains)."""
        self.router._rejected(self, answer)

    def died(self, for_good: bool = True) -> None:
        """The replica's actor is dead; not ``for_good``: it cannot be reached, and may come back."""
        self.router._died(self, for_good)

    def __repr__(self) -> str:
        return f"<Lease on {self.slot.view.id}{'' if self.open else ', ended'}>"


class Router:
    """Hands out the replicas of one deployment in this process. Made by :meth:`of`."""

    def __init__(self, id: DeploymentID, watcher: Watcher) -> None:
        self.id = id
        self._watcher = watcher
        self._lock = threading.Lock()
        self._brain = RoutingBrain(random)
        self._known = False  # whether the controller has told us about the deployment
        self._gone = ""  # why no view will come (Serve is not running, the session has ended)
        self._tick_at: float | None = None  # when the watcher will call tick()
        # Calls that were sent, and whose end nobody has looked at: see aktis.serve._routing.calls.
        self.unsettled: set[Any] = set()
        self.sent = 0  # calls of handles that went to a replica
        self.traced = bool(exporter_path())

    @staticmethod
    def of(id: DeploymentID) -> Router:
        """The router of a deployment in this process and session."""
        from aktis.serve._routing.watcher import watcher

        return watcher().router(id)

    # acquiring --------------------------------------------------------------------------------
    def try_acquire(self, meta: RequestMeta) -> Lease | None:
        """A replica, at once. None: nobody has room now, or others wait already."""
        lock = self._lock
        lock.acquire()
        slot = self._brain.take(meta.model_id, monotonic())
        lock.release()
        return None if slot is None else Lease(self, slot)

    async def acquire(self, meta: RequestMeta) -> Lease:
        """A replica, as soon as one has room.

        Raises:
            BackPressureError: ``max_queued_requests`` wait in this process already.
            DeploymentUnavailableError: the deployment was deleted, or will get no replicas.
            RequestTimeoutError: the request's deadline passed.
        """
        lease = self.try_acquire(meta)
        if lease is not None:
            return lease
        import asyncio

        future: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        waiter = self.acquire_then(meta, to_future(future))
        if isinstance(waiter, Lease):
            return waiter
        try:
            return await future
        except BaseException:
            if not self.abandon(waiter) and future.done() and not future.cancelled() and future.exception() is None:
                future.result().release()
            raise

    def acquire_blocking(self, meta: RequestMeta, timeout: float | None = None) -> Lease:
        """As :meth:`acquire`, for threads. RequestTimeoutError after ``timeout`` seconds, too."""
        lease = self.try_acquire(meta)
        if lease is not None:
            return lease
        came = threading.Lock()
        came.acquire()
        outcome: list[Lease | BaseException] = []

        def deliver(what: Lease | BaseException) -> None:
            outcome.append(what)
            came.release()

        waiter = self.acquire_then(meta, deliver)
        if isinstance(waiter, Lease):
            return waiter
        try:
            if not came.acquire(timeout=-1 if timeout is None else max(0.0, timeout)) and self.abandon(waiter):
                raise RequestTimeoutError(meta.request_id, timeout)
            if not outcome:  # it was served while the time-out fired
                came.acquire()
        except BaseException:  # a signal
            if not self.abandon(waiter) and outcome and isinstance(outcome[0], Lease):
                outcome[0].release()
            raise
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    def acquire_then(
        self, meta: RequestMeta, deliver: Deliver, *, again: bool = False, admitted: bool = True
    ) -> Lease | Waiter:
        """A lease at once, or a waiter: ``deliver`` will be called with a lease or an error. Raises as :meth:`acquire`.

        Args:
            meta: of the request.
            deliver: takes what came; on any thread.
            again: a replica did not take the request: it stands in front.
            admitted: with ``again``: a full queue does not matter. Not so for one that never stood in line, and whose replica
                was busy with requests of other callers: that is what ``max_queued_requests`` is about.
        """
        now = monotonic()
        deadline = None
        if meta.deadline:
            deadline = now + meta.deadline - time()
            if deadline <= now:
                raise RequestTimeoutError(meta.request_id)
        with self._lock:
            brain = self._brain
            slot = brain.take(meta.model_id, now)
            if slot is not None:
                return Lease(self, slot)
            self._refuse(again and admitted)
            waiter = Waiter(deliver, meta.model_id, deadline, meta.request_id)
            brain.wait(waiter, front=again)
            empty = not brain.slots
            report = brain.view is not None and brain.view.reports and brain.count == 1
            tick = self._next_tick(now)
        if tick is not None:
            self._watcher.tick_at(self, tick)
        if report or empty:
            self._watcher.waiting_began(self, at_once=empty)
        if self.unsettled:
            self.settle_all()
        return waiter

    def _refuse(self, admitted: bool) -> None:
        """Raise, where waiting is in vain or not allowed. Under the lock."""
        brain = self._brain
        view = brain.view
        if not brain.slots and self._watcher.ended:
            raise DeploymentUnavailableError(self.id, self._gone or "its session has ended")
        if view is None or (self._gone and not brain.slots):
            if self._known:  # it was deleted, or Serve was shut down, and it may have come back: ask
                self._known = False
                self._watcher.ask(self)
        elif view.broken and not brain.slots:
            raise DeploymentUnavailableError(self.id, view.broken)
        if not admitted and brain.queue_is_full():
            assert view is not None
            raise BackPressureError(brain.count, view.max_queued, str(self.id), *view.overload)

    def abandon(self, waiter: Waiter) -> bool:
        """The waiter wants nothing any more. False: it had been served before, and ``deliver`` was or is being called."""
        with self._lock:
            return self._brain.abandon(waiter)

    def settle_all(self) -> None:
        """Somebody waits: notice the end of every call at once, and not only when somebody asks for its result."""
        for call in tuple(self.unsettled):
            call.notice_end()

    # the end of leases ------------------------------------------------------------------------
    def release(self, lease: Lease) -> None:
        """See :meth:`Lease.release`."""
        lock = self._lock
        lock.acquire()
        if not lease.open:
            lock.release()
            return
        lease.open = False
        brain = self._brain
        brain.released(lease.slot)
        if not brain.count:
            lock.release()
            return
        try:
            served = list(brain.serve(monotonic()))
        finally:
            lock.release()
        self._deliver(served)

    def _rejected(self, lease: Lease, answer: Rejected) -> None:
        now = monotonic()
        with self._lock:
            counted, lease.open = lease.open, False
            self._brain.rejected(lease.slot, answer, now, counted)
        self._serve()

    def _died(self, lease: Lease, for_good: bool) -> None:
        now = monotonic()
        with self._lock:
            counted, lease.open = lease.open, False
            self._brain.died(lease.slot, now, for_good, counted)
        self._serve()

    # news -------------------------------------------------------------------------------------
    def update(self, view: DeploymentView | None) -> None:
        """What the controller says. None: there is no such deployment."""
        brain = self._brain
        extra: list[Waiter] = []
        with self._lock:
            first = brain.view is None
            self._known = True
            self._gone = ""
            brain.update(view)
            why = "" if view is None else view.broken
            left = brain.fail_all() if view is None or (why and not brain.slots) else []
            served = list(brain.serve(monotonic()))
            if first and view is not None:
                extra = brain.trim()
        for waiter in left:
            waiter.deliver(DeploymentUnavailableError(self.id, why))
        for waiter in extra:
            assert view is not None
            waiter.deliver(BackPressureError(view.max_queued, view.max_queued, str(self.id), *view.overload))
        self._deliver(served)
        self._serve()

    def gone(self, why: str, *, replicas_too: bool = False) -> None:
        """There is no controller any more. Whoever waits in vain is told; replicas that live go on being used."""
        with self._lock:
            self._gone = why
            self._known = True
            if replicas_too:
                self._brain.update(None)
            left = self._brain.fail_all() if not self._brain.slots else []
        for waiter in left:
            waiter.deliver(DeploymentUnavailableError(self.id, why))

    def tick(self) -> None:
        """A time has come that the brain had asked for."""
        now = monotonic()
        with self._lock:
            self._tick_at = None
            late = self._brain.expire(now)
        for waiter in late:
            waiter.deliver(RequestTimeoutError(waiter.request_id))
        self._serve()

    def _serve(self) -> None:
        now = monotonic()
        with self._lock:
            served = list(self._brain.serve(now)) if self._brain.count else []
            tick = self._next_tick(now)
        if tick is not None:
            self._watcher.tick_at(self, tick)
        self._deliver(served)

    def _next_tick(self, now: float) -> float | None:
        """The time to tell the watcher, if it has not been told an earlier one. Under the lock."""
        at = self._brain.wake_at(now)
        if at is None or (self._tick_at is not None and self._tick_at <= at):
            return None
        self._tick_at = at
        return at

    def _deliver(self, served: list[tuple[Waiter, Slot]]) -> None:
        for waiter, slot in served:
            waiter.deliver(Lease(self, slot, waited=True))

    # looking ----------------------------------------------------------------------------------
    @property
    def view(self) -> DeploymentView | None:
        """What the controller said last; None before that, and when the deployment does not exist."""
        return self._brain.view

    @property
    def waiting(self) -> int:
        """How many wait for a replica in this process."""
        return self._brain.count

    @property
    def ongoing(self) -> int:
        """How many leases have not ended, on replicas that are in the view."""
        with self._lock:
            return sum(slot.ongoing for slot in self._brain.by_id.values())

    @property
    def ended(self) -> bool:
        """Whether its session has ended: ask :meth:`of` for another one."""
        return self._watcher.ended

    @property
    def has_choice(self) -> bool:
        """Whether there are several replicas."""
        return len(self._brain.slots) > 1

    def __repr__(self) -> str:
        return f"<Router of {self.id}: {self._brain.slots}, {self.waiting} waiting>"


def to_future(future: asyncio.Future[Lease]) -> Deliver:
    """A ``deliver`` for a future of the running loop: directly from the loop's own thread, or as other threads have to."""
    loop = future.get_loop()
    owner = threading.get_ident()

    def give(what: Lease | BaseException) -> None:
        if future.done():  # cancelled meanwhile
            if isinstance(what, Lease):
                what.release()
        elif isinstance(what, BaseException):
            future.set_exception(what)
        else:
            future.set_result(what)

    def deliver(what: Lease | BaseException) -> None:
        if threading.get_ident() == owner:
            give(what)
            return
        try:
            loop.call_soon_threadsafe(give, what)
        except RuntimeError:  # the loop was closed while we waited
            if isinstance(what, Lease):
                what.release()

    return deliver
