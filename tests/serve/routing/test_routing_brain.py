"""The decisions of routing: invariants under any order of events, and what each rule says."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aktis.serve._protocol import DeploymentID, DeploymentView, Rejected, ReplicaID, ReplicaView
from aktis.serve._routing.brain import COOL_FIRST, COOL_MOST, RoutingBrain, Slot, Waiter

ID = DeploymentID("app", "D")


def replica(number: int, max_ongoing: int = 2, models: tuple[str, ...] = ()) -> ReplicaView:
    return ReplicaView(ReplicaID("app", "D", f"{number:08}"), None, max_ongoing, models)


def view(*replicas: ReplicaView, **more: Any) -> DeploymentView:
    return DeploymentView(ID, replicas, **more)


def brain_of(*replicas: ReplicaView, seed: int = 0, **more: Any) -> RoutingBrain:
    brain = RoutingBrain(random.Random(seed).random)
    brain.update(view(*replicas, **more))
    return brain


class Machine(RuleBasedStateMachine):
    """Whatever happens: never above a limit, first come first served, nobody forgotten, and in the end no count is left."""

    @initialize(seed=st.integers(0, 1000))
    def start(self, seed: int) -> None:
        self.brain = RoutingBrain(random.Random(seed).random)
        self.now = 0.0
        self.next = 0
        self.leases: list[Slot] = []
        self.line: deque[Waiter] = deque()
        self.models = ["", "", "a", "b"]
        self.replicas: dict[int, ReplicaView] = {}

    def _serve(self) -> None:
        for waiter, slot in list(self.brain.serve(self.now)):
            assert waiter is self.line.popleft()
            assert not slot.closed
            self._leased(slot)

    def _leased(self, slot: Slot) -> None:
        assert slot.ongoing <= slot.max_ongoing
        assert slot.cool_until <= self.now
        self.leases.append(slot)

    @rule(limits=st.lists(st.integers(1, 3), max_size=3), keep=st.booleans())
    def update(self, limits: list[int], keep: bool) -> None:
        if not keep:
            self.replicas.clear()
        for limit in limits:
            self.replicas[self.next] = replica(self.next, limit)
            self.next += 1
        self.brain.update(view(*self.replicas.values()))
        self._serve()

    @rule(model=st.integers(0, 3))
    def request(self, model: int) -> None:
        name = self.models[model]
        slot = self.brain.take(name, self.now)
        if slot is not None:
            assert not self.line
            self._leased(slot)
            return
        waiter = Waiter(None, name)
        self.line.append(waiter)
        self.brain.wait(waiter)

    @rule(index=st.integers(0, 100), how=st.sampled_from(["released", "rejected", "draining", "died", "unreachable"]))
    def end(self, index: int, how: str) -> None:
        if not self.leases:
            return
        slot = self.leases.pop(index % len(self.leases))
        if how == "released":
            self.brain.released(slot)
        elif how == "rejected":
            self.brain.rejected(slot, Rejected(9), self.now)
        elif how == "draining":
            self.brain.rejected(slot, Rejected(0, True), self.now)
        else:
            self.brain.died(slot, self.now, for_good=how == "died")
        self._serve()
        if how in ("rejected", "draining"):  # it stands in front
            waiter = Waiter(None)
            if self.brain.count == 0 and (again := self.brain.take("", self.now)) is not None:
                self._leased(again)
            else:
                self.line.appendleft(waiter)
                self.brain.wait(waiter, front=True)

    @rule(index=st.integers(0, 100))
    def abandon(self, index: int) -> None:
        if self.line:
            waiter = self.line[index % len(self.line)]
            self.line.remove(waiter)
            assert self.brain.abandon(waiter)
            assert not self.brain.abandon(waiter)
            self._serve()

    @rule(seconds=st.sampled_from([0.001, COOL_FIRST, COOL_MOST, 1.0]))
    def later(self, seconds: float) -> None:
        self.now += seconds
        self._serve()

    @invariant()
    def sound(self) -> None:
        if not hasattr(self, "brain"):
            return
        self.brain.validate()
        assert self.brain.count == len(self.line)
        for slot in self.brain.slots:
            assert slot.ongoing == sum(one is slot for one in self.leases)
            if self.line:  # room, and somebody waits: only for a moment that is named
                assert slot.ongoing >= slot.max_ongoing or slot.cool_until > self.now
                if slot.ongoing < slot.max_ongoing:
                    wake = self.brain.wake_at(self.now)
                    assert wake is not None and wake <= slot.cool_until

    def teardown(self) -> None:
        if not hasattr(self, "brain"):
            return
        for _ in range(1000):  # everything ends, and everybody gets a replica if there is one
            self.now += 1
            self._serve()
            if not self.leases:
                break
            self.brain.released(self.leases.pop())
        self._serve()
        if self.brain.slots:
            while self.line or self.leases:
                self.brain.released(self.leases.pop())
                self._serve()
        assert all(slot.ongoing == 0 for slot in self.brain.by_id.values())


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBrain = Machine.TestCase


def test_the_less_busy_of_two() -> None:
    brain = brain_of(*(replica(i, 100) for i in range(4)))
    for _ in range(200):
        brain.take("", 0)
    counts = sorted(slot.ongoing for slot in brain.slots)
    assert sum(counts) == 200
    assert counts[-1] - counts[0] <= 4  # blind chance would give about 12


def test_room_is_found_wherever_it_is() -> None:
    brain = brain_of(*(replica(i, 1) for i in range(50)))
    assert all(brain.take("", 0) is not None for _ in range(50))
    assert brain.take("", 0) is None


def test_models() -> None:
    brain = brain_of(replica(0, 2, ("a",)), replica(1, 2), replica(2, 2, ("a", "b")))
    warm = [brain.take("a", 0) for _ in range(4)]
    assert {slot.view.id.unique for slot in warm if slot} == {"00000000", "00000002"}
    cold = brain.take("a", 0)
    assert cold is not None and cold.view.id.unique == "00000001"
    # the next one for a new model goes where it is about to be loaded
    brain = brain_of(*(replica(i, 5) for i in range(3)))
    assert len({id(brain.take("new", 0)) for _ in range(5)}) == 1
    assert len({id(brain.take(f"m{i}", 0)) for i in range(2)}) == 2


def test_a_rejection_is_remembered_for_a_moment() -> None:
    brain = brain_of(replica(0, 10))
    slot = brain.take("", 0)
    other = brain.take("", 0)
    assert slot is not None and other is not None
    brain.rejected(slot, Rejected(10), 0)
    assert brain.take("", COOL_FIRST / 2) is None
    assert brain.take("", COOL_FIRST) is not None
    brain.rejected(slot, Rejected(10), 1)  # the second in a row: twice as long
    assert brain.take("", 1 + COOL_FIRST) is None
    brain.released(other)  # one of ours has ended there
    assert brain.take("", 1 + COOL_FIRST) is not None


def test_a_draining_or_dead_replica_is_left_even_if_the_view_still_has_it() -> None:
    for end in ("draining", "died"):
        brain = brain_of(replica(0), replica(1))
        slot = brain.take("", 0)
        assert slot is not None
        if end == "draining":
            brain.rejected(slot, Rejected(0, True), 0)
        else:
            brain.died(slot, 0)
        brain.update(view(replica(0), replica(1), reports=True))
        assert {id(brain.take("", 100)) for _ in range(2)}.isdisjoint({id(slot)})


def test_a_full_queue_and_those_who_came_before_it_was_known() -> None:
    brain = RoutingBrain(random.random)
    waiters = [Waiter(None) for _ in range(4)]
    for waiter in waiters:
        brain.wait(waiter)
    assert not brain.queue_is_full()
    brain.update(view(replica(0, 1), max_queued=1))
    assert [waiter for waiter, _ in brain.serve(0)] == waiters[:1]
    assert brain.trim() == waiters[2:]
    assert brain.queue_is_full()
    brain.validate()


def test_deadlines() -> None:
    brain = brain_of()
    early, late, never = Waiter(None, deadline=1.0), Waiter(None, deadline=2.0), Waiter(None)
    for waiter in (never, late, early):
        brain.wait(waiter)
    assert brain.wake_at(0) == 1.0
    assert brain.expire(1.5) == [early]
    assert brain.wake_at(1.5) == 2.0
    assert brain.fail_all() == [never, late]
    assert brain.wake_at(1.5) is None
    brain.validate()


def test_those_who_left_are_not_kept() -> None:
    brain = brain_of()
    first = Waiter(None)
    brain.wait(first)
    for _ in range(1000):
        waiter = Waiter(None)
        brain.wait(waiter)
        brain.abandon(waiter)
    assert len(brain.waiting) < 50


def test_small_plain_arguments_are_packed_here() -> None:
    import pickle

    from aktis.serve._routing.metadata import pack_quickly

    for args, kwargs in [(([1, "x", {"a": (None, 2.0)}],), {"k": b"v"}), ((), {"a": 1})]:
        assert pickle.loads(pack_quickly(args, kwargs) or b"") == (args, kwargs)
    endless: list[Any] = []
    endless.append(endless)
    for value in (
        object(),
        {1: 2},
        "x" * 5000,
        list(range(1000)),
        [[0] * 60] * 2,
        {1},
        ID,
        endless,
        ["x" * 4000, "y" * 4000],
    ):
        assert pack_quickly((value,), {}) is None


def test_order_of_the_line() -> None:
    brain = brain_of(replica(0, 1))
    slot = brain.take("", 0)
    assert slot is not None
    first, second, front = Waiter(None), Waiter(None), Waiter(None)
    brain.wait(first)
    brain.wait(second)
    brain.rejected(slot, Rejected(1), 0)
    brain.wait(front, front=True)
    assert brain.take("", 10) is None  # there is room by now, and nobody overtakes those who wait
    order = []
    for _ in range(3):
        ((waiter, slot),) = brain.serve(10)
        order.append(waiter)
        brain.released(slot)
    assert order == [front, first, second]


def test_a_replica_that_left_the_view_takes_nothing() -> None:
    brain = brain_of(replica(0, 10), replica(1, 10))
    brain.update(view(replica(1, 10)))
    assert {brain.take("", 0).view.id.unique for _ in range(5)} == {"00000001"}  # type: ignore[union-attr]
