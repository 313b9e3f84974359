"""Resources and scheduling strategies, as far as one machine has them; placement groups."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

import aktis

from .conftest import CPUS

pytestmark = pytest.mark.usefixtures("session")


@aktis.remote
def assigned() -> Any:
    return aktis.get_runtime_context().get_assigned_resources()


@aktis.remote
class Holder:
    def assigned(self) -> Any:
        return aktis.get_runtime_context().get_assigned_resources()


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"CPU": 1}),
        ({"num_cpus": 2}, {"CPU": 2}),
        ({"num_cpus": 0.5}, {"CPU": 0.5}),
        ({"num_cpus": 0}, {}),
        ({"resources": {"widget": 1}}, {"CPU": 1, "widget": 1}),
        ({"num_cpus": 0, "resources": {"widget": 0.3}}, {"widget": 0.3}),
    ],
)
def test_resources_of_tasks(options: dict[str, Any], expected: dict[str, float]) -> None:
    task = assigned.options(**options) if options else assigned
    assert aktis.get(task.remote()) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        ({"num_cpus": 1}, {"CPU": 1}),
        ({"resources": {"widget": 1}}, {"CPU": 1, "widget": 1}),
        ({"num_cpus": 0, "resources": {"widget": 1}}, {"widget": 1}),
    ],
)
def test_resources_of_actors(options: dict[str, Any], expected: dict[str, float]) -> None:
    actor = (Holder.options(**options) if options else Holder).remote()
    assert aktis.get(actor.assigned.remote()) == expected


def test_an_actor_holds_its_resources_while_it_lives() -> None:
    assert eventually(lambda: aktis.available_resources().get("widget") == 2)
    actor = Holder.options(resources={"widget": 1.5}).remote()
    aktis.get(actor.assigned.remote())
    assert eventually(lambda: aktis.available_resources().get("widget") == 0.5)
    aktis.kill(actor)
    assert eventually(lambda: aktis.available_resources().get("widget") == 2)


def test_an_actor_waits_for_resources() -> None:
    first = Holder.options(resources={"widget": 2}).remote()
    aktis.get(first.assigned.remote())
    second = Holder.options(resources={"widget": 2}).remote()
    ref = second.assigned.remote()
    assert aktis.wait([ref], timeout=0.05)[0] == []
    aktis.kill(first)
    assert aktis.get(ref)["widget"] == 2


def test_a_task_waits_for_resources_that_an_actor_holds() -> None:
    holder = Holder.options(resources={"widget": 2}).remote()
    aktis.get(holder.assigned.remote())
    ref = assigned.options(resources={"widget": 1}).remote()
    assert aktis.wait([ref], timeout=0.05)[0] == []
    aktis.kill(holder)
    assert aktis.get(ref)["widget"] == 1


def test_tenths_do_not_drift() -> None:
    actors = [Holder.options(num_cpus=0, resources={"widget": 0.1}).remote() for _ in range(10)]
    aktis.get([actor.assigned.remote() for actor in actors])
    assert eventually(lambda: aktis.available_resources().get("widget") == 1)
    for actor in actors:
        aktis.kill(actor)
    assert eventually(lambda: aktis.available_resources().get("widget") == 2)


def test_an_infeasible_task_waits() -> None:
    ref = assigned.options(num_cpus=CPUS + 1).remote()
    assert aktis.wait([ref], timeout=0.05)[0] == []
    aktis.cancel(ref)
    with pytest.raises(aktis.exceptions.TaskCancelledError):
        aktis.get(ref)


@pytest.mark.differs("Ray rounds")
def test_too_small_an_amount() -> None:
    with pytest.raises(ValueError, match=r"0\.0001"):
        assigned.options(num_cpus=0.00001)


def test_more_than_one_gpu_must_be_whole(session: str) -> None:
    with pytest.raises(ValueError):
        assigned.options(num_gpus=1.5).remote()


@pytest.mark.parametrize("strategy", ["DEFAULT", "SPREAD"])
def test_plain_strategies(strategy: str) -> None:
    assert aktis.get(assigned.options(scheduling_strategy=strategy).remote()) == {"CPU": 1}


def test_node_affinity() -> None:
    strategies = aktis.util.scheduling_strategies
    here = strategies.NodeAffinitySchedulingStrategy(aktis.get_runtime_context().get_node_id(), soft=False)
    assert aktis.get(assigned.options(scheduling_strategy=here).remote()) == {"CPU": 1}
    actor = Holder.options(scheduling_strategy=here).remote()
    assert aktis.get(actor.assigned.remote()) == {}


def test_node_affinity_to_a_node_that_is_not_there() -> None:
    strategies = aktis.util.scheduling_strategies
    nowhere = strategies.NodeAffinitySchedulingStrategy("a" * 56, soft=False)
    with pytest.raises(aktis.exceptions.TaskUnschedulableError):
        aktis.get(assigned.options(scheduling_strategy=nowhere).remote())
    soft = strategies.NodeAffinitySchedulingStrategy("a" * 56, soft=True)
    assert aktis.get(assigned.options(scheduling_strategy=soft).remote()) == {"CPU": 1}


def test_actor_affinity_to_a_node_that_is_not_there() -> None:
    strategies = aktis.util.scheduling_strategies
    nowhere = strategies.NodeAffinitySchedulingStrategy("a" * 56, soft=False)
    actor = Holder.options(scheduling_strategy=nowhere).remote()
    with pytest.raises((aktis.exceptions.ActorUnschedulableError, aktis.exceptions.ActorDiedError)):
        aktis.get(actor.assigned.remote())


def test_available_resources_while_a_task_runs() -> None:
    @aktis.remote(resources={"widget": 1})
    def inside() -> Any:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            available = aktis.available_resources().get("widget")
            if available == 1:
                return available
            time.sleep(0.01)
        return available

    assert eventually(lambda: aktis.available_resources().get("widget") == 2)
    assert aktis.get(inside.remote()) == 1


# placement groups ------------------------------------------------------------------------------


@pytest.fixture
def group(session: str) -> Any:
    group = aktis.util.placement_group([{"CPU": 1}, {"CPU": 1, "widget": 1}], strategy="PACK")
    assert group.wait(10)
    yield group
    aktis.util.remove_placement_group(group)


def test_a_group_reserves(group: Any) -> None:
    assert aktis.get(group.ready()) is not None
    assert group.bundle_count == 2
    assert eventually(lambda: aktis.available_resources().get("widget") == 1)


def test_tasks_and_actors_in_a_group(group: Any) -> None:
    Strategy = aktis.util.scheduling_strategies.PlacementGroupSchedulingStrategy
    for index in (-1, 0, 1):
        task = assigned.options(scheduling_strategy=Strategy(group, placement_group_bundle_index=index))
        assert aktis.get(task.remote())
    actor = Holder.options(num_cpus=1, scheduling_strategy=Strategy(group)).remote()
    assert aktis.get(actor.assigned.remote())
    aktis.kill(actor)


def test_the_group_of_a_task(group: Any) -> None:
    Strategy = aktis.util.scheduling_strategies.PlacementGroupSchedulingStrategy

    @aktis.remote
    def inner() -> Any:
        return aktis.get_runtime_context().get_placement_group_id()

    @aktis.remote
    def outer() -> Any:
        context = aktis.get_runtime_context()
        captures = context.should_capture_child_tasks_in_placement_group
        return context.get_placement_group_id(), aktis.get(inner.remote()), captures

    identity = group.id.hex()
    capturing = Strategy(group, 0, placement_group_capture_child_tasks=True)
    plain = Strategy(group, 0)
    assert aktis.get(outer.options(scheduling_strategy=plain).remote()) == (identity, None, False)
    assert aktis.get(outer.options(num_cpus=0.5, scheduling_strategy=capturing).remote())[0] == identity
    assert aktis.get_runtime_context().get_placement_group_id() is None


@pytest.mark.parametrize("options", [{"num_cpus": 3}, {"resources": {"widget": 2}}])
def test_requests_larger_than_any_bundle(group: Any, options: dict[str, Any]) -> None:
    Strategy = aktis.util.scheduling_strategies.PlacementGroupSchedulingStrategy
    with pytest.raises(ValueError):
        assigned.options(scheduling_strategy=Strategy(group), **options).remote()


def test_a_bundle_that_does_not_exist(group: Any) -> None:
    Strategy = aktis.util.scheduling_strategies.PlacementGroupSchedulingStrategy
    with pytest.raises(ValueError):
        assigned.options(scheduling_strategy=Strategy(group, placement_group_bundle_index=2)).remote()


def test_removal_kills_actors() -> None:
    Strategy = aktis.util.scheduling_strategies.PlacementGroupSchedulingStrategy
    group = aktis.util.placement_group([{"CPU": 1}])
    actor = Holder.options(num_cpus=1, scheduling_strategy=Strategy(group)).remote()
    aktis.get(actor.assigned.remote())
    aktis.util.remove_placement_group(group)
    aktis.util.remove_placement_group(group)
    with pytest.raises((aktis.exceptions.RayActorError, aktis.exceptions.ActorPlacementGroupRemoved)):
        aktis.get(actor.assigned.remote())
    assert aktis.util.placement_group_table(group)["state"] == "REMOVED"


def test_a_group_waits_for_resources() -> None:
    first = aktis.util.placement_group([{"widget": 2}])
    assert first.wait(10)
    second = aktis.util.placement_group([{"widget": 1}])
    assert not second.wait(0.05)
    aktis.util.remove_placement_group(first)
    assert second.wait(10)
    aktis.util.remove_placement_group(second)


def test_a_named_group() -> None:
    group = aktis.util.placement_group([{"CPU": 1}], name="mine")
    assert group.wait(10)
    assert aktis.util.get_placement_group("mine").id == group.id
    aktis.util.remove_placement_group(group)
    with pytest.raises(ValueError):
        aktis.util.get_placement_group("nobody")
