"""Placement groups: bundles of resources that are reserved all together or not at all.

A placed bundle is a resource pool of its own, out of which leases and actors of the group are served.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aktis._brain.resources import Allocation, Amounts, ResourcePool, to_floats, words

STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")


@dataclass(slots=True)
class Bundle:
    """One reservation. Unplaced while ``node_id`` is empty."""

    resources: Amounts
    node_id: str = ""
    allocation: Allocation | None = None  # in the node's pool
    pool: ResourcePool | None = None  # what leases in this bundle are taken from


@dataclass(slots=True)
class PlacementGroup:
    """A group and where it stands. States: PENDING, CREATED, RESCHEDULING (a node was lost), REMOVED."""

    group_id: bytes
    job_id: bytes
    strategy: str
    bundles: list[Bundle]
    name: str = ""
    namespace: str = ""
    detached: bool = False
    creator: bytes = b""  # the process of the actor that made it: it goes with the actor. Empty: it goes with the job
    state: str = "PENDING"
    created: float = 0.0

    def lacking(self) -> list[int]:
        """Indices of bundles that have no node."""
        return [index for index, bundle in enumerate(self.bundles) if not bundle.node_id]

    def table(self) -> dict[str, Any]:
        """The entry of ``placement_group_table``."""
        return {
            "placement_group_id": self.group_id.hex(),
            "name": self.name,
            "namespace": self.namespace,
            "bundles": {index: to_floats(bundle.resources) for index, bundle in enumerate(self.bundles)},
            "bundles_to_node_id": {index: bundle.node_id for index, bundle in enumerate(self.bundles)},
            "strategy": self.strategy,
            "state": self.state,
            "is_detached": self.detached,
            "job_id": self.job_id.hex(),
        }


class NameTaken(ValueError):
    """Another living group has this name in this namespace."""


@dataclass(slots=True)
class PlacementGroups:
    """All groups of the cluster. The scheduler decides when a group is tried; this decides where it goes."""

    groups: dict[bytes, PlacementGroup] = field(default_factory=dict)
    names: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def create(self, group: PlacementGroup) -> None:
        """Register a group; it is PENDING."""
        if group.strategy not in STRATEGIES:
            raise ValueError(f"Placement group strategy {group.strategy!r} is not one of {', '.join(STRATEGIES)}.")
        if not group.bundles or not all(any(bundle.resources.values()) for bundle in group.bundles):
            raise ValueError("A placement group needs at least one bundle, and each bundle some resource above zero.")
        if group.name:
            key = (group.namespace, group.name)
            if key in self.names:
                raise NameTaken(f"A placement group named {group.name!r} exists in namespace {group.namespace!r}.")
            self.names[key] = group.group_id
        self.groups[group.group_id] = group

    def by_name(self, name: str, namespace: str) -> PlacementGroup | None:
        """The living group of this name."""
        group_id = self.names.get((namespace, name))
        return self.groups[group_id] if group_id is not None else None

    def place(self, group: PlacementGroup, nodes: Mapping[str, ResourcePool]) -> bool:
        """Reserve all bundles that lack a node, if all of them find one."""
        missing = group.lacking()
        plan = _plan(group, missing, nodes)
        if plan is None:
            return False
        for index, node_id in zip(missing, plan, strict=True):
            bundle = group.bundles[index]
            allocation = nodes[node_id].allocate(bundle.resources)
            assert allocation is not None, "the plan was made on a copy of the same pools"
            bundle.node_id = node_id
            bundle.allocation = allocation
            bundle.pool = ResourcePool(allocation.amounts, allocation.instances)
        group.state = "CREATED"
        return True

    def remove(self, group_id: bytes, nodes: Mapping[str, ResourcePool]) -> PlacementGroup | None:
        """Give the reservation back. The caller ends what runs inside. None when there is nothing to remove."""
        group = self.groups.get(group_id)
        if group is None or group.state == "REMOVED":
            return None
        for bundle in group.bundles:
            self._unplace(bundle, nodes)
        group.state = "REMOVED"
        if group.name:
            self.names.pop((group.namespace, group.name), None)
        self._forget_old()
        return group

    def node_lost(self, node_id: str) -> list[PlacementGroup]:
        """Groups that lost bundles; only those bundles have to find a new place."""
        affected = []
        for group in self.groups.values():
            lost = [bundle for bundle in group.bundles if bundle.node_id == node_id]
            for bundle in lost:
                bundle.node_id, bundle.allocation, bundle.pool = "", None, None
            if lost and group.state == "CREATED":
                group.state = "RESCHEDULING"
                affected.append(group)
        return affected

    def infeasible(self, group: PlacementGroup, nodes: Mapping[str, ResourcePool]) -> str:
        """Why the group could not be placed even on empty nodes; "" when it could."""
        empty = {node_id: ResourcePool(pool.capacity, _full(pool)) for node_id, pool in nodes.items()}
        for group_bundle in group.bundles:
            if not any(pool.feasible(group_bundle.resources) for pool in empty.values()):
                return f"no node has {words(group_bundle.resources)}"
        if _plan(group, list(range(len(group.bundles))), empty, fresh=True) is None:
            if group.strategy == "STRICT_SPREAD" and len(group.bundles) > len(nodes):
                return f"STRICT_SPREAD puts {len(group.bundles)} bundles on as many nodes, and there are {len(nodes)}"
            total: Amounts = {}
            for bundle in group.bundles:
                for name, amount in bundle.resources.items():
                    total[name] = total.get(name, 0) + amount
            return f"the nodes cannot hold its bundles together ({words(total)} in all)"
        return ""

    def validate(self) -> None:
        """Check what must always hold."""
        for key, group_id in self.names.items():
            group = self.groups[group_id]
            assert (group.namespace, group.name) == key and group.state != "REMOVED"
        for group in self.groups.values():
            placed = [bundle for bundle in group.bundles if bundle.node_id]
            if group.state == "CREATED":
                assert len(placed) == len(group.bundles), "all or nothing"
            if group.state in ("PENDING", "REMOVED"):
                assert not placed, "all or nothing"
            for bundle in placed:
                assert bundle.allocation is not None and bundle.allocation.amounts == bundle.resources
            if group.state == "CREATED" and group.strategy == "STRICT_PACK":
                assert len({bundle.node_id for bundle in placed}) == 1
            if group.state == "CREATED" and group.strategy == "STRICT_SPREAD":
                assert len({bundle.node_id for bundle in placed}) == len(placed)

    def _unplace(self, bundle: Bundle, nodes: Mapping[str, ResourcePool]) -> None:
        if bundle.allocation is not None and bundle.node_id in nodes:
            nodes[bundle.node_id].release(bundle.allocation)
        bundle.node_id, bundle.allocation, bundle.pool = "", None, None

    def _forget_old(self, keep: int = 1000) -> None:
        removed = [group.group_id for group in self.groups.values() if group.state == "REMOVED"]
        for group_id in removed[: max(0, len(removed) - keep)]:
            del self.groups[group_id]


def _full(pool: ResourcePool) -> dict[str, dict[str, int]]:
    return {name: dict.fromkeys(ids, 10_000) for name, ids in pool.instances.items()}


def _plan(
    group: PlacementGroup, missing: list[int], nodes: Mapping[str, ResourcePool], fresh: bool = False
) -> list[str] | None:
    """A node for each missing bundle, or None. Big bundles choose first, since they have the least choice."""
    trial = {node_id: pool.clone() for node_id, pool in nodes.items()}
    used = {} if fresh else _used(group)
    if group.strategy == "STRICT_PACK":
        homes = list(used) or sorted(trial, key=lambda node_id: -trial[node_id].utilisation())
        for home in homes:
            pool = trial[home].clone() if home in trial else None
            if pool is not None and all(pool.allocate(group.bundles[index].resources) for index in missing):
                return [home] * len(missing)
        return None
    plan: dict[int, str] = {}
    for index in sorted(missing, key=lambda index: -sum(group.bundles[index].resources.values())):
        node_id = _choose(group.strategy, group.bundles[index].resources, trial, used)
        if node_id is None:
            return None
        plan[index] = node_id
        used[node_id] = used.get(node_id, 0) + 1
    return [plan[index] for index in missing]


def _used(group: PlacementGroup) -> dict[str, int]:
    used: dict[str, int] = {}
    for bundle in group.bundles:
        if bundle.node_id:
            used[bundle.node_id] = used.get(bundle.node_id, 0) + 1
    return used


def _choose(strategy: str, request: Amounts, trial: Mapping[str, ResourcePool], used: Mapping[str, int]) -> str | None:
    if strategy == "PACK":
        order = sorted(trial, key=lambda node_id: (-used.get(node_id, 0), -trial[node_id].utilisation()))
    else:
        order = sorted(trial, key=lambda node_id: (used.get(node_id, 0), trial[node_id].utilisation()))
    for node_id in order:
        if strategy == "STRICT_SPREAD" and used.get(node_id):
            continue
        if trial[node_id].allocate(request) is not None:
            return node_id
    return None
