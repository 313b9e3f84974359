"""Whatever happens in whatever order: the guarantees of deployment_brain.py hold, and it comes to rest as it should."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.serve.controller.brains import World, deployment

from aktis.serve._controller.replicas import Check, Command, Drain, Kill, Phase, Start
from aktis.serve._protocol import DeploymentState

SERVING = (Phase.RUNNING, Phase.UPDATING)
COUNTS = st.integers(1, 6)


class DeploymentMachine(RuleBasedStateMachine):
    """A user, an autoscaler, processes that fail and a clock act on one deployment."""

    def __init__(self) -> None:
        super().__init__()
        self.world = _CheckedWorld()

    @initialize(count=COUNTS)
    def first(self, count: int) -> None:
        self.world.deploy(deployment(num_replicas=count))

    @rule(
        version=st.sampled_from("123"),
        user_config=st.sampled_from([None, 1, 2]),
        limit=st.sampled_from([5, 100]),
        count=COUNTS,
        share=st.sampled_from([0.2, 0.5, 1.0]),
    )
    def deploy(self, version: str, user_config: Any, limit: int, count: int, share: float) -> None:
        self.world.deploy(
            deployment(
                version=version,
                user_config=user_config,
                max_ongoing_requests=limit,
                num_replicas=count,
                rolling_update_percentage=share,
            )
        )

    @rule(count=st.integers(0, 6))
    @precondition(lambda self: not self.world.brain.deleting)
    def scale(self, count: int) -> None:
        self.world.do(self.world.brain.scale, count)

    @rule()
    def delete(self) -> None:
        self.world.may_drain = True
        self.world.do(self.world.brain.delete)
        self.world.may_drain = False

    @rule(data=st.data(), fails=st.sampled_from([False, False, False, True]))
    @precondition(lambda self: self.world.open)
    def answer(self, data: st.DataObject, fails: bool) -> None:
        command = data.draw(st.sampled_from(self.world.open))
        self.world.may_drain = isinstance(command, Check) and fails
        self.world.answer(command, "it failed" if fails else "")
        self.world.may_drain = False

    @rule(data=st.data())
    @precondition(lambda self: any(isinstance(each, Start) for each in self.world.open))
    def starve(self, data: st.DataObject) -> None:
        start = data.draw(st.sampled_from([each for each in self.world.open if isinstance(each, Start)]))
        self.world.do(self.world.brain.waits, start.id, "no GPU", starved=True)

    @rule(data=st.data())
    @precondition(lambda self: self.world.alive)
    def die(self, data: st.DataObject) -> None:
        self.world.end(data.draw(st.sampled_from(list(self.world.alive))), "killed by signal 9")

    @rule(seconds=st.sampled_from([0.1, 1.0, 11.0, 25.0]))
    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert set(self.world.alive) == set(self.world.brain.replicas)

    @invariant()
    def callers_are_told_of_nobody_who_leaves(self) -> None:
        drained = {each.id for each in self.world.log if isinstance(each, (Drain, Kill))}
        assert not drained & set(self.world.serving)

    @rule()
    def come_to_rest(self) -> None:
        """When everything works from now on, it becomes what is wanted."""
        world = self.world
        world.may_drain = True  # checks that failed before count
        world.rest()
        world.may_drain = False
        brain = world.brain
        if brain.deleting:
            assert brain.is_gone and not world.alive
        elif not brain.failed:
            assert brain.status() == (DeploymentState.HEALTHY, "")
            assert len(world.serving) == brain.count == len(world.alive)
            assert set(world.versions()) <= {brain.spec.version}

    def teardown(self) -> None:
        self.come_to_rest()
        self.delete()
        self.world.rest()
        assert self.world.brain.is_gone and not self.world.alive


class _CheckedWorld(World):
    """Checks each step's commands."""

    def __init__(self) -> None:
        super().__init__()
        self.may_drain = False  # a user deleted, or checks failed: capacity may fall

    def do(self, method: Any, *arguments: Any, **options: Any) -> list[Command]:
        updating = set(self.ids(Phase.UPDATING))
        commands = super().do(method, *arguments, **options)
        brain = self.brain
        share = max(int(brain.spec.config.rolling_update_percentage * brain.count), 1)
        if any(isinstance(each, Drain) for each in commands) and not self.may_drain and not brain.deleting:
            starved = any(replica.starved for replica in brain.replicas.values())
            assert len(self.ids(*SERVING)) >= brain.count - (share if starved else 0)
        if set(self.ids(Phase.UPDATING)) - updating:
            assert len(self.ids(Phase.UPDATING)) <= share
        assert all(each.id in brain.replicas for each in commands)
        return commands


DeploymentMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
test_any_order_of_events = DeploymentMachine.TestCase
