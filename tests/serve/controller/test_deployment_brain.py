"""Which replicas a deployment has: starts, failures, updates, health, scaling, the end."""

from __future__ import annotations

from typing import Any

import pytest
from tests.serve.controller.brains import World, deployment

from aktis.serve._controller.deployment_brain import FAILED_CHECKS, SLOW_START_S
from aktis.serve._controller.replicas import (
    Check,
    Command,
    Drain,
    Kill,
    Phase,
    Reconfigure,
    Start,
    Warn,
    fingerprint,
)
from aktis.serve._protocol import DeploymentState, ReplicaState


@pytest.fixture
def world() -> World:
    return World()


def running(world: World, count: int, **options: Any) -> World:
    world.deploy(deployment(num_replicas=count, **options))
    world.answer_all()
    assert len(world.serving) == count
    return world


# -- starting ---------------------------------------------------------------------------------


def test_replicas_start_side_by_side_and_are_told_of_one_by_one(world: World) -> None:
    world.deploy(deployment(num_replicas=3))
    first, second, third = [command for command in world.open if isinstance(command, Start)]
    assert world.serving == []
    assert world.brain.status()[0] is DeploymentState.UPDATING
    world.answer(second)
    assert world.serving == [second.id]
    world.answer(first)
    world.answer(third)
    assert len(world.serving) == 3
    assert world.brain.status() == (DeploymentState.HEALTHY, "")


def test_a_constructor_that_fails_is_tried_three_times_for_each_replica_with_growing_pauses(world: World) -> None:
    world.deploy(deployment(num_replicas=1))
    times = []
    while world.open:
        times.append(world.now)
        world.answer(world.take(Start), "Traceback: no such model")
        world.answer_all()
        world.advance(60.0)
    assert len(times) == 3
    assert not world.alive
    state, message = world.brain.status()
    assert state is DeploymentState.UNHEALTHY
    assert "Traceback: no such model" in message and "3 replicas failed" in message


@pytest.mark.parametrize(("count", "limit"), [(1, 3), (4, 12), (50, 100)])
def test_the_limit_of_failed_starts(world: World, count: int, limit: int) -> None:
    world.deploy(deployment(num_replicas=count))
    world.rest(lambda command: "broken" if isinstance(command, Start) else "")
    assert world.brain.failed
    assert limit <= sum(isinstance(each, Start) for each in world.log) <= limit + count


def test_the_limit_can_be_given(world: World) -> None:
    world.deploy(deployment(num_replicas=1, max_constructor_retry_count=5))
    world.rest(lambda command: "broken" if isinstance(command, Start) else "")
    assert sum(isinstance(each, Start) for each in world.log) == 5


def test_pauses_between_failed_starts_grow(world: World) -> None:
    world.deploy(deployment(num_replicas=1, max_constructor_retry_count=6))
    pauses = []
    for _ in range(5):
        world.answer(world.take(Start), "broken")
        world.answer_all()
        assert not world.open
        due = world.brain.next_deadline()
        pauses.append(due - world.now)
        world.advance(due - world.now)
    assert pauses == sorted(set(pauses))


def test_once_a_replica_has_started_failures_of_others_are_retried_without_end(world: World) -> None:
    world.deploy(deployment(num_replicas=2))
    world.answer(world.take(Start))
    for _ in range(20):
        world.answer(world.take(Start), "busy")
        world.answer_all()
        assert world.brain.status()[0] is DeploymentState.UNHEALTHY
        world.advance(40.0)
        for check in [command for command in world.open if isinstance(command, Check)]:
            world.answer(check)
    world.answer_all()
    assert len(world.serving) == 2
    assert world.brain.status() == (DeploymentState.HEALTHY, "")


def test_deploying_again_after_failure_tries_again(world: World) -> None:
    world.deploy(deployment())
    world.rest(lambda command: "broken" if isinstance(command, Start) else "")
    assert world.brain.failed
    world.deploy(deployment())
    world.answer_all()
    assert world.brain.status() == (DeploymentState.HEALTHY, "")


def test_a_replica_that_dies_while_it_starts_counts_as_failed(world: World) -> None:
    world.deploy(deployment())
    for _ in range(3):
        world.end(world.take(Start).id, "killed by signal 9")
        world.advance(1.0)
    assert "killed by signal 9" in world.brain.failed


def test_a_slow_start_is_warned_of_once(world: World) -> None:
    world.deploy(deployment())
    world.advance(SLOW_START_S - 1)
    assert not any(isinstance(each, Warn) for each in world.log)
    world.advance(500.0)
    assert sum(isinstance(each, Warn) for each in world.log) == 1


# -- updates ----------------------------------------------------------------------------------


def test_an_update_starts_the_new_replica_before_the_old_one_drains(world: World) -> None:
    running(world, 1)
    old = world.serving[0]
    world.deploy(deployment(version="2"))
    assert [type(each) for each in world.open] == [Start]
    assert world.serving == [old]
    start = world.take(Start)
    world.answer(start)
    assert world.serving == [start.id]
    assert [type(each) for each in world.open] == [Drain]
    assert world.brain.status()[0] is DeploymentState.HEALTHY  # all that callers meet is new
    assert not world.brain.is_quiet
    world.answer_all()
    assert world.brain.is_quiet and list(world.alive) == [start.id]


@pytest.mark.parametrize(("count", "share", "percentage"), [(1, 1, 0.2), (4, 1, 0.2), (10, 2, 0.2), (10, 5, 0.5)])
def test_an_update_replaces_at_most_its_share_at_the_same_time(count: int, share: int, percentage: float) -> None:
    world = running(World(), count, rolling_update_percentage=percentage)
    world.deploy(deployment(version="2", num_replicas=count, rolling_update_percentage=percentage))
    most_starting = most_leaving = 0
    while world.open:
        starting, leaving = world.ids(Phase.STARTING), world.ids(Phase.DRAINING, Phase.KILLING)
        most_starting, most_leaving = max(most_starting, len(starting)), max(most_leaving, len(leaving))
        assert len(world.serving) >= count
        world.answer(world.open[0])
    assert (most_starting, most_leaving) == (share, share)
    assert world.versions() == ["2"] * count


def test_a_version_that_cannot_start_leaves_the_old_one_alone(world: World) -> None:
    running(world, 3)
    old = world.serving
    world.deploy(deployment(version="2", num_replicas=3))
    world.rest(lambda command: "broken" if isinstance(command, Start) else "")
    assert world.brain.status()[0] is DeploymentState.UNHEALTHY and "broken" in world.brain.failed
    assert world.serving == old
    world.deploy(deployment(version="1", num_replicas=3))  # back
    assert world.brain.status()[0] is DeploymentState.HEALTHY and world.serving == old


def test_an_update_while_updating_ends_what_starts_and_goes_to_the_last_version(world: World) -> None:
    running(world, 4)
    world.deploy(deployment(version="2", num_replicas=4))
    starting = world.take(Start)
    world.deploy(deployment(version="3", num_replicas=4))
    assert Kill(starting.id) in world.open
    world.answer_all()
    assert world.versions() == ["3"] * 4


def test_old_replicas_that_hold_the_resources_leave_first(world: World) -> None:
    running(world, 1, ray_actor_options={"num_gpus": 1})
    world.deploy(deployment(version="2", ray_actor_options={"num_gpus": 1}))
    start = world.take(Start)
    world.do(world.brain.waits, start.id, "waits for 1 GPU", starved=True)
    assert world.serving == []
    assert [type(each) for each in world.open] == [Drain]
    world.answer_all()
    world.answer(start)
    assert world.serving == [start.id]


def test_old_replicas_stay_when_waiting_does_not_depend_on_them(world: World) -> None:
    running(world, 1)
    old = world.serving
    world.deploy(deployment(version="2"))
    world.do(world.brain.waits, world.take(Start).id, "its environment is prepared", starved=False)
    assert world.serving == old
    assert "its environment is prepared" in world.brain.status()[1]


@pytest.mark.parametrize(
    ("options", "restarts"),
    [
        ({"version": "2"}, True),
        ({"ray_actor_options": {"num_cpus": 1}}, True),
        ({"user_config": 1}, False),
        ({"max_ongoing_requests": 7}, False),
        ({"graceful_shutdown_timeout_s": 1.0}, False),
        ({"health_check_period_s": 1.0}, False),
        ({"max_queued_requests": 3}, False),
        ({"autoscaling_config": {"max_replicas": 3}}, False),
    ],
)
def test_what_restarts_replicas(world: World, options: dict[str, Any], restarts: bool) -> None:
    running(world, 1)
    old = world.serving
    world.deploy(deployment(**options))
    world.answer_all()
    assert (world.serving != old) is restarts
    assert world.brain.status() == (DeploymentState.HEALTHY, "")


def test_equal_configurations_need_nothing(world: World) -> None:
    running(world, 1, user_config={"a": [1, "x"], "b": 2}, ray_actor_options={"resources": {"r": 0}, "num_cpus": 0})
    done = len(world.log)
    same = {"b": 2, "a": [1, "".join(["x"])]}
    world.deploy(deployment(num_replicas=1, user_config=same, ray_actor_options={"num_cpus": 0, "resources": {"r": 0}}))
    assert len(world.log) == done


def test_the_applications_environment_is_part_of_the_code() -> None:
    spec = deployment()
    assert fingerprint(spec, {"env_vars": {"A": "1"}}).code != fingerprint(spec, None).code


def test_user_config_is_applied_in_turns_and_callers_meet_the_others_meanwhile(world: World) -> None:
    running(world, 3)
    world.deploy(deployment(num_replicas=3, user_config=1))
    seen = []
    while world.open:
        updating = world.ids(Phase.UPDATING)
        assert len(updating) == 1 and len(world.serving) == 2
        seen += updating
        world.answer(world.take(Reconfigure))
    assert len(set(seen)) == 3
    assert world.brain.status() == (DeploymentState.HEALTHY, "")


def test_the_only_replica_takes_requests_while_it_is_reconfigured(world: World) -> None:
    running(world, 1)
    world.deploy(deployment(user_config=1))
    assert world.ids(Phase.UPDATING) == world.serving  # it keeps them waiting by itself
    assert world.brain.status()[0] is DeploymentState.UPDATING


def test_limits_are_applied_to_all_at_once(world: World) -> None:
    running(world, 3)
    world.deploy(deployment(num_replicas=3, max_ongoing_requests=7))
    assert [type(each) for each in world.open] == [Reconfigure] * 3
    assert len(world.serving) == 3
    world.answer_all()
    assert {replica.max_ongoing for replica in world.brain.view()} == {7}


def test_a_reconfigure_that_raises_takes_nothing_away(world: World) -> None:
    running(world, 2)
    old = world.serving
    world.deploy(deployment(num_replicas=2, user_config="bad"))

    def fails(command: Command) -> str:
        return "ValueError: bad" if isinstance(command, (Start, Reconfigure)) else ""

    world.rest(fails)
    assert "ValueError: bad" in world.brain.failed
    assert sorted(world.serving) == sorted(old)
    assert sum(isinstance(each, Reconfigure) for each in world.log) == 1  # the others are spared
    world.deploy(deployment(num_replicas=2, user_config="good"))
    world.answer_all()
    assert sorted(world.serving) == sorted(old)
    assert world.brain.status() == (DeploymentState.HEALTHY, "")


# -- health and deaths ------------------------------------------------------------------------


def test_health_checks_come_in_their_period_and_one_at_a_time(world: World) -> None:
    running(world, 1, health_check_period_s=5, health_check_timeout_s=3)
    world.advance(4.9)
    assert not world.open
    world.advance(30.0)
    check = world.take(Check)
    assert not world.open and check.timeout_s == 3
    world.answer(check)
    world.advance(4.9)
    assert not world.open


def test_three_failed_checks_in_a_row_replace_a_replica(world: World) -> None:
    running(world, 2)
    sick = world.serving[0]
    for round in range(FAILED_CHECKS):
        assert world.brain.status()[0] is DeploymentState.HEALTHY, round
        world.advance(10.0)
        for check in [each for each in world.open if isinstance(each, Check)]:
            world.answer(check, "no database" if check.id == sick else "")
    assert sick not in world.serving
    state, message = world.brain.status()
    assert state is DeploymentState.UNHEALTHY and "no database" in message
    assert {type(each) for each in world.open} == {Drain, Start}
    world.answer_all()
    assert len(world.serving) == 2
    assert world.brain.status() == (DeploymentState.HEALTHY, "")


def test_a_replica_that_hangs_is_ended_at_once(world: World) -> None:
    running(world, 2)
    sick = world.serving[0]
    for _ in range(FAILED_CHECKS):
        world.advance(10.0)
        for check in [each for each in world.open if isinstance(each, Check)]:
            world.answer(check, "no answer" if check.id == sick else "", hangs=check.id == sick)
    assert sick not in world.serving
    assert {type(each) for each in world.open} == {Kill, Start}
    world.answer_all()
    assert len(world.serving) == 2 and world.brain.status() == (DeploymentState.HEALTHY, "")


def test_what_has_run_and_dies_again_and_again_is_started_every_few_seconds(world: World) -> None:
    running(world, 1)
    for _ in range(20):
        world.end(world.serving[0], "segmentation fault")
        world.advance(5.0)
        world.answer(world.take(Start))
        assert len(world.serving) == 1


def test_a_check_that_passes_clears_those_that_failed(world: World) -> None:
    running(world, 1)
    only = world.serving
    for error in ["bad", "bad", "", "bad", "bad", ""]:
        world.advance(10.0)
        world.answer(world.take(Check), error)
    assert world.serving == only and not world.brain.replicas[only[0]].message


def test_a_death_is_answered_at_once(world: World) -> None:
    running(world, 2)
    dead = world.serving[0]
    world.end(dead, "killed by signal 9")
    state, message = world.brain.status()
    assert state is DeploymentState.UNHEALTHY and "signal 9" in message
    assert [type(each) for each in world.open] == [Start]
    world.answer_all()
    assert world.brain.status() == (DeploymentState.HEALTHY, "")


def test_replicas_that_keep_dying_are_replaced_more_and_more_slowly(world: World) -> None:
    running(world, 1)
    waits = []
    for _ in range(6):
        died = world.now
        world.end(world.serving[0], "segmentation fault")
        while not world.open:
            world.advance(world.brain.next_deadline() - world.now)
        waits.append(world.now - died)
        world.answer_all()
    assert waits[0] == 0.0 and waits == sorted(waits) and waits[-1] > 1.0
    world.advance(60.0)
    world.answer_all()
    world.end(world.serving[0], "once more, after a minute")
    assert [type(each) for each in world.open] == [Start]


# -- scaling and the end ----------------------------------------------------------------------


def test_fewer_replicas_starting_ones_go_first(world: World) -> None:
    world.deploy(deployment(num_replicas=3))
    ready = world.take(Start)
    world.answer(ready)
    world.do(world.brain.scale, 1)
    assert world.serving == [ready.id]
    assert [type(each) for each in world.open] == [Kill, Kill]


def test_to_zero_and_back(world: World) -> None:
    running(world, 2)
    world.do(world.brain.scale, 0)
    assert world.serving == [] and [type(each) for each in world.open] == [Drain, Drain]
    assert world.brain.status()[0] is DeploymentState.HEALTHY
    world.do(world.brain.scale, 1)
    world.answer_all()
    assert len(world.serving) == 1 and len(world.alive) == 1


def test_a_replica_that_does_not_drain_is_killed(world: World) -> None:
    running(world, 1, graceful_shutdown_timeout_s=5.0)
    only = world.serving[0]
    world.do(world.brain.delete)
    assert world.take(Drain).timeout_s == 5.0
    world.advance(4.0)
    assert not world.open
    world.advance(20.0)
    assert world.open == [Kill(only)]
    world.answer_all()
    assert world.brain.is_gone


def test_deleting_while_deploying(world: World) -> None:
    world.deploy(deployment(num_replicas=3))
    world.answer(world.take(Start))
    world.do(world.brain.delete)
    assert world.serving == []
    assert sorted(type(each).__name__ for each in world.open) == ["Drain", "Kill", "Kill"]
    assert not world.brain.is_gone
    world.answer_all()
    assert world.brain.is_gone and not world.alive


def test_what_is_deployed_again_while_it_is_deleted_comes_back(world: World) -> None:
    running(world, 1)
    world.do(world.brain.delete)
    world.deploy(deployment(num_replicas=1))
    world.answer_all()
    assert len(world.serving) == 1 == len(world.alive)


def test_states_for_people(world: World) -> None:
    running(world, 1)
    world.deploy(deployment(version="2"))
    states = [replica.phase.public for replica in world.brain.replicas.values()]
    assert states == [ReplicaState.RUNNING, ReplicaState.STARTING]
    world.answer(world.take(Start))
    assert next(replica.phase.public for replica in world.brain.replicas.values()) is ReplicaState.STOPPING


# -- nodes ------------------------------------------------------------------------------------


def test_at_most_so_many_replicas_on_a_node(world: World) -> None:
    world.brain.nodes = ("a", "b")
    world.deploy(deployment(num_replicas=5, max_replicas_per_node=2))
    assert sorted(command.node_id for command in world.open if isinstance(command, Start)) == ["a", "a", "b", "b"]
    world.answer_all()
    state, message = world.brain.status()
    assert state is DeploymentState.UPDATING and "max_replicas_per_node" in message
    world.do(world.brain.set_nodes, ("a", "b", "c"))
    assert [command.node_id for command in world.open if isinstance(command, Start)] == ["c"]
    world.answer_all()
    assert world.brain.status() == (DeploymentState.HEALTHY, "")


def test_a_driver_runs_on_each_node(world: World) -> None:
    world.brain.nodes = ("a", "b")
    world.deploy(deployment(is_driver=True))
    world.answer_all()
    assert sorted(replica.node_id for replica in world.brain.view()) == ["a", "b"]
    world.deploy(deployment(version="2", is_driver=True))
    world.answer_all()
    assert world.versions() == ["2", "2"]
    assert sorted(replica.node_id for replica in world.brain.view()) == ["a", "b"]


# -- after the controller's crash -------------------------------------------------------------


def test_adopted_replicas_are_not_restarted(world: World) -> None:
    running(world, 2)
    later = World()
    for record in world.brain.records():
        later.brain.adopt(record, later.now)
        later.alive[record.id] = world.alive[record.id]
    later.deploy(deployment(num_replicas=2))
    later.do(later.brain.resume)
    assert later.serving == world.serving
    assert {type(each) for each in later.open} == {Check}  # whether they are well
    assert later.brain.status()[0] is DeploymentState.HEALTHY


def test_an_update_that_was_interrupted_goes_on(world: World) -> None:
    running(world, 2)
    world.deploy(deployment(version="2", num_replicas=2))
    world.answer(world.take(Start))  # one is new, one old one drains, one is old
    later = World()
    for record in world.brain.records():
        later.brain.adopt(record, later.now)
        later.alive[record.id] = world.alive[record.id]
    later.deploy(deployment(version="2", num_replicas=2))
    later.do(later.brain.resume)
    assert sorted(later.serving) == sorted(world.serving)
    assert sum(isinstance(each, Drain) for each in later.open) == 1
    later.answer_all()
    assert later.versions() == ["2", "2"] and len(later.alive) == 2
