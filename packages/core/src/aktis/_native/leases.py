"""Leased workers of one scheduling key, and the calls that wait for them.

The decisions (whom to give the next call, how deep, how many workers to ask for) are in :mod:`aktis._native.pacing`;
here they are carried out. ``LeasePool.lock`` is taken before no other lock; callbacks never run under it.
"""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any

from aktis import exceptions
from aktis._native import pacing, values
from aktis._native import protocol as op
from aktis._native.interrupts import guard

if TYPE_CHECKING:
    from aktis._native.connection import Connection
    from aktis._native.core import Core
    from aktis._native.tasks import TaskClient

LINGER = 0.5  # seconds that an idle lease is kept; the node recalls it earlier when somebody wants it
NO_NEWS = 10.0  # seconds after which a worker whose connection broke counts as crashed without the node's word


class Lease:
    """A worker that is ours for a while."""

    __slots__ = ("accelerators", "connection", "dead", "idle_since", "lease_id", "pending", "pool", "recalled",
                 "resources", "started", "stealing", "wanted", "worker_id")  # fmt: skip

    def __init__(self, pool: LeasePool, lease_id: Any, worker_id: bytes, connection: Connection) -> None:
        self.pool = pool
        self.lease_id = lease_id
        self.worker_id = worker_id
        self.connection = connection
        self.pending: dict[int, Any] = {}
        self.recalled = False  # give it back when its calls end
        self.wanted = False  # somebody else waits for it: give it back when there is nothing to do
        self.dead = False
        self.stealing = False
        self.idle_since = monotonic()
        self.started = self.idle_since  # when the oldest pending call was sent, or the last result came


class LeasePool:
    """Calls with the same needs, and the workers leased for them."""

    def __init__(self, client: TaskClient, key_id: int, spec: op.LeaseSpec) -> None:
        self.client = client
        self.core: Core = client.core
        self.key_id = key_id
        self.spec = spec
        self.spec_sent = False
        self.queue: deque[Any] = deque()
        self.leases: list[Lease] = []
        self.demand = 0
        self.hungry = True  # a lease has room, or more workers may be wanted: submit() should dispatch
        self.average: float | None = None  # seconds a call runs, exponentially smoothed
        self.growth = pacing.FIRST_WORKERS
        self.lock = threading.Lock()
        self._reconsidering = False
        self._lingering = False

    # giving out calls -----------------------------------------------------------------------
    def dispatch(self) -> None:
        """Send queued calls to leases that have room, and ask for more workers where that would help."""
        if self.client.over is not None:
            self.refuse(self.client.over)
            return
        touched = []
        with guard, self.lock:
            depth = pacing.depth(self.average, self.spec.retriable)
            while self.queue:
                lease = pacing.choose([one for one in self.leases if not one.recalled], depth)
                if lease is None:
                    break
                count = pacing.share(len(self.queue), depth - len(lease.pending), len(self.leases))
                if self._push(lease, count):
                    touched.append(lease)
            self.hungry = not self.queue or not self.leases
        for lease in touched:
            lease.connection.flush_now()
        if self.queue or self.leases:
            self.update_demand()

    def _push(self, lease: Lease, count: int) -> bool:
        """Move up to ``count`` calls into a lease's connection; True when its worker was idle."""
        was_idle = not lease.pending
        if was_idle:
            lease.started = monotonic()
        connection = lease.connection
        known = connection.functions
        out = connection.out
        cancelled = self.client.cancelled
        for _ in range(count):
            try:
                record = self.queue.popleft()
            except IndexError:
                break
            counter = record.counter
            if cancelled and counter in cancelled:
                cancelled.discard(counter)
                continue
            message = record.message
            if message[2] not in known:
                known.add(message[2])
                out.append(self.client.function_message(message[2]))
            lease.pending[counter] = record
            out.append(message)
        if not connection.queued and out and not was_idle:
            connection.queued = True
            self.core.pump.flush_later(connection)
        return was_idle

    def refill(self, lease: Lease) -> None:
        """After results: keep the worker fed, or look for other work for it."""
        depth = pacing.depth(self.average, self.spec.retriable)
        if self.queue and not lease.recalled:
            if len(lease.pending) <= depth // 2:
                with self.lock:
                    count = pacing.share(len(self.queue), depth - len(lease.pending), len(self.leases))
                    self._push(lease, count)
                    self.hungry = not self.queue
                lease.connection.flush_now()
        else:
            self.hungry = True
            if self.queue and not lease.recalled:  # appended by another thread that saw us sated
                self.dispatch()
        if not lease.pending:
            if lease.recalled or (lease.wanted and not self.queue):
                self.give_back(lease)
            else:
                lease.idle_since = monotonic()
                self._linger()
        if self.demand and not self.queue:
            self.update_demand()

    # demand ---------------------------------------------------------------------------------
    def update_demand(self) -> None:
        with self.lock:
            waiting = len(self.queue) + sum(len(lease.pending) - 1 for lease in self.leases if lease.pending)
            wanted = pacing.more_workers(waiting, len(self.leases), self.growth, self.average)
            if waiting and not wanted and self._stuck():  # short as calls are otherwise, these wait behind long ones
                wanted = pacing.more_workers(waiting, len(self.leases), self.growth, None)
            if wanted == self.demand or (0 < wanted < self.demand):
                changed = False
            else:
                changed = True
                self.demand = wanted
        if changed:
            self._say_demand(wanted)
        if waiting and not self._reconsidering:
            self._reconsidering = True
            self.core.pump.call_later(pacing.RECONSIDER, self._reconsider)

    def _say_demand(self, count: int) -> None:
        node = self.core.node
        if node is None or node.closed:
            return
        spec = None if self.spec_sent else self.spec
        self.spec_sent = True
        node.send_now((op.DEMAND, self.key_id, spec, count))

    def _reconsider(self) -> None:
        """A moment later: work still waits. Ask for more workers, and let idle ones take from busy ones."""
        self._reconsidering = False
        now = monotonic()
        if self._stuck():
            self.growth = max(self.growth, 2 * len(self.leases))
        if self.queue:
            self.dispatch()
        self.balance(now)
        waiting = len(self.queue) + sum(len(lease.pending) - 1 for lease in self.leases if lease.pending)
        if waiting:
            self.update_demand()

    def _stuck(self) -> bool:
        """Whether all workers have been busy with one call each for some time."""
        now = monotonic()
        return all(lease.pending and now - lease.started > pacing.RECONSIDER for lease in self.leases)

    def balance(self, now: float) -> None:
        """Where a worker idles while calls wait behind a long one elsewhere, take them back."""
        if self.queue or not any(not lease.pending and not lease.recalled for lease in self.leases):
            return
        for lease in self.leases:
            count = len(lease.pending) - 1
            if count > 0 and not lease.stealing and now - lease.started > pacing.LONG:
                lease.stealing = True
                lease.connection.post((op.STEAL, max(1, count)))

    def add_lease(self, lease: Lease) -> None:
        with self.lock:
            self.leases.append(lease)
            self.demand = max(0, self.demand - 1)
            self.hungry = True
        self.dispatch()
        if not lease.pending:
            self.balance(monotonic())
            self._linger()

    def take_back(self, lease: Lease, counters: list[int]) -> None:
        """The worker returned calls that it had not begun."""
        lease.stealing = False
        with self.lock:
            for counter in reversed(counters):
                record = lease.pending.pop(counter, None)
                if record is not None:
                    self.queue.appendleft(record)
        self.dispatch()

    # giving back ----------------------------------------------------------------------------
    def recall(self, lease: Lease, must: bool) -> None:
        lease.wanted = True
        if must:
            lease.recalled = True
            if len(lease.pending) > 1:
                lease.connection.post((op.STEAL, len(lease.pending) - 1))
        if not lease.pending and (must or not self.queue):
            self.give_back(lease)

    def give_back(self, lease: Lease, reusable: bool = True) -> None:
        with self.lock:
            if lease.pending or lease not in self.leases:
                return
            self.leases.remove(lease)
        self.client.forget(lease)
        if self.core.node is not None:
            self.core.node.post((op.LEASE_RETURN, lease.lease_id, reusable))
        if self.queue:
            self.update_demand()

    def _linger(self) -> None:
        if not self._lingering:
            self._lingering = True
            self.core.pump.call_later(LINGER, self._end_linger)

    def _end_linger(self) -> None:
        self._lingering = False
        now = monotonic()
        for lease in [one for one in self.leases if not one.pending]:
            if now - lease.idle_since >= LINGER * 0.9 and not self.queue:
                self.give_back(lease)
        if any(not lease.pending for lease in self.leases):
            self._linger()

    # deaths ---------------------------------------------------------------------------------
    def connection_lost(self, lease: Lease) -> None:
        """The worker's stream ended: no more calls to it. Its calls wait for the node to say why."""
        with self.lock:
            if lease in self.leases:
                self.leases.remove(lease)
        lease.dead = True
        if self.client.over is not None:
            self.lost(lease, None)
        elif lease.pending:
            self.core.pump.call_later(NO_NEWS, lambda: self.lost(lease, None))
        self.dispatch()

    def lost(self, lease: Lease, cause: op.DeathCause | None) -> None:
        with self.lock:
            if lease in self.leases:
                self.leases.remove(lease)
            records = list(lease.pending.values())
            lease.pending.clear()
        self.client.forget(lease)
        if cause is None:
            cause = op.DeathCause("crashed", "The worker's connection broke and the node daemon gave no reason.")
        first = True
        for record in records:
            # calls run in order: only the first can have been running
            self.client.after_crash(self, record, cause, begun=first)
            first = False
        self.dispatch()

    def refuse(self, payload: Any) -> None:
        """Nothing can run any more."""
        with self.lock:
            records = list(self.queue)
            self.queue.clear()
            self.demand = 0
            self.hungry = True  # so that every further call comes by here
        for record in records:
            record.fail(payload)

    def fail_queued(self, kind: str, text: str) -> None:
        """The node can never grant a worker for this key."""
        with self.lock:
            records = list(self.queue)
            self.queue.clear()
            self.demand = 0
        error: exceptions.AktisError
        if kind == "env_failed":
            error = exceptions.RuntimeEnvSetupError(text)
        elif kind == "pg_removed":
            error = exceptions.TaskPlacementGroupRemoved(text)
        else:
            error = exceptions.TaskUnschedulableError(text)
        payload = values.pack_error(error)
        for record in records:
            record.fail(payload)
        self.core.wake_watchers()
