"""Placement groups over several nodes."""

from __future__ import annotations

import pytest

from aktis._brain.placement import Bundle, NameTaken, PlacementGroup, PlacementGroups
from aktis._brain.resources import ResourcePool, to_fixed


def nodes(*cpus: float) -> dict[str, ResourcePool]:
    return {f"n{number}": ResourcePool.of_node(to_fixed({"CPU": count})) for number, count in enumerate(cpus)}


def group(strategy: str, *cpus: float, name: str = "", group_id: bytes = b"g") -> PlacementGroup:
    return PlacementGroup(group_id, b"job", strategy, [Bundle(to_fixed({"CPU": count})) for count in cpus], name, "ns")


def place(strategy: str, bundles: list[float], cpus: list[float]) -> list[str] | None:
    groups = PlacementGroups()
    one = group(strategy, *bundles)
    groups.create(one)
    pools = nodes(*cpus)
    placed = groups.place(one, pools)
    groups.validate()
    if not placed:
        assert all(pool.free == pool.capacity for pool in pools.values()), "all or nothing"
        return None
    return [bundle.node_id for bundle in one.bundles]


@pytest.mark.parametrize(
    ("strategy", "bundles", "cpus", "expected"),
    [
        ("PACK", [1, 1], [2, 2], ["n0", "n0"]),
        ("PACK", [1, 1, 1], [2, 2], ["n0", "n0", "n1"]),
        ("PACK", [1, 3], [2, 3], ["n0", "n1"]),
        ("PACK", [2, 2], [2, 1], None),
        ("SPREAD", [1, 1], [2, 2], ["n0", "n1"]),
        ("SPREAD", [1, 1, 1], [2, 2], ["n0", "n1", "n0"]),
        ("STRICT_PACK", [1, 1], [1, 2], ["n1", "n1"]),
        ("STRICT_PACK", [1, 1], [1, 1], None),
        ("STRICT_SPREAD", [1, 1], [1, 1], ["n0", "n1"]),
        ("STRICT_SPREAD", [1, 1], [2], None),
    ],
)
def test_strategies(strategy: str, bundles: list[float], cpus: list[float], expected: list[str] | None) -> None:
    assert place(strategy, bundles, cpus) == expected


def test_removal_gives_back_once() -> None:
    groups, pools = PlacementGroups(), nodes(2)
    one = group("PACK", 1, 1, name="pair")
    groups.create(one)
    groups.place(one, pools)
    assert pools["n0"].free["CPU"] == 0
    assert groups.by_name("pair", "ns") is one
    assert groups.remove(b"g", pools) is one
    assert groups.remove(b"g", pools) is None
    assert groups.remove(b"unknown", pools) is None
    assert pools["n0"].free == pools["n0"].capacity
    assert groups.by_name("pair", "ns") is None and one.state == "REMOVED"
    groups.validate()


def test_names() -> None:
    groups = PlacementGroups()
    groups.create(group("PACK", 1, name="x"))
    with pytest.raises(NameTaken, match="'x' exists in namespace 'ns'"):
        groups.create(group("PACK", 1, name="x", group_id=b"h"))


@pytest.mark.parametrize(("strategy", "bundles"), [("PACKED", [1.0]), ("PACK", []), ("PACK", [1.0, 0.0])])
def test_nonsense_is_refused(strategy: str, bundles: list[float]) -> None:
    with pytest.raises(ValueError, match=r"PACKED|bundle"):
        PlacementGroups().create(group(strategy, *bundles))


def test_only_lost_bundles_are_placed_again() -> None:
    groups, pools = PlacementGroups(), nodes(1, 1)
    one = group("STRICT_SPREAD", 1, 1)
    groups.create(one)
    groups.place(one, pools)
    del pools["n1"]
    assert groups.node_lost("n1") == [one]
    assert one.state == "RESCHEDULING" and one.lacking() == [1]
    assert not groups.place(one, pools)
    pools["n2"] = ResourcePool.of_node(to_fixed({"CPU": 1}))
    assert groups.place(one, pools)
    assert [bundle.node_id for bundle in one.bundles] == ["n0", "n2"]
    groups.validate()


def test_why_a_group_cannot_be_placed() -> None:
    groups = PlacementGroups()
    assert "no node has 5 CPU" in groups.infeasible(group("PACK", 5), nodes(2, 2))
    assert "as many nodes, and there are 1" in groups.infeasible(group("STRICT_SPREAD", 1, 1), nodes(4))
    assert "4 CPU in all" in groups.infeasible(group("STRICT_PACK", 2, 2), nodes(2, 2))
    busy = nodes(2)
    busy["n0"].allocate(to_fixed({"CPU": 2}))
    assert groups.infeasible(group("PACK", 2), busy) == "", "only busy"


def test_removed_groups_are_forgotten_in_time() -> None:
    groups = PlacementGroups()
    for number in range(1100):
        one = group("PACK", 1, group_id=b"%d" % number)
        groups.create(one)
        groups.remove(one.group_id, {})
    assert len(groups.groups) == 1000
