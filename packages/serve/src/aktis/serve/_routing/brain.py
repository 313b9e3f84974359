"""Which replica gets a request: the decisions, without threads, clocks or messages.

A :class:`RoutingBrain` is what one process knows of one deployment: its replicas, how many requests of *this* process each of them
has, and who waits. Times are seconds of one monotonic clock, passed in. Its user holds a lock around every call.

Guarantees: no replica ever has more than ``max_ongoing`` requests of ours; waiters are served in the order they came (those whose
replica rejected them or died stand in front); a waiter leaves by being served, expired, failed or abandoned, never otherwise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from aktis.serve._protocol import DeploymentView, Rejected, ReplicaID, ReplicaView

# A replica that rejected is left alone for this long, unless one of our own requests on it ends before. Doubled by each
# rejection in a row: other callers keep it busy, and asking costs both sides a message.
COOL_FIRST, COOL_MOST = 0.002, 0.016
# An unreachable actor may come back (its process is stopped, or restarts): asked again after this.
UNREACHABLE = 0.5


class Slot:
    """One replica, as this process sees it."""

    __slots__ = ("bound", "closed", "cool_until", "line", "max_ongoing", "models", "ongoing", "rejections", "view")

    def __init__(self, view: ReplicaView) -> None:
        self.view = view
        self.max_ongoing = view.max_ongoing
        self.models: set[str] = set(view.model_ids)
        self.ongoing = 0  # leases of ours that have not ended
        self.rejections = 0  # in a row
        self.cool_until = 0.0
        self.closed = False  # dead, draining, or not in the view any more: takes nothing, but its leases still end
        self.bound: Any = None  # for the user of the brain: methods of the actor, looked up once
        self.line: Any = None  # for proxies: see _proxy/lines.py

    def refresh(self, view: ReplicaView) -> None:
        if view.model_ids != self.view.model_ids:
            self.models = set(view.model_ids)
        self.view = view
        self.max_ongoing = view.max_ongoing

    def __repr__(self) -> str:
        return f"<Slot {self.view.id} {self.ongoing}/{self.max_ongoing}{' closed' if self.closed else ''}>"


class Waiter:
    """Somebody who waits for a replica. ``deliver`` belongs to the user of the brain."""

    __slots__ = ("deadline", "deliver", "done", "model_id", "request_id")

    def __init__(self, deliver: Any, model_id: str = "", deadline: float | None = None, request_id: str = "") -> None:
        self.deliver = deliver
        self.model_id = model_id
        self.deadline = deadline  # of the monotonic clock; None: waits as long as it takes
        self.request_id = request_id
        self.done = False  # left the queue, whichever way


class RoutingBrain:
    """The replicas of one deployment, and who waits for one."""

    def __init__(self, random: Callable[[], float]) -> None:
        self.random = random
        self.view: DeploymentView | None = None
        self.slots: list[Slot] = []  # those that take requests
        self.by_id: dict[ReplicaID, Slot] = {}  # of the view, closed ones too
        self.waiting: deque[Waiter] = deque()  # may hold waiters that are done: they are skipped
        self.count = 0  # of waiters that are not done

    # what is known ----------------------------------------------------------------------------
    def update(self, view: DeploymentView | None) -> None:
        """The controller says what there is; None: the deployment does not exist."""
        self.view = view
        known, self.by_id = self.by_id, {}
        for replica in view.replicas if view is not None else ():
            slot = known.pop(replica.id, None)
            if slot is None:
                slot = Slot(replica)
            else:
                slot.refresh(replica)
            self.by_id[replica.id] = slot
        for slot in known.values():
            slot.closed = True
        self.slots = [slot for slot in self.by_id.values() if not slot.closed]

    # choosing ---------------------------------------------------------------------------------
    def take(self, model_id: str, now: float) -> Slot | None:
        """A replica with room, its count already raised; None when there is none or others wait already."""
        if self.count:
            return None
        return self._take(model_id, now)

    def _take(self, model_id: str, now: float) -> Slot | None:
        slots = self.slots
        if not model_id and len(slots) == 1:
            slot: Slot | None = slots[0]
            if slot.ongoing >= slot.max_ongoing or slot.cool_until > now:  # type: ignore[union-attr]
                return None
        else:
            slot = self._choose_for_model(model_id, now) if model_id else self._choose(slots, now)
            if slot is None:
                return None
        slot.ongoing += 1  # type: ignore[union-attr]
        return slot

    def _choose(self, slots: list[Slot], now: float) -> Slot | None:
        """The less busy of two picked at random; when neither has room, the least busy of all."""
        number = len(slots)
        if number < 2:
            return slots[0] if number and _has_room(slots[0], now) else None
        first = int(self.random() * number)
        second = int(self.random() * (number - 1))
        if second >= first:
            second += 1
        one, other = slots[first], slots[second]
        if other.ongoing < one.ongoing:
            one, other = other, one
        if _has_room(one, now):
            return one
        if _has_room(other, now):
            return other
        free = [slot for slot in slots if _has_room(slot, now)]
        return min(free, key=_load) if free else None

    def _choose_for_model(self, model_id: str, now: float) -> Slot | None:
        """One that has the model; else one with the fewest models, which will load it: the next requests then find it there."""
        warm = self._choose([slot for slot in self.slots if model_id in slot.models], now)
        if warm is not None:
            return warm
        free = [slot for slot in self.slots if _has_room(slot, now)]
        if not free:
            return None
        fewest = min(len(slot.models) for slot in free)
        slot = self._choose([slot for slot in free if len(slot.models) == fewest], now)
        assert slot is not None
        slot.models.add(model_id)
        return slot

    # the end of a lease -----------------------------------------------------------------------
    def released(self, slot: Slot) -> None:
        """A request of ours has ended: there is room for another one."""
        slot.ongoing -= 1
        slot.cool_until = 0.0
        slot.rejections = 0

    def rejected(self, slot: Slot, answer: Rejected, now: float, counted: bool = True) -> None:
        """The replica did not take a request of ours; not ``counted``: the end of that was noticed before its cause."""
        slot.ongoing -= counted
        if answer.draining:
            self._close(slot)
            return
        slot.cool_until = now + min(COOL_MOST, COOL_FIRST * (1 << min(slot.rejections, 8)))
        slot.rejections += 1

    def died(self, slot: Slot, now: float, for_good: bool = True, counted: bool = True) -> None:
        """The replica's actor is dead, or (not ``for_good``) cannot be reached now."""
        slot.ongoing -= counted
        if for_good:
            self._close(slot)
        else:
            slot.cool_until = now + UNREACHABLE

    def _close(self, slot: Slot) -> None:
        slot.closed = True
        if slot in self.slots:
            self.slots = [other for other in self.slots if other is not slot]

    # waiting ----------------------------------------------------------------------------------
    def queue_is_full(self) -> bool:
        """Whether the deployment's ``max_queued_requests`` forbids one more waiter."""
        return self.view is not None and 0 <= self.view.max_queued <= self.count

    def wait(self, waiter: Waiter, front: bool = False) -> None:
        """Stand in line; in ``front`` those who were already served once, by a replica that then did not take them."""
        if front:
            self.waiting.appendleft(waiter)
        else:
            self.waiting.append(waiter)
        self.count += 1

    def abandon(self, waiter: Waiter) -> bool:
        """The waiter leaves. False: it had been served, or failed, before."""
        if waiter.done:
            return False
        waiter.done = True
        self.count -= 1
        if (
            len(self.waiting) > 2 * self.count + 16
        ):  # do not keep those that left while the first in line waits for long
            self.waiting = deque(other for other in self.waiting if not other.done)
        return True

    def serve(self, now: float) -> Iterator[tuple[Waiter, Slot]]:
        """Those in line who get a replica now, in order. To be exhausted."""
        while self.count:
            waiter = self.waiting[0]
            if waiter.done:
                self.waiting.popleft()
                continue
            slot = self._take(waiter.model_id, now)
            if slot is None:
                return
            self.waiting.popleft()
            waiter.done = True
            self.count -= 1
            yield waiter, slot
        self.waiting.clear()

    def expire(self, now: float) -> list[Waiter]:
        """Those whose time is over leave."""
        late = [one for one in self.waiting if not one.done and one.deadline is not None and one.deadline <= now]
        for waiter in late:
            self.abandon(waiter)
        return late

    def trim(self) -> list[Waiter]:
        """Those who came too many while nobody knew ``max_queued_requests`` leave: the last ones."""
        if self.view is None or self.view.max_queued < 0:
            return []
        extra = [waiter for waiter in self.waiting if not waiter.done][self.view.max_queued :]
        for waiter in extra:
            self.abandon(waiter)
        return extra

    def fail_all(self) -> list[Waiter]:
        """Everybody leaves: there will be no replica."""
        left = [waiter for waiter in self.waiting if not waiter.done]
        for waiter in left:
            waiter.done = True
        self.waiting.clear()
        self.count = 0
        return left

    def wake_at(self, now: float) -> float | None:
        """When to call :meth:`serve` and :meth:`expire` again although nothing has happened; None: no need to."""
        if not self.count:
            return None
        times = [slot.cool_until for slot in self.slots if slot.cool_until > now and slot.ongoing < slot.max_ongoing]
        times += [one.deadline for one in self.waiting if not one.done and one.deadline is not None]
        return min(times) if times else None

    def validate(self) -> None:
        """What must hold between any two calls; for tests."""
        assert self.count == sum(not waiter.done for waiter in self.waiting), (self.count, self.waiting)
        for slot in self.by_id.values():
            assert slot.ongoing >= 0, slot
        assert all(not slot.closed for slot in self.slots)


def _has_room(slot: Slot, now: float) -> bool:
    return slot.ongoing < slot.max_ongoing and slot.cool_until <= now


def _load(slot: Slot) -> int:
    return slot.ongoing
