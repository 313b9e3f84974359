"""The scheduler as a state machine: single decisions, and random histories whose invariants hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aktis._brain import claims
from aktis._brain.claims import Node
from aktis._brain.explain import explain
from aktis._brain.placement import Bundle, PlacementGroup
from aktis._brain.resources import ResourcePool, to_fixed
from aktis._brain.scheduler import TURN, Scheduler
from aktis._native.protocol import LeaseSpec

A, B = b"job-a", b"job-b"
P, Q = b"proc-p", b"proc-q"


def cluster(*nodes: dict[str, float], labels: list[dict[str, str]] | None = None) -> Scheduler:
    scheduler = Scheduler()
    for number, amounts in enumerate(nodes or ({"CPU": 2},)):
        pool = ResourcePool.of_node(to_fixed(amounts))
        scheduler.add_node(Node(f"n{number}", pool, labels[number] if labels else {}))
    return scheduler


def spec(job: bytes = A, cpus: float = 1, **more: Any) -> LeaseSpec:
    return LeaseSpec(job, more.pop("resources", to_fixed({"CPU": cpus})), **more)


def granted(commands: list[Any]) -> list[claims.Lease]:
    return [command.lease for command in commands if isinstance(command, claims.Granted)]


def recalled(commands: list[Any], must: bool) -> list[claims.Lease]:
    return [one.lease for one in commands if isinstance(one, claims.RecallLease) and one.must is must]


def test_grants_what_fits_and_counts_down() -> None:
    scheduler = cluster()
    scheduler.set_demand(P, 1, spec(), 5, 0.0)
    leases = granted(scheduler.decide(0.0))
    assert len(leases) == 2
    scheduler.release(leases[0].lease_id)
    assert len(granted(scheduler.decide(0.0))) == 1
    scheduler.set_demand(P, 1, None, 0, 0.0)
    scheduler.release(leases[1].lease_id)
    assert not granted(scheduler.decide(0.0))
    scheduler.validate()


def test_a_key_is_remembered_after_withdrawal() -> None:
    scheduler = cluster()
    scheduler.set_demand(P, 1, spec(), 1, 0.0)
    scheduler.set_demand(P, 1, None, 0, 0.0)
    assert scheduler.decide(0.0) == []
    scheduler.set_demand(P, 1, None, 1, 0.0)
    assert len(granted(scheduler.decide(0.0))) == 1


def test_an_undeliverable_lease_is_wanted_again() -> None:
    scheduler = cluster({"CPU": 1})
    scheduler.set_demand(P, 1, spec(), 1, 0.0)
    (lease,) = granted(scheduler.decide(0.0))
    scheduler.release(lease.lease_id, again=True)
    assert len(granted(scheduler.decide(0.0))) == 1


def test_small_claims_pass_a_big_one_that_does_not_fit() -> None:
    scheduler = cluster()
    scheduler.set_demand(P, 1, spec(), 1, 0.0)
    scheduler.decide(0.0)
    scheduler.set_demand(P, 2, spec(cpus=2), 1, 0.0)
    scheduler.set_demand(P, 3, spec(), 1, 0.0)
    assert [lease.claim_id[2] for lease in granted(scheduler.decide(0.0))] == [3]


def test_priority_goes_first_within_a_job() -> None:
    scheduler = cluster({"CPU": 1})
    scheduler.set_demand(P, 1, spec(priority=0), 1, 0.0)
    scheduler.set_demand(P, 2, spec(priority=7), 1, 0.0)
    assert [lease.claim_id[2] for lease in granted(scheduler.decide(0.0))] == [2]


def test_jobs_take_turns_whatever_their_priorities() -> None:
    scheduler = cluster({"CPU": 4})
    scheduler.set_demand(P, 1, spec(A, priority=100), 9, 0.0)
    scheduler.set_demand(Q, 1, spec(B), 9, 0.0)
    leases = granted(scheduler.decide(0.0))
    assert sorted(lease.job_id for lease in leases) == [A, A, B, B]


def test_a_latecomer_gets_its_share_and_no_more_is_recalled() -> None:
    scheduler = cluster({"CPU": 4})
    scheduler.set_demand(P, 1, spec(A), 9, 0.0)
    assert len(granted(scheduler.decide(0.0))) == 4
    scheduler.set_demand(Q, 1, spec(B), 9, 1.0)
    taken: list[claims.Lease] = []
    for _ in range(10):
        victims = recalled(scheduler.decide(1.0), must=True)
        taken += victims
        for victim in victims:
            scheduler.release(victim.lease_id)
    assert len(taken) == 2
    scheduler.validate()


def test_idle_leases_are_recalled_once() -> None:
    scheduler = cluster()
    scheduler.set_demand(P, 1, spec(), 2, 0.0)
    scheduler.decide(0.0)
    scheduler.set_demand(P, 2, spec(), 1, 0.0)
    assert len(recalled(scheduler.decide(0.0), must=False)) == 2
    assert scheduler.decide(0.0) == []


def test_keys_of_one_job_take_turns() -> None:
    scheduler = cluster({"CPU": 1})
    scheduler.set_demand(P, 1, spec(), 9, 0.0)
    (first,) = granted(scheduler.decide(0.0))
    scheduler.set_demand(P, 2, spec(), 9, 0.0)
    scheduler.decide(0.0)
    assert scheduler.wake_at(0.0) is not None
    later = 2 * TURN
    assert recalled(scheduler.decide(later), must=True) == [first]
    scheduler.release(first.lease_id)
    (second,) = granted(scheduler.decide(later))
    assert second.claim_id[2] == 2, "the one that waited, not the one that was asked to give way"


def test_more_urgent_work_of_the_same_job_recalls_at_once() -> None:
    scheduler = cluster({"CPU": 1})
    scheduler.set_demand(P, 1, spec(priority=1), 9, 0.0)
    (first,) = granted(scheduler.decide(0.0))
    scheduler.set_demand(P, 2, spec(priority=2), 1, 0.0)
    assert recalled(scheduler.decide(0.0), must=True) == [first]
    scheduler.set_demand(P, 3, spec(priority=0), 1, 0.0)
    assert not recalled(scheduler.decide(0.0), must=True)


def test_actors_are_never_recalled() -> None:
    scheduler = cluster({"CPU": 1})
    scheduler.place_actor(b"actor", A, P, to_fixed({"CPU": 1}), ("DEFAULT",), "A", "", 0.0)
    (lease,) = granted(scheduler.decide(0.0))
    assert lease.actor_id == b"actor"
    scheduler.set_demand(Q, 1, spec(B, priority=9), 1, 0.0)
    assert scheduler.decide(5.0) == []
    scheduler.shrink(lease.lease_id, {})
    assert len(granted(scheduler.decide(5.0))) == 1
    scheduler.validate()


def test_blocked_leases_lend_cpu_and_overdraw_when_they_return() -> None:
    scheduler = cluster({"CPU": 1, "disk": 1})
    scheduler.set_demand(P, 1, spec(resources=to_fixed({"CPU": 1, "disk": 1})), 1, 0.0)
    (outer,) = granted(scheduler.decide(0.0))
    scheduler.block(outer.lease_id)
    scheduler.set_demand(Q, 1, spec(), 2, 0.0)
    (inner,) = granted(scheduler.decide(0.0))
    scheduler.unblock(outer.lease_id)
    assert scheduler.nodes["n0"].pool.free == {"CPU": -10_000, "disk": 0}
    scheduler.validate()
    scheduler.release(inner.lease_id)
    assert not granted(scheduler.decide(0.0)), "nothing while overdrawn or used up"
    scheduler.release(outer.lease_id)
    assert len(granted(scheduler.decide(0.0))) == 1


def test_recursion_to_any_depth_finishes_on_one_cpu() -> None:
    scheduler = cluster({"CPU": 1})
    stack = []
    for depth in range(50):
        scheduler.set_demand(b"%d" % depth, 1, spec(), 1, 0.0)
        (lease,) = granted(scheduler.decide(0.0))
        stack.append(lease)
        scheduler.block(lease.lease_id)
    for lease in reversed(stack):
        scheduler.unblock(lease.lease_id)
        scheduler.release(lease.lease_id)
        scheduler.validate()


def test_infeasible_demand_waits_for_a_node() -> None:
    scheduler = cluster({"CPU": 1})
    scheduler.set_demand(P, 1, spec(cpus=8, name="big"), 1, 0.0)
    (warning,) = scheduler.decide(0.0)
    assert isinstance(warning, claims.Warn) and "task big" in warning.text and "8 CPU" in warning.text
    assert scheduler.decide(1.0) == []
    assert explain(scheduler, ("key", P, 1))["state"] == "INFEASIBLE"
    scheduler.add_node(Node("new", ResourcePool.of_node(to_fixed({"CPU": 8}))))
    assert [lease.node_id for lease in granted(scheduler.decide(2.0))] == ["new"]


def test_strategies_over_several_nodes() -> None:
    scheduler = cluster({"CPU": 4}, {"CPU": 4}, {"CPU": 4, "GPU": 1})
    scheduler.set_demand(P, 1, spec(), 2, 0.0)
    assert {lease.node_id for lease in granted(scheduler.decide(0.0))} == {"n0"}, "packed up to the half"
    scheduler.set_demand(P, 1, spec(), 2, 0.0)
    assert {lease.node_id for lease in granted(scheduler.decide(0.0))} == {"n1"}, (
        "then the next; not the one with a GPU"
    )
    scheduler.set_demand(P, 2, spec(strategy=("SPREAD",)), 3, 0.0)
    assert sorted(lease.node_id for lease in granted(scheduler.decide(0.0))) == ["n0", "n2", "n2"], "the emptiest first"
    spread = cluster({"CPU": 4}, {"CPU": 4}, {"CPU": 4})
    spread.set_demand(P, 1, spec(strategy=("SPREAD",)), 3, 0.0)
    assert sorted(lease.node_id for lease in granted(spread.decide(0.0))) == ["n0", "n1", "n2"]


def test_affinity() -> None:
    scheduler = cluster({"CPU": 1}, {"CPU": 1})
    scheduler.set_demand(P, 1, spec(strategy=("NODE", "n1", False)), 2, 0.0)
    assert [lease.node_id for lease in granted(scheduler.decide(0.0))] == ["n1"]
    scheduler.set_demand(P, 2, spec(strategy=("NODE", "n1", True)), 1, 0.0)
    assert [lease.node_id for lease in granted(scheduler.decide(0.0))] == ["n0"]
    scheduler.set_demand(P, 3, spec(strategy=("NODE", "gone", False)), 1, 0.0)
    (failed,) = [one for one in scheduler.decide(0.0) if isinstance(one, claims.DemandFailed)]
    assert (failed.key_id, failed.kind) == (3, "unschedulable")
    scheduler.set_demand(P, 4, spec(cpus=2, strategy=("NODE", "n0", False)), 1, 0.0)
    (failed,) = [one for one in scheduler.decide(0.0) if isinstance(one, claims.DemandFailed)]
    assert "which has 1 CPU, not 2 CPU" in failed.text
    scheduler.place_actor(b"a", A, P, {}, ("NODE", "gone", False), "A", "", 0.0)
    assert any(isinstance(one, claims.ActorUnplaceable) for one in scheduler.decide(0.0))


@pytest.mark.parametrize(
    ("condition", "nodes"),
    [
        (("zone", "in", ("a", "b")), ["n0", "n1"]),
        (("zone", "not in", ("a",)), ["n1", "n2"]),
        (("zone", "exists", ()), ["n0", "n1"]),
        (("zone", "does not exist", ()), ["n2"]),
    ],
)
def test_labels(condition: tuple[Any, ...], nodes: list[str]) -> None:
    scheduler = cluster({"CPU": 1}, {"CPU": 1}, {"CPU": 1}, labels=[{"zone": "a"}, {"zone": "b"}, {}])
    scheduler.set_demand(P, 1, spec(strategy=("LABELS", (condition,), ())), 5, 0.0)
    assert sorted(lease.node_id for lease in granted(scheduler.decide(0.0))) == nodes
    scheduler.set_demand(P, 2, spec(strategy=("LABELS", (("zone", "in", ("z",)),), ())), 1, 0.0)
    (failed,) = [one for one in scheduler.decide(0.0) if isinstance(one, claims.DemandFailed)]
    assert "zone in z" in failed.text


def test_soft_labels_are_a_preference() -> None:
    scheduler = cluster({"CPU": 1}, {"CPU": 1}, labels=[{}, {"fast": "yes"}])
    scheduler.set_demand(P, 1, spec(strategy=("LABELS", (), (("fast", "exists", ()),))), 2, 0.0)
    assert [lease.node_id for lease in granted(scheduler.decide(0.0))] == ["n1", "n0"]


def test_a_lost_node_takes_its_leases() -> None:
    scheduler = cluster({"CPU": 1}, {"CPU": 1})
    scheduler.set_demand(P, 1, spec(), 2, 0.0)
    scheduler.decide(0.0)
    (lost,) = scheduler.remove_node("n0")
    assert lost.node_id == "n0" and len(scheduler.leases) == 1
    scheduler.validate()


def test_a_lost_process_leaves_no_demand() -> None:
    scheduler = cluster({"CPU": 1})
    scheduler.set_demand(P, 1, spec(), 5, 0.0)
    (lease,) = granted(scheduler.decide(0.0))
    assert scheduler.process_gone(P) == [lease]
    scheduler.release(lease.lease_id)
    assert scheduler.decide(0.0) == [] and not scheduler.claims
    scheduler.validate()


def test_explain_names_what_is_short_and_who_holds_it() -> None:
    scheduler = cluster({"CPU": 2, "GPU": 1})
    scheduler.set_demand(P, 1, spec(resources=to_fixed({"CPU": 1, "GPU": 1}), name="train"), 1, 0.0)
    scheduler.decide(0.0)
    scheduler.set_demand(P, 2, spec(resources=to_fixed({"GPU": 0.5}), name="other"), 3, 0.0)
    scheduler.set_demand(P, 3, spec(resources=to_fixed({"GPU": 0.5}), name="serve"), 1, 0.0)
    scheduler.decide(0.0)
    told = explain(scheduler, ("key", P, 3))
    assert told["short"] == {"GPU": {"lacking": 5_000, "free": 0, "total": 10_000}}
    assert told["ahead"] == 3
    assert "it needs 0.5 GPU, and 0 of 1 are free" in told["sentence"] and "task train" in told["sentence"]
    assert explain(scheduler, ("key", P, 1))["state"] == "STARTING"
    assert explain(scheduler, ("key", P, 99))["state"] == "UNKNOWN"


def test_a_thousand_waiting_claims_are_looked_at_quickly() -> None:
    scheduler = cluster({"CPU": 1})
    for number in range(1000):
        scheduler.place_actor(b"%d" % number, A, P, to_fixed({"CPU": 1}), ("DEFAULT",), "A", "", 0.0)
    calls = 0
    allocate = ResourcePool.allocate

    def counting(self: ResourcePool, request: dict[str, int]) -> Any:
        nonlocal calls
        calls += 1
        return allocate(self, request)

    ResourcePool.allocate = counting  # type: ignore[method-assign]
    try:
        scheduler.decide(0.0)
    finally:
        ResourcePool.allocate = allocate  # type: ignore[method-assign]
    assert calls == 3, (
        "one that fits, one that does not (twice, because something was granted); the others have its shape"
    )


class Histories(RuleBasedStateMachine):
    """Anything may happen in any order; the books always balance, and nobody waits while there is room."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = cluster({"CPU": 4, "GPU": 2, "memory": 10}, {"CPU": 2})
        self.now = 0.0
        self.groups = 0
        self.actors = 0

    requests = st.sampled_from(
        [{"CPU": 1}, {"CPU": 2}, {"CPU": 0.5, "GPU": 0.5}, {"GPU": 0.3}, {"GPU": 2}, {"memory": 7}, {"CPU": 9}, {}]
    )
    jobs = st.sampled_from([A, B])

    def pick(self, number: int) -> claims.Lease | None:
        leases = list(self.scheduler.leases.values())
        return leases[number % len(leases)] if leases else None

    @rule(job=jobs, key=st.integers(0, 3), request=requests, count=st.integers(0, 6), priority=st.integers(0, 1))
    def demand(self, job: bytes, key: int, request: dict[str, float], count: int, priority: int) -> None:
        self.scheduler.set_demand(job, key, LeaseSpec(job, to_fixed(request), priority=priority), count, self.now)

    @rule(job=jobs, request=requests)
    def actor(self, job: bytes, request: dict[str, float]) -> None:
        self.actors += 1
        self.scheduler.place_actor(b"%d" % self.actors, job, job, to_fixed(request), ("DEFAULT",), "A", "", self.now)

    @precondition(lambda self: self.actors)
    @rule(number=st.integers(1, 20))
    def withdraw(self, number: int) -> None:
        self.scheduler.withdraw_actor(b"%d" % number)

    @rule(number=st.integers(0, 20), again=st.booleans())
    def release(self, number: int, again: bool) -> None:
        lease = self.pick(number)
        if lease is not None:
            self.scheduler.release(lease.lease_id, again=again and lease.actor_id is None)

    @rule(number=st.integers(0, 20))
    def block(self, number: int) -> None:
        lease = self.pick(number)
        if lease is not None:
            self.scheduler.block(lease.lease_id)

    @rule(number=st.integers(0, 20))
    def unblock(self, number: int) -> None:
        lease = self.pick(number)
        if lease is not None:
            self.scheduler.unblock(lease.lease_id)

    @rule(number=st.integers(0, 20))
    def shrink(self, number: int) -> None:
        lease = self.pick(number)
        if lease is not None and lease.actor_id is not None:
            self.scheduler.shrink(lease.lease_id, {})

    @rule(
        job=jobs, strategy=st.sampled_from(["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"]), count=st.integers(1, 3)
    )
    def group(self, job: bytes, strategy: str, count: int) -> None:
        self.groups += 1
        bundles = [Bundle(to_fixed({"CPU": 1})) for _ in range(count)]
        self.scheduler.create_group(PlacementGroup(b"g%d" % self.groups, job, strategy, bundles), self.now)

    @precondition(lambda self: self.groups)
    @rule(job=jobs, number=st.integers(1, 10), index=st.integers(-1, 3))
    def demand_in_group(self, job: bytes, number: int, index: int) -> None:
        strategy = ("PG", b"g%d" % number, index, False)
        self.scheduler.set_demand(
            job, ("g", number, index), LeaseSpec(job, to_fixed({"CPU": 0.5}), strategy=strategy), 2, self.now
        )

    @precondition(lambda self: self.groups)
    @rule(number=st.integers(1, 10))
    def remove_group(self, number: int) -> None:
        self.scheduler.remove_group(b"g%d" % number)

    @rule(job=jobs)
    def process_gone(self, job: bytes) -> None:
        for lease in self.scheduler.process_gone(job):
            self.scheduler.release(lease.lease_id)

    @rule(job=jobs)
    def job_gone(self, job: bytes) -> None:
        self.scheduler.job_gone(job)

    @rule(seconds=st.sampled_from([0.0, 0.3, 2.0]))
    def decide(self, seconds: float) -> None:
        self.now += seconds
        commands = self.scheduler.decide(self.now)
        for lease in recalled(commands, must=False) + recalled(commands, must=True):
            assert lease.actor_id is None and lease.lease_id in self.scheduler.leases
        again = self.scheduler.decide(self.now)
        assert not granted(again), "a second look finds nothing that the first could have granted"

    @rule()
    def node_lost_and_back(self) -> None:
        self.scheduler.remove_node("n1")
        self.scheduler.validate()
        self.scheduler.add_node(Node("n1", ResourcePool.of_node(to_fixed({"CPU": 2}))))

    @invariant()
    def books_balance(self) -> None:
        self.scheduler.validate()

    def teardown(self) -> None:
        for lease in list(self.scheduler.leases.values()):
            self.scheduler.release(lease.lease_id)
        for number in range(self.groups):
            self.scheduler.remove_group(b"g%d" % (number + 1))
        self.scheduler.validate()
        for node in self.scheduler.nodes.values():
            assert node.pool.free == node.pool.capacity


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
