"""The ledger of a node's object store: who has which memory, what is spilled, who waits.

A pure state machine. Events are method calls, with the time passed in; decisions come out of
:meth:`StoreLedger.take_commands`. What happens to files is behind :class:`SegmentFiles`, whose three questions are
answered at once.

A segment's life::

              allocate                 sealed                    freed, spilled
    (none) ───────────────► GRANTED ───────────────► SEALED ───────────────────► FREE ──────► deleted
                               ▲  abandoned, process died                          │
                               │  └───────────────────────────────────────────► FREE
                               └──────────── allocate of that size class ──────────┘

FREE segments are the pool: their memory is warm, and the process that wrote one (its *keeper*) may put its next object
there without asking. It then announces the new object, and the segment is SEALED again. The id in the segment's header
tells who was first, so the ledger passes the id that it expects to find with everything it does to a FREE segment.
"""

from __future__ import annotations

import enum
import itertools
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from aktis._store.segment import capacity_for, capacity_of, segment_name

if TYPE_CHECKING:
    from typing import TypeAlias

SPILL_FROM = 0.8  # of the capacity
GRACE = 10.0  # seconds that an allocation waits although nothing can be spilled: readers may let go
DISK_RETRY = 1.0  # seconds after a failed spill until the next
POOL_SECONDS = 60.0  # after which unused memory goes back to the system
EARLY_FREES = 10_000
ATTEMPTS = 64  # segments of the pool to try for one allocation, each some system calls
OWNER_SIZE = 8  # an object id begins with the id of the process that owns the object


class Outcome(enum.Enum):
    DONE = enum.auto()
    BUSY = enum.auto()  # read by somebody, or its keeper was faster
    GONE = enum.auto()  # there is no such file


class SegmentFiles(Protocol):
    """What the ledger needs of the file system; the shell holds the exclusive lock while it does these."""

    def hand_over(self, name: str, expected: bytes | None, object_id: bytes) -> Outcome:
        """If nobody uses it and its header has the expected id (None: any), write ``object_id`` into the header."""
        ...

    def delete(self, name: str, expected: bytes | None) -> Outcome:
        """If nobody uses it and its header has the expected id (None: any), give its memory back."""
        ...

    def room(self) -> int:
        """Free bytes in the file system of the store."""
        ...


@dataclass(slots=True, frozen=True)
class Reply:
    """Answer an allocation: the name of the segment, or (kind, text) with kind "full" or "out_of_disk"."""

    process_id: bytes
    request: int
    ok: bool
    value: str | tuple[str, str]


@dataclass(slots=True, frozen=True)
class Spill:
    """Copy an object to disk, then report :meth:`StoreLedger.spilled` or :meth:`StoreLedger.spill_failed`."""

    object_id: bytes
    segment: str
    size: int


@dataclass(slots=True, frozen=True)
class DeleteSpilled:
    object_id: bytes


Command: TypeAlias = "Reply | Spill | DeleteSpilled"


class State(enum.Enum):
    GRANTED = enum.auto()  # somebody is about to write to it
    SEALED = enum.auto()  # holds an object
    FREE = enum.auto()  # in the pool; readers of its last object may still be there


@dataclass(slots=True, eq=False)
class Segment:
    name: str
    capacity: int
    state: State
    object_id: bytes | None  # that is in it, or was; None: anything may stand in its header
    keeper: bytes  # the process that writes or wrote it
    fresh: bool = False  # granted, and its memory may not be allocated yet
    since: float = 0.0  # in the pool


@dataclass(slots=True, eq=False)
class Object:
    object_id: bytes
    size: int
    segment: Segment | None
    spilled: bool = False
    spilling: bool = False


@dataclass(slots=True, eq=False)
class Pending:
    """An allocation that waits."""

    process_id: bytes
    request: int
    size: int
    object_id: bytes
    since: float


@dataclass(slots=True)
class StoreLedger:
    capacity: int
    files: SegmentFiles
    grace: float = GRACE
    spill_from: float = SPILL_FROM
    segments: dict[str, Segment] = field(default_factory=dict)
    pool: OrderedDict[str, Segment] = field(default_factory=OrderedDict)  # the FREE ones, oldest first
    pool_by_capacity: dict[int, OrderedDict[str, Segment]] = field(default_factory=dict)  # the same
    objects: dict[bytes, Object] = field(default_factory=dict)
    resident: OrderedDict[bytes, Object] = field(default_factory=OrderedDict)  # could be spilled, oldest first
    queue: deque[Pending] = field(default_factory=deque)
    spilling: dict[bytes, Object] = field(default_factory=dict)
    freed_early: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    used: int = 0  # capacity of all segments
    pooled: int = 0  # of the FREE ones
    promised: int = 0  # of the fresh ones
    disk_problem: str = ""
    disk_failed_at: float = 0.0
    disk_retry_at: float = 0.0
    spilled_bytes: int = 0
    _commands: list[Command] = field(default_factory=list)
    _counter: int = 0

    # events -------------------------------------------------------------------------------------------------------

    def allocate(self, process_id: bytes, request: int, size: int, object_id: bytes, now: float) -> None:
        if capacity_for(size) > self.capacity:
            text = (
                f"an object of {size:,} bytes does not fit into the object store of {self.capacity:,} bytes: "
                "give it more with aktis.init(object_store_memory=...)"
            )
            self._commands.append(Reply(process_id, request, False, ("full", text)))
            return
        self.queue.append(Pending(process_id, request, size, object_id, now))
        self.tick(now)

    def sealed(self, process_id: bytes, object_id: bytes, name: str, size: int, now: float) -> None:
        segment = self.segments.get(name)
        if segment is None:
            segment = Segment(name, capacity_of(name), State.GRANTED, object_id, process_id)
            self.segments[name] = segment
            self.used += segment.capacity
        before = self.objects.pop(object_id, None)
        if before is not None:  # made twice, by a task that ran again
            self._drop_copies(before, now)
        if segment.state is State.FREE:
            self._leave_pool(segment)
        elif segment.state is State.SEALED and segment.object_id is not None:
            # Its keeper freed the object and used the segment again; the word of that is still on its way.
            superseded = self.objects.get(segment.object_id)
            if superseded is not None:
                superseded.segment = None
                self.resident.pop(segment.object_id, None)
        segment.state = State.SEALED
        segment.object_id = object_id
        segment.keeper = process_id
        self._settle(segment)
        self.objects[object_id] = self.resident[object_id] = Object(object_id, size, segment)
        if self.freed_early.pop(object_id, 0) is None:
            self.freed(process_id, object_id, now)
        self.tick(now)

    def freed(self, process_id: bytes, object_id: bytes, now: float) -> None:
        found = self.objects.pop(object_id, None)
        if found is not None:
            self._drop_copies(found, now)
            return
        for segment in self.segments.values():  # an allocation given up: rare, so searching will do
            if segment.state is State.GRANTED and segment.object_id == object_id and segment.keeper == process_id:
                segment.object_id = None
                self._release(segment, now)
                return
        self.freed_early[object_id] = None  # it overtook the word of the object's existence
        if len(self.freed_early) > EARLY_FREES:
            self.freed_early.popitem(last=False)

    def spilled(self, object_id: bytes, segment_name: str, now: float) -> None:
        """The copy on disk is complete."""
        found = self.spilling.pop(object_id, None)
        if found is None or self.objects.get(object_id) is not found:
            # Freed meanwhile, or made again: then its new copy is what counts.
            self._commands.append(DeleteSpilled(object_id))
            self._spillable_again(object_id)
            return
        found.spilling = False
        found.spilled = True
        self.spilled_bytes += found.size
        self.disk_problem = ""
        if found.segment is not None and found.segment.name == segment_name:
            segment, found.segment = found.segment, None
            self._release(segment, now)

    def spill_failed(self, object_id: bytes, problem: str, now: float) -> None:
        """The object stays where it is; ``problem``: why, or "" when its segment was used again meanwhile."""
        found = self.spilling.pop(object_id, None)
        if found is not None:
            found.spilling = False
            self._spillable_again(object_id)
        if problem:
            self.disk_problem = problem
            self.disk_failed_at = now
            self.disk_retry_at = now + DISK_RETRY

    def process_gone(self, process_id: bytes, now: float) -> None:
        """What it owned is freed, what it was about to write comes back, what it asked for is forgotten."""
        self.queue = deque(pending for pending in self.queue if pending.process_id != process_id)
        for object_id in [one for one in self.objects if one[:OWNER_SIZE] == process_id]:
            self._drop_copies(self.objects.pop(object_id), now)
        for segment in list(self.segments.values()):
            if segment.keeper == process_id and segment.state is not State.SEALED:
                segment.object_id = None  # it may have died in the middle of using it again
                if segment.state is State.GRANTED:
                    self._release(segment, now)
        self.tick(now)

    def tick(self, now: float) -> None:
        """Serve who waits, spill what is too much, give back what nobody used for long."""
        while self.queue and self._serve(self.queue[0], now):
            self.queue.popleft()
        self._spill(now)
        while self.pool:
            segment = next(iter(self.pool.values()))
            if now - segment.since < POOL_SECONDS:
                break
            segment.since = now  # if a reader still has it: look again later
            self._delete(segment)

    def next_tick(self, now: float) -> float | None:
        """In how many seconds the next tick is wanted; None: not before the next event."""
        if self.queue:
            return 0.02  # readers let go of segments without telling anybody
        if self.pool:
            return max(next(iter(self.pool.values())).since + POOL_SECONDS - now, 0.1)
        return None

    def take_commands(self) -> list[Command]:
        commands, self._commands = self._commands, []
        return commands

    # decisions ----------------------------------------------------------------------------------------------------

    def _serve(self, pending: Pending, now: float) -> bool:
        """Answer an allocation, if that is possible now."""
        capacity = capacity_for(pending.size)
        segment = self._from_pool(pending, capacity) or self._make(pending, capacity)
        if segment is not None:
            self._commands.append(Reply(pending.process_id, pending.request, True, segment.name))
            return True
        if now - pending.since < self.grace or self.spilling:
            return False
        if self.resident and self._excess() > 0:
            if not self.disk_problem or self.disk_failed_at < pending.since:
                return False  # something is about to be spilled, or spilling is tried again soon
            refusal = ("out_of_disk", f"the object store is full, and objects cannot be spilled: {self.disk_problem}")
        else:
            refusal = ("full", self._full_text(pending))
        self._commands.append(Reply(pending.process_id, pending.request, False, refusal))
        return True

    def _full_text(self, pending: Pending) -> str:
        read = self.pooled
        return (
            f"no room for an object of {pending.size:,} bytes in the object store of {self.capacity:,} bytes after "
            f"{self.grace:.0f} s: {read:,} bytes belong to freed or spilled objects that somebody still reads, "
            f"{self.used - read:,} bytes are being written or cannot be spilled. Let go of arrays that are views of "
            "objects, or give the store more with aktis.init(object_store_memory=...)"
        )

    def _from_pool(self, pending: Pending, capacity: int) -> Segment | None:
        fitting = capacity
        while fitting <= capacity + (capacity >> 2):
            for segment in list(itertools.islice(self.pool_by_capacity.get(fitting, {}).values(), ATTEMPTS)):
                outcome = self.files.hand_over(segment.name, segment.object_id, pending.object_id)
                if outcome is Outcome.GONE:
                    self._forget(segment)
                elif outcome is Outcome.BUSY:
                    self._to_end_of_pool(segment)
                else:
                    self._leave_pool(segment)
                    segment.state = State.GRANTED
                    segment.object_id = pending.object_id
                    segment.keeper = pending.process_id
                    return segment
            fitting = capacity_for(fitting + 1)
        return None

    def _make(self, pending: Pending, capacity: int) -> Segment | None:
        """A new segment, after giving back as much of the pool as it takes."""
        for segment in list(itertools.islice(self.pool.values(), ATTEMPTS)):
            if self._fits(capacity):
                break
            self._delete(segment)
        if not self._fits(capacity):
            return None
        self._counter += 1
        name = segment_name(self._counter, capacity)
        segment = Segment(name, capacity, State.GRANTED, pending.object_id, pending.process_id, fresh=True)
        self.segments[name] = segment
        self.used += capacity
        self.promised += capacity
        return segment

    def _fits(self, capacity: int) -> bool:
        return self.used + capacity <= self.capacity and self.files.room() >= capacity + self.promised

    def _spill(self, now: float) -> None:
        """Start to spill, oldest first, as much as is too much."""
        if not self.resident or now < self.disk_retry_at:
            return
        excess = self._excess()
        while excess > 0 and self.resident:
            object_id, one = self.resident.popitem(last=False)
            if one.segment is None or object_id in self.spilling:
                continue
            one.spilling = True
            self.spilling[object_id] = one
            self._commands.append(Spill(object_id, one.segment.name, one.size))
            excess -= one.segment.capacity

    def _excess(self) -> float:
        """How many bytes more should be on their way to disk."""
        excess = self.used - self.pooled - self.spill_from * self.capacity
        if self.queue:
            # Whoever waits has tried the pool: what is left of it is in use by readers.
            needed = capacity_for(self.queue[0].size)
            excess = max(excess, self.used + needed - self.capacity)
            excess = max(excess, needed + self.promised - self.files.room())
        if excess > 0:
            excess -= sum(one.segment.capacity for one in self.spilling.values() if one.segment is not None)
        return excess

    # bookkeeping --------------------------------------------------------------------------------------------------

    def _spillable_again(self, object_id: bytes) -> None:
        current = self.objects.get(object_id)
        if current is not None and current.segment is not None:
            self.resident[object_id] = current
            self.resident.move_to_end(object_id, last=False)

    def _drop_copies(self, found: Object, now: float) -> None:
        self.resident.pop(found.object_id, None)
        if found.spilled:
            self.spilled_bytes -= found.size
            self._commands.append(DeleteSpilled(found.object_id))
        if found.segment is not None:
            self._release(found.segment, now)
        found.segment = None

    def _release(self, segment: Segment, now: float) -> None:
        self._settle(segment)
        segment.state = State.FREE
        segment.since = now
        self.pool[segment.name] = segment
        self.pool_by_capacity.setdefault(segment.capacity, OrderedDict())[segment.name] = segment
        self.pooled += segment.capacity

    def _settle(self, segment: Segment) -> None:
        if segment.fresh:
            segment.fresh = False
            self.promised -= segment.capacity

    def _leave_pool(self, segment: Segment) -> None:
        del self.pool[segment.name]
        same = self.pool_by_capacity[segment.capacity]
        del same[segment.name]
        if not same:
            del self.pool_by_capacity[segment.capacity]
        self.pooled -= segment.capacity

    def _to_end_of_pool(self, segment: Segment) -> None:
        self.pool.move_to_end(segment.name)
        self.pool_by_capacity[segment.capacity].move_to_end(segment.name)

    def _delete(self, segment: Segment) -> None:
        if self.files.delete(segment.name, segment.object_id) is Outcome.BUSY:
            self._to_end_of_pool(segment)
        else:
            self._forget(segment)

    def _forget(self, segment: Segment) -> None:
        self._leave_pool(segment)
        del self.segments[segment.name]
        self.used -= segment.capacity

    def validate(self) -> None:
        """What must hold between events; for tests."""
        assert self.used == sum(segment.capacity for segment in self.segments.values()) <= self.capacity
        assert self.pooled == sum(segment.capacity for segment in self.pool.values())
        assert self.promised == sum(segment.capacity for segment in self.segments.values() if segment.fresh)
        assert {name for name, one in self.segments.items() if one.state is State.FREE} == set(self.pool)
        assert set(self.pool) == {name for same in self.pool_by_capacity.values() for name in same}
        spillable = {name for name, one in self.objects.items() if one.segment is not None and not one.spilling}
        assert spillable - set(self.spilling) <= set(self.resident) <= spillable
        for object_id, one in self.objects.items():
            assert one.object_id == object_id
            assert one.spilling == (self.spilling.get(object_id) is one)
            if one.segment is not None:
                assert one.segment.state is State.SEALED and one.segment.object_id == object_id
                assert self.segments[one.segment.name] is one.segment
        assert self.spilled_bytes == sum(one.size for one in self.objects.values() if one.spilled)
        for segment in self.segments.values():
            if segment.state is State.SEALED:
                assert segment.object_id is not None
