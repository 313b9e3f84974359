"""Where a claim may go: scheduling strategies as ordered lists of pools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aktis._brain.claims import Claim, Node
from aktis._brain.placement import PlacementGroups
from aktis._brain.resources import ResourcePool, words

PACK_UNTIL = 0.5
"""Nodes are filled one after the other up to this utilisation, then the emptiest is taken."""


class Unschedulable(Exception):
    """A claim can never be placed."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(slots=True)
class Target:
    """A pool out of which a claim can be served."""

    node_id: str
    pool: ResourcePool
    group_id: bytes | None = None
    bundle_index: int = -1


_FORMS = {"DEFAULT": 1, "SPREAD": 1, "NODE": 3, "LABELS": 3, "PG": 4}
"""Kinds of strategies, and how many items they have."""


def check(resources: Any, strategy: Any) -> None:
    """Raise ValueError unless this is a request that can be decided about: one bad claim must not stop all others."""
    if not isinstance(resources, dict) or not all(
        isinstance(name, str) and type(amount) is int and amount >= 0 for name, amount in resources.items()
    ):
        raise ValueError(f"resources are a dict of name to a whole number of 1/10,000, 0 or more; got {resources!r}")
    if not isinstance(strategy, tuple) or not strategy or _FORMS.get(strategy[0]) != len(strategy):
        raise ValueError(f"{strategy!r} is no scheduling strategy; there are {', '.join(_FORMS)}")
    if strategy[0] == "LABELS":
        for conditions in strategy[1:]:
            for condition in conditions or ():
                matches({}, [condition])
    elif strategy[0] == "PG" and not (
        isinstance(strategy[1], bytes) and type(strategy[2]) is int and strategy[2] >= -1
    ):
        raise ValueError(f"{strategy!r} names no bundle of a placement group")
    elif strategy[0] == "NODE" and not isinstance(strategy[1], str):
        raise ValueError(f"{strategy!r} names no node")


def targets(claim: Claim, nodes: Mapping[str, Node], groups: PlacementGroups) -> list[Target]:
    """Pools to try, best first. Raises Unschedulable when waiting is pointless."""
    kind = claim.strategy[0]
    if kind == "PG":
        return _bundles(claim, groups)
    if kind == "NODE":
        return _affine(claim, nodes)
    if kind == "LABELS":
        _, hard, soft = claim.strategy
        fitting = [node for node in nodes.values() if matches(node.labels, hard)]
        if not fitting:
            wanted = ", ".join(" ".join([name, operator, *values]) for name, operator, values in hard)
            raise Unschedulable("unschedulable", f"No node has the labels that {claim.describe()} demands: {wanted}.")
        order = _order(claim, fitting, spread=False)
        return sorted(order, key=lambda target: not matches(nodes[target.node_id].labels, soft)) if soft else order
    return _order(claim, list(nodes.values()), spread=kind == "SPREAD")


def infeasible(claim: Claim, nodes: Mapping[str, Node], groups: PlacementGroups) -> str:
    """Why a claim could not be served even if nobody else used anything; "" when it could."""
    if claim.claim_id[0] == "group":
        return groups.infeasible(groups.groups[claim.claim_id[1]], {key: node.pool for key, node in nodes.items()})
    try:
        options = targets(claim, nodes, groups)
    except Unschedulable as reason:
        return str(reason)
    if any(target.pool.feasible(claim.resources) for target in options):
        return ""
    need = words(claim.resources)
    if claim.strategy[0] == "PG":
        group = groups.groups[claim.strategy[1]]
        return "" if group.state != "CREATED" else f"it needs {need}, more than any bundle of its placement group has"
    have = "; ".join(words(node.pool.capacity) for node in nodes.values())
    return f"it needs {need}, and no node has that (there is {have})"


def matches(labels: Mapping[str, str], conditions: Iterable[tuple[str, str, Sequence[str]]]) -> bool:
    """Whether labels satisfy all conditions ``(label, operator, values)``."""
    for label, operator, values in conditions:
        value = labels.get(label)
        if operator == "in":
            satisfied = value in values
        elif operator == "not in":
            satisfied = value not in values
        elif operator == "exists":
            satisfied = value is not None
        elif operator == "does not exist":
            satisfied = value is None
        else:
            known = '"in", "not in", "exists" and "does not exist"'
            raise ValueError(f"{operator!r} is no condition on a label; there are {known}.")
        if not satisfied:
            return False
    return True


def _order(claim: Claim, nodes: list[Node], spread: bool) -> list[Target]:
    if len(nodes) > 1:
        wants_devices = any(name in claim.resources for node in nodes for name in node.pool.instances)

        def key(node: Node) -> tuple[Any, ...]:
            utilisation = node.pool.utilisation()
            wasteful = bool(node.pool.instances) and not wants_devices  # leave machines with devices to who needs those
            if spread:
                return (utilisation, wasteful)
            return (wasteful, 0.0 if utilisation < PACK_UNTIL else utilisation)

        nodes = sorted(nodes, key=key)
    return [Target(node.node_id, node.pool) for node in nodes]


def _affine(claim: Claim, nodes: Mapping[str, Node]) -> list[Target]:
    _, node_id, soft = claim.strategy
    node = nodes.get(node_id)
    if node is not None and node.pool.feasible(claim.resources):
        own = [Target(node.node_id, node.pool)]
        if not soft:
            return own
        return own + _order(claim, [other for other in nodes.values() if other is not node], spread=False)
    if soft:
        return _order(claim, list(nodes.values()), spread=False)
    what = claim.describe()
    if node is None:
        raise Unschedulable("unschedulable", f"{what} is bound to node {node_id}, which is not there (soft=False).")
    text = f"{what} is bound to node {node_id} (soft=False), which has {words(node.pool.capacity)}, not {words(claim.resources)}."
    raise Unschedulable("unschedulable", text)


def _bundles(claim: Claim, groups: PlacementGroups) -> list[Target]:
    group_id, index = claim.strategy[1], claim.strategy[2]
    group = groups.groups.get(group_id)
    if group is None or group.state == "REMOVED":
        raise Unschedulable("pg_removed", f"The placement group {group_id.hex()} of {claim.describe()} was removed.")
    if index >= len(group.bundles):
        text = (
            f"Bundle index {index} of {claim.describe()} is out of range: the placement group has {len(group.bundles)}."
        )
        raise Unschedulable("unschedulable", text)
    chosen = range(len(group.bundles)) if index < 0 else (index,)
    found = []
    for number in chosen:
        bundle = group.bundles[number]
        if bundle.pool is not None:
            found.append(Target(bundle.node_id, bundle.pool, group_id, number))
    return found
