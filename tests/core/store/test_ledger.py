"""The ledger under any order of events: nothing that is alive is overwritten, nothing is promised twice, nobody is forgotten."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aktis._brain.ledger import DeleteSpilled, Outcome, Reply, Spill, StoreLedger
from aktis._store.segment import capacity_of

CAPACITY = 1_000_000
SIZES = [100_000, 110_000, 250_000, 600_000]
PROCESSES = [b"process1", b"process2", b"process3"]


@dataclass
class File:
    header: bytes = b""
    readers: int = 0


@dataclass
class FakeFiles:
    """The store directory. A file is there from the moment it is granted: sooner than in truth, and so stricter."""

    files: dict[str, File] = field(default_factory=dict)
    free: int = 10 * CAPACITY

    def _idle(self, name: str, expected: bytes | None) -> File | Outcome:
        file = self.files.get(name)
        if file is None:
            return Outcome.GONE
        if file.readers or (expected is not None and file.header != expected):
            return Outcome.BUSY
        return file

    def hand_over(self, name: str, expected: bytes | None, object_id: bytes) -> Outcome:
        file = self._idle(name, expected)
        if isinstance(file, Outcome):
            return file
        file.header = object_id
        return Outcome.DONE

    def delete(self, name: str, expected: bytes | None) -> Outcome:
        file = self._idle(name, expected)
        if isinstance(file, Outcome):
            return file
        del self.files[name]
        return Outcome.DONE

    def room(self) -> int:
        return self.free - sum(capacity_of(name) for name in self.files)


@dataclass
class Live:
    """An object that its owner has not freed, as the processes see it."""

    object_id: bytes
    name: str
    size: int
    writer: bytes
    sealed: bool = False  # the node knows


class LedgerMachine(RuleBasedStateMachine):
    @initialize(spill_from=st.sampled_from([0.5, 0.8]), room=st.sampled_from([CAPACITY * 2 // 3, 10 * CAPACITY]))
    def start(self, spill_from: float, room: int) -> None:
        self.files = FakeFiles(free=room)
        self.ledger = StoreLedger(CAPACITY, self.files, grace=10.0, spill_from=spill_from)
        self.now = 0.0
        self.ids = itertools.count(1)
        self.requests: dict[int, tuple[bytes, int, bytes]] = {}  # asked and not answered
        self.granted: dict[bytes, Live] = {}
        self.live: dict[bytes, Live] = {}
        self.kept: dict[tuple[bytes, str], bytes] = {}  # (process, segment): the freed object that it left there
        self.copying: dict[bytes, Spill] = {}
        self.disk: set[bytes] = set()
        self.late: list[Live] = []

    def act(self) -> None:
        for command in self.ledger.take_commands():
            if isinstance(command, Reply):
                process_id, size, object_id = self.requests.pop(command.request)
                assert command.process_id == process_id
                if command.ok:
                    assert isinstance(command.value, str)
                    file = self.files.files.setdefault(command.value, File())
                    assert file.readers == 0
                    assert capacity_of(command.value) >= size
                    file.header = object_id
                    self.granted[object_id] = Live(object_id, command.value, size, process_id)
                else:
                    assert command.value[0] in ("full", "out_of_disk")
                    assert command.value[0] == "out_of_disk" or not self.ledger.resident, "it could have been spilled"
            elif isinstance(command, Spill):
                assert command.object_id not in self.copying
                self.copying[command.object_id] = command
            elif isinstance(command, DeleteSpilled):
                self.disk.discard(command.object_id)

    def new_id(self, owner: bytes) -> bytes:
        return owner + next(self.ids).to_bytes(12, "big")

    @rule(process=st.sampled_from(PROCESSES), owner=st.sampled_from(PROCESSES), size=st.sampled_from(SIZES))
    def allocate(self, process: bytes, owner: bytes, size: int) -> None:
        request, object_id = next(self.ids), self.new_id(owner)
        self.requests[request] = (process, size, object_id)
        self.ledger.allocate(process, request, size, object_id, self.now)
        self.act()

    @rule(process=st.sampled_from(PROCESSES), owner=st.sampled_from(PROCESSES), size=st.sampled_from(SIZES))
    def put(self, process: bytes, owner: bytes, size: int) -> None:
        """The ordinary case, whole."""
        self.allocate(process, owner, size)
        newest = max(self.granted.values(), key=lambda one: one.object_id[8:], default=None)
        if newest is not None:
            self.write_one(newest, True)

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), tell=st.booleans())
    def write(self, data: st.DataObject, tell: bool) -> None:
        self.write_one(self.granted[data.draw(st.sampled_from(sorted(self.granted)))], tell)

    def write_one(self, one: Live, tell: bool) -> None:
        del self.granted[one.object_id]
        self.live[one.object_id] = one
        self.kept.pop((one.writer, one.name), None)
        if tell:
            self.seal(one)

    @precondition(lambda self: self.granted)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        one = self.granted.pop(data.draw(st.sampled_from(sorted(self.granted))))
        self.ledger.freed(one.writer, one.object_id, self.now)
        self.act()

    def seal(self, one: Live) -> None:
        one.sealed = True
        self.ledger.sealed(one.writer, one.object_id, one.name, one.size, self.now)
        self.act()

    @precondition(lambda self: any(not one.sealed for one in self.live.values()))
    @rule()
    def tell(self) -> None:
        self.seal(next(one for one in self.live.values() if not one.sealed))

    @precondition(lambda self: self.live)
    @rule(data=st.data(), word_late=st.booleans())
    def free(self, data: st.DataObject, word_late: bool) -> None:
        one = self.live.pop(data.draw(st.sampled_from(sorted(self.live))))
        self.kept[one.writer, one.name] = one.object_id
        if not one.sealed:  # the owner's word may overtake the writer's
            self.ledger.freed(b"somebody", one.object_id, self.now)
            self.seal(one)
        elif word_late:  # the writer may be at its next object before the node hears of the end of this one
            self.late.append(one)
        else:
            self.ledger.freed(one.writer, one.object_id, self.now)
        self.act()

    @precondition(lambda self: self.late)
    @rule()
    def late_word(self) -> None:
        one = self.late.pop()
        self.ledger.freed(one.writer, one.object_id, self.now)
        self.act()

    @precondition(lambda self: self.kept)
    @rule(data=st.data(), tell=st.booleans())
    def use_again(self, data: st.DataObject, tell: bool) -> None:
        """A process puts its next object into a segment that it wrote before; the header says whether it may."""
        key = data.draw(st.sampled_from(sorted(self.kept)))
        left = self.kept.pop(key)
        file = self.files.files.get(key[1])
        if file is None or file.readers or file.header != left:
            return
        one = Live(self.new_id(key[0]), key[1], 50_000, key[0])
        file.header = one.object_id
        self.live[one.object_id] = one
        if tell:
            self.seal(one)

    @precondition(lambda self: any(one.name in self.files.files for one in self.live.values()))
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        found = sorted(key for key, one in self.live.items() if one.name in self.files.files)
        one = self.live[data.draw(st.sampled_from(found))]
        file = self.files.files[one.name]
        if file.header == one.object_id:
            file.readers += 1

    @precondition(lambda self: any(file.readers for file in self.files.files.values()))
    @rule(data=st.data())
    def let_go(self, data: st.DataObject) -> None:
        names = sorted(name for name, file in self.files.files.items() if file.readers)
        self.files.files[data.draw(st.sampled_from(names))].readers -= 1

    @precondition(lambda self: self.copying)
    @rule(data=st.data(), problem=st.sampled_from(["", "", "no room"]))
    def copied(self, data: st.DataObject, problem: str) -> None:
        work = self.copying.pop(data.draw(st.sampled_from(sorted(self.copying))))
        file = self.files.files.get(work.segment)
        if problem or file is None or file.header != work.object_id:
            self.ledger.spill_failed(work.object_id, problem, self.now)
        else:
            self.disk.add(work.object_id)
            self.ledger.spilled(work.object_id, work.segment, self.now)
        self.ledger.tick(self.now)
        self.act()

    @rule(process=st.sampled_from(PROCESSES), words_lost=st.booleans())
    def die(self, process: bytes, words_lost: bool) -> None:
        self.requests = {key: value for key, value in self.requests.items() if value[0] != process}
        self.granted = {key: one for key, one in self.granted.items() if one.writer != process}
        for one in [one for one in self.live.values() if one.writer == process and not one.sealed]:
            if words_lost:
                del self.live[one.object_id]
            else:
                self.seal(one)
        self.live = {key: one for key, one in self.live.items() if key[:8] != process}
        self.kept = {key: value for key, value in self.kept.items() if key[0] != process}
        self.ledger.process_gone(process, self.now)
        self.act()

    @rule(seconds=st.sampled_from([0.01, 1.0, 11.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.ledger.tick(self.now)
        self.act()

    @invariant()
    def consistent(self) -> None:
        if not hasattr(self, "ledger"):
            return
        self.ledger.validate()
        assert sum(capacity_of(name) for name in self.files.files) <= min(CAPACITY, self.files.free)
        assert set(self.files.files) == set(self.ledger.segments)
        for one in self.live.values():
            in_memory = one.name in self.files.files and self.files.files[one.name].header == one.object_id
            assert in_memory or one.object_id in self.disk, "a living object is nowhere"
        for one in self.granted.values():
            assert self.files.files[one.name].header == one.object_id
        assert self.disk <= {key for key, one in self.ledger.objects.items() if one.spilled}
        assert {pending.request for pending in self.ledger.queue} == set(self.requests)

    def teardown(self) -> None:
        """Everybody who waits is answered in the end."""
        if not hasattr(self, "ledger"):
            return
        for _ in range(200):
            for file in self.files.files.values():
                file.readers = 0
            if not self.requests and not self.granted and not self.copying:
                break
            while self.late:
                self.late_word()
            for one in list(self.granted.values()):
                self.give_up_one(one)
            while self.copying:
                _, work = self.copying.popitem()
                self.disk.add(work.object_id)
                self.ledger.spilled(work.object_id, work.segment, self.now)
            self.now += 5
            self.ledger.tick(self.now)
            self.act()
            for one in [one for one in self.live.values() if not one.sealed]:
                self.seal(one)
        else:
            raise AssertionError(f"never answered: {self.requests}")
        for process in PROCESSES:
            self.ledger.process_gone(process, self.now)
        self.ledger.tick(self.now + 1000)
        self.act()
        assert not self.ledger.segments and not self.ledger.used and not self.disk, "memory was forgotten"

    def give_up_one(self, one: Live) -> None:
        del self.granted[one.object_id]
        self.ledger.freed(one.writer, one.object_id, self.now)
        self.act()


LedgerMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None, derandomize=True)
TestLedger = LedgerMachine.TestCase


def make() -> tuple[StoreLedger, FakeFiles]:
    files = FakeFiles()
    return StoreLedger(CAPACITY, files), files


def test_physical_room_counts_too():
    ledger, files = make()
    files.free = 150_000
    ledger.allocate(PROCESSES[0], 1, 100_000, bytes(20), 0.0)
    ledger.allocate(PROCESSES[0], 2, 100_000, bytes(20), 0.0)  # the first has no memory yet, but it was promised
    assert [command.request for command in ledger.take_commands()] == [1]
    ledger.tick(11.0)
    (reply,) = ledger.take_commands()
    assert not reply.ok and reply.value[0] == "full"


def test_ten_thousand_objects_take_time_in_proportion():
    import time

    def fill(count: int) -> float:
        ledger = StoreLedger(count * 200_000, FakeFiles(free=1 << 60))
        start = time.perf_counter()
        for number in range(count):
            object_id = PROCESSES[0] + number.to_bytes(12, "big")
            ledger.allocate(PROCESSES[0], number, 100_000, object_id, 0.0)
            (reply,) = ledger.take_commands()
            ledger.files.room = lambda: 1 << 60
            ledger.sealed(PROCESSES[0], object_id, reply.value, 100_000, 0.0)
        for object_id in list(ledger.objects):
            ledger.freed(PROCESSES[0], object_id, 0.0)
        return time.perf_counter() - start

    fill(100)
    assert fill(10_000) < 50 * fill(1000)
