"""The actor directory: single transitions, and random histories."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aktis._brain import actors
from aktis._brain.actors import GRACE, KEEP_DEAD, Actor, Directory, State
from aktis._native.protocol import ActorSpec, DeathCause

CRASH = DeathCause("crashed", "signal 9")


def spec(actor_id: bytes = b"a", owner: bytes = b"owner", **more: Any) -> ActorSpec:
    return ActorSpec(actor_id, more.pop("job_id", b"job"), owner, "A", b"payload", {}, {}, **more)


def kinds(directory: Directory) -> list[str]:
    return [type(command).__name__ for command in directory.take()]


def alive(directory: Directory, actor_id: bytes = b"a", worker: bytes = b"w", **more: Any) -> Actor:
    actor, _ = directory.create(spec(actor_id, **more), b"owner", 0.0)
    assert directory.placed(actor_id, worker, "unix:/x", 42)
    directory.ready(actor_id, 0, worker, 0.0)
    directory.take()
    assert actor.state is State.ALIVE
    return actor


def test_birth() -> None:
    directory = Directory()
    directory.create(spec(), b"owner", 0.0)
    assert kinds(directory) == ["Place", "Publish"]
    assert directory.placed(b"a", b"w", "unix:/x", 42)
    assert kinds(directory) == ["Start"]
    directory.ready(b"a", 0, b"w", 0.0)
    (publish,) = directory.take()
    assert isinstance(publish, actors.Publish) and publish.subscribers == (b"owner",)
    assert (publish.view.state, publish.view.address) == ("ALIVE", "unix:/x")


def test_the_first_of_several_creators_wins() -> None:
    directory = Directory()
    first, created = directory.create(spec(b"a", name="n"), b"p", 0.0)
    assert created
    again, created = directory.create(spec(b"b", name="n", options={"get_if_exists": True}), b"q", 0.0)
    assert again is first and not created
    with pytest.raises(actors.NameTaken):
        directory.create(spec(b"c", name="n"), b"q", 0.0)
    other, created = directory.create(spec(b"d", name="n", namespace="else"), b"q", 0.0)
    assert created and other is not first


def test_stale_news_of_an_earlier_life_is_ignored() -> None:
    directory = Directory()
    actor = alive(directory, max_restarts=2)
    directory.worker_died(b"w", CRASH)
    assert actor.state is State.RESTARTING and actor.epoch == 1 and actor.restarts_left == 1
    directory.ready(b"a", 0, b"w", 1.0)
    directory.exiting(b"a", 0, b"w", "bye")
    directory.constructor_failed(b"a", 0, b"w", CRASH)
    assert actor.state is State.RESTARTING
    directory.placed(b"a", b"w2", "unix:/y", 43)
    directory.worker_died(b"w", CRASH)
    directory.ready(b"a", 0, b"w2", 1.0)
    assert actor.state is State.RESTARTING
    directory.ready(b"a", 1, b"w2", 1.0)
    assert actor.state is State.ALIVE


def test_restarts_run_out_and_minus_one_does_not() -> None:
    directory = Directory()
    for actor_id, restarts, expected in (
        (b"a", 0, State.DEAD),
        (b"b", 1, State.RESTARTING),
        (b"c", -1, State.RESTARTING),
    ):
        actor = alive(directory, actor_id, b"w" + actor_id, max_restarts=restarts)
        directory.worker_died(b"w" + actor_id, CRASH)
        assert actor.state is expected
    endless = directory.actors[b"c"]
    for epoch in range(1, 20):
        directory.placed(b"c", b"%d" % epoch, "", 1)
        directory.ready(b"c", epoch, b"%d" % epoch, 0.0)
        directory.worker_died(b"%d" % epoch, CRASH)
    assert endless.state is State.RESTARTING and endless.restarts_left == -1 and endless.epoch == 20


def test_a_kill_during_the_restart_ends_it() -> None:
    directory = Directory()
    actor = alive(directory, max_restarts=5)
    directory.worker_died(b"w", CRASH)
    directory.take()
    directory.kill(b"a", True)
    assert actor.state is State.DEAD
    assert kinds(directory) == ["Unplace", "Publish"]
    assert not directory.placed(b"a", b"w2", "", 1), "a worker that comes too late is not taken"


def test_kill_with_restart_kills_the_worker_and_places_again() -> None:
    directory = Directory()
    actor = alive(directory, max_restarts=1)
    directory.kill(b"a", False)
    assert kinds(directory) == ["KillWorker", "Place", "Publish"]
    directory.worker_died(b"w", CRASH)
    assert actor.state is State.RESTARTING and actor.restarts_left == 0, "one death counts once"


def test_release_ends_gracefully_and_then_by_force() -> None:
    directory = Directory()
    actor = alive(directory, max_restarts=3)
    directory.release(b"a", 10.0)
    assert kinds(directory) == ["Terminate"]
    assert directory.expire(10.0) == 10.0 + GRACE
    assert actor.state is State.ALIVE
    assert directory.expire(10.0 + GRACE) is None
    assert actor.state is State.DEAD
    assert kinds(directory) == ["KillWorker", "Publish"]


def test_a_crash_after_release_does_not_restart() -> None:
    directory = Directory()
    actor = alive(directory, max_restarts=3)
    directory.release(b"a", 0.0)
    directory.worker_died(b"w", CRASH)
    assert actor.state is State.DEAD
    assert directory.expire(99.0) is None


def test_release_before_birth_waits_for_it() -> None:
    directory = Directory()
    directory.create(spec(), b"owner", 0.0)
    directory.release(b"a", 0.0)
    directory.placed(b"a", b"w", "", 1)
    directory.take()
    directory.ready(b"a", 0, b"w", 1.0)
    assert kinds(directory) == ["Publish", "Terminate"]


def test_owners_and_jobs() -> None:
    directory = Directory()
    owned, detached = alive(directory, b"a", b"w"), alive(directory, b"b", b"v", detached=True, name="d")
    directory.process_gone(b"owner")
    assert owned.state is State.DEAD and owned.cause is not None and owned.cause.kind == "owner_died"
    assert detached.state is State.ALIVE
    third = alive(directory, b"c", b"u", owner=b"worker-of-job")
    directory.job_gone(b"job")
    assert third.state is State.DEAD and detached.state is State.ALIVE
    directory.release(b"b", 1.0)
    assert kinds(directory)[-1] != "Terminate", "a detached actor has no owner that could let go"


def test_dead_actors_are_forgotten_in_time_and_hold_nothing() -> None:
    directory = Directory()
    for number in range(KEEP_DEAD + 50):
        directory.create(spec(b"%d" % number), b"owner", 0.0)
        directory.kill(b"%d" % number, True)
    directory.validate()
    assert len(directory.actors) == KEEP_DEAD
    assert all(actor.spec.payload == b"" and not actor.subscribers for actor in directory.actors.values())
    assert "unknown" in str(directory.subscribe(b"0", b"p").cause)


class Histories(RuleBasedStateMachine):
    """Anything may happen in any order; names stay unique, the dead stay dead, epochs only grow."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Directory()
        self.now = 0.0
        self.workers = 0
        self.epochs: dict[bytes, int] = {}
        self.dead: set[bytes] = set()

    ids = st.sampled_from([b"a", b"b", b"c", b"d"])

    @rule(
        actor_id=ids,
        name=st.sampled_from(["", "x"]),
        restarts=st.integers(-1, 2),
        detached=st.booleans(),
        owner=st.sampled_from([b"p", b"q"]),
        shared=st.booleans(),
    )
    def create(self, actor_id: bytes, name: str, restarts: int, detached: bool, owner: bytes, shared: bool) -> None:
        taken = actor_id in self.directory.actors
        named = self.directory.by_name(name, "") if name else None
        one = spec(
            actor_id, owner, name=name, max_restarts=restarts, detached=detached, options={"get_if_exists": shared}
        )
        try:
            actor, created = self.directory.create(one, owner, self.now)
        except ValueError:
            assert taken or (named is not None and not shared)
            return
        assert created is not (named is not None)
        assert created or actor is named

    @rule(actor_id=ids)
    def placed(self, actor_id: bytes) -> None:
        self.workers += 1
        self.directory.placed(actor_id, b"w%d" % self.workers, "unix:/x", self.workers)

    @rule(actor_id=ids, stale=st.booleans())
    def ready(self, actor_id: bytes, stale: bool) -> None:
        actor = self.directory.actors.get(actor_id)
        if actor is not None and actor.worker_id:
            self.directory.ready(actor_id, actor.epoch - stale, actor.worker_id, self.now)

    @rule(actor_id=ids)
    def failed(self, actor_id: bytes) -> None:
        actor = self.directory.actors.get(actor_id)
        if actor is not None and actor.worker_id:
            self.directory.constructor_failed(actor_id, actor.epoch, actor.worker_id, CRASH)

    @rule(actor_id=ids)
    def exits(self, actor_id: bytes) -> None:
        actor = self.directory.actors.get(actor_id)
        if actor is not None and actor.worker_id:
            self.directory.exiting(actor_id, actor.epoch, actor.worker_id, "")

    @rule(number=st.integers(1, 30))
    def worker_died(self, number: int) -> None:
        self.directory.worker_died(b"w%d" % number, CRASH)

    @rule(actor_id=ids)
    def place_lost(self, actor_id: bytes) -> None:
        self.directory.place_lost(actor_id, CRASH)

    @rule(actor_id=ids, no_restart=st.booleans())
    def kill(self, actor_id: bytes, no_restart: bool) -> None:
        self.directory.kill(actor_id, no_restart)

    @rule(actor_id=ids)
    def release(self, actor_id: bytes) -> None:
        self.directory.release(actor_id, self.now)

    @rule(process=st.sampled_from([b"p", b"q"]))
    def process_gone(self, process: bytes) -> None:
        self.directory.process_gone(process)
        living = [actor for actor in self.directory.actors.values() if actor.state is not State.DEAD]
        assert not any(actor.spec.owner == process and not actor.spec.detached for actor in living)

    @rule(seconds=st.sampled_from([1.0, GRACE]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        following = self.directory.expire(self.now)
        assert following is None or following > self.now

    @invariant()
    def holds(self) -> None:
        self.directory.validate()
        for command in self.directory.take():
            if isinstance(command, actors.Publish):
                assert command.view.state in State.__members__
        for actor_id, actor in self.directory.actors.items():
            assert actor.epoch >= self.epochs.get(actor_id, 0)
            self.epochs[actor_id] = actor.epoch
            assert actor_id not in self.dead or actor.state is State.DEAD, "nobody rises from the dead"
            if actor.state is State.DEAD:
                self.dead.add(actor_id)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
