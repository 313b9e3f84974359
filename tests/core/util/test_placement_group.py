from __future__ import annotations

import pickle

import pytest

import aktis
from aktis.util import (
    get_current_placement_group,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from aktis.util.placement_group import (
    PlacementGroup,
    PlacementGroupID,
    check_placement_group_index,
    validate_placement_group,
)
from aktis.util.scheduling_strategies import PlacementGroupSchedulingStrategy


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "at least one bundle"),
        (({},), "must be a list"),
        ((({"CPU": 1},),), "must be a list"),
        (([{}],), "reserves nothing"),
        (([{"CPU": 0}],), "reserves nothing"),
        (([{"CPU": 1}, {}],), "bundle 1 of the placement group reserves nothing"),
        (([{"CPU": -1}],), "0 or more, not -1"),
        (([{"CPU": "1"}],), "must be a number, not '1'"),
        (([{"CPU": float("nan")}],), "0 or more"),
        (([{"CPU": 0.00001}],), "at least 0.0001"),
        (([1],), "must be a dict of resources, not 1"),
        (([{1: 1}],), "name of a resource"),
        (([{"CPU": 1}], "FOO"), "must be one of PACK, SPREAD, STRICT_PACK, STRICT_SPREAD, not 'FOO'"),
        (([{"CPU": 1}], "PACK", "forever"), "None or 'detached', not 'forever'"),
        (([{"CPU": 1}], "SPREAD", None, "abc"), "needs strategy='STRICT_PACK'"),
        (([{"CPU": 1}], "PACK", None, None, []), "one dict per bundle"),
        (([{"CPU": 1}], "PACK", None, None, [{"zone": 1}]), "dict of str to str"),
    ],
)
def test_what_is_refused(arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        validate_placement_group(*arguments)


def test_the_name_survives_the_submodule() -> None:
    import aktis.util.placement_group

    assert callable(aktis.util.placement_group)
    assert aktis.util.placement_group is placement_group


def test_life_of_a_group(session: str) -> None:
    group = placement_group([{"CPU": 1}, {"CPU": 1}], strategy="PACK", name="pair")
    assert group.wait(timeout_seconds=30)
    assert aktis.get(group.ready(), timeout=30) == group
    assert group.bundle_specs == [{"CPU": 1}, {"CPU": 1}]
    assert group.bundle_count == 2
    assert aktis.available_resources().get("CPU", 0) == 0
    assert get_placement_group("pair") == group
    assert get_placement_group("pair").bundle_specs == [{"CPU": 1.0}, {"CPU": 1.0}]
    assert placement_group_table(group)["state"] == "CREATED"
    assert list(placement_group_table()) == [group.id.hex()]
    remove_placement_group(group)
    remove_placement_group(group)
    assert placement_group_table(group)["state"] == "REMOVED"
    assert aktis.available_resources()["CPU"] == 2
    with pytest.raises(ValueError, match="pair"):
        get_placement_group("pair")


def test_a_group_waits_for_the_resources_of_another(session: str) -> None:
    first = placement_group([{"CPU": 2}])
    second = placement_group([{"CPU": 1}])
    ready = second.ready()
    assert not second.wait(0.01)
    assert aktis.wait([ready], timeout=0.01)[0] == []
    remove_placement_group(first)
    assert aktis.get(ready, timeout=30) == second


def test_ready_of_a_removed_group_raises(session: str) -> None:
    placement_group([{"CPU": 2}])
    second = placement_group([{"CPU": 1}])
    ready = second.ready()
    remove_placement_group(second)
    with pytest.raises(aktis.exceptions.TaskPlacementGroupRemoved):
        aktis.get(ready, timeout=30)


def test_ready_needs_no_room_in_the_group(session: str) -> None:
    group = placement_group([{"CPU": 1}])

    @aktis.remote(num_cpus=1)
    class Tenant:
        def here(self):
            return get_current_placement_group()

    tenant = Tenant.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, 0)).remote()
    assert aktis.get(tenant.here.remote(), timeout=30) == group
    assert aktis.get(group.ready(), timeout=30) == group
    assert get_current_placement_group() is None


def test_custom_resources_alone() -> None:
    aktis.init(mode="inline", num_cpus=1, resources={"widget": 2})
    try:
        group = placement_group([{"widget": 2}])
        assert aktis.get(group.ready(), timeout=30) == group
    finally:
        aktis.shutdown()


def test_a_request_larger_than_any_bundle_is_refused_at_submission(session: str) -> None:
    group = placement_group([{"CPU": 1}])

    @aktis.remote(num_cpus=2)
    def large() -> None: ...

    with pytest.raises(ValueError, match="bundle"):
        large.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group)).remote()


def test_index_and_arguments() -> None:
    group = PlacementGroup.empty()
    assert group.is_empty
    assert pickle.loads(pickle.dumps(group)) == group
    check_placement_group_index(group, -1)
    with pytest.raises(ValueError, match="no placement group"):
        check_placement_group_index(group, 0)
    with pytest.raises(TypeError, match="expected a PlacementGroup"):
        remove_placement_group("x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be a number"):
        group.wait("x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must not be negative"):
        group.wait(-1)


def test_ids() -> None:
    one = PlacementGroupID.from_random()
    assert one != PlacementGroupID.from_random()
    again = PlacementGroupID.from_hex(one.hex())
    assert again == one and hash(again) == hash(one) and again.binary() == one.binary()
    assert pickle.loads(pickle.dumps(one)) == one
    assert one.hex() in repr(one)
    assert not one.is_nil()
    assert PlacementGroupID.nil().is_nil() and PlacementGroup.empty().id == PlacementGroupID.nil()
    for wrong in (b"short", "f" * 32, None):
        with pytest.raises(ValueError, match="16 bytes"):
            PlacementGroupID(wrong)
    with pytest.raises(ValueError):
        PlacementGroupID.from_hex("no digits")
