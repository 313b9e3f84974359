"""Where a task or actor may run: values for ``scheduling_strategy=``.

``"DEFAULT"`` and ``"SPREAD"`` are plain strings. Each class knows how to write itself as the plain tuple that engines
and the node's scheduler understand (``aktis._native.protocol.LeaseSpec.strategy``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Union


class PlacementGroupSchedulingStrategy:
    """Run inside a placement group, in one of its bundles or (index -1) in any."""

    def __init__(
        self,
        placement_group: Any,
        placement_group_bundle_index: int = -1,
        placement_group_capture_child_tasks: bool | None = None,
    ) -> None:
        self.placement_group = placement_group
        self.placement_group_bundle_index = placement_group_bundle_index
        self.placement_group_capture_child_tasks = placement_group_capture_child_tasks

    def _normalise(self, resources: dict[str, int]) -> tuple[Any, ...]:
        from aktis._options import RESOURCE_UNIT

        group, index = self.placement_group, self.placement_group_bundle_index
        if group is None or getattr(group, "is_empty", False):
            return ("DEFAULT",)
        if not hasattr(group, "id"):
            raise TypeError(f"placement_group must be a PlacementGroup, got {group!r}")
        if isinstance(index, bool) or not isinstance(index, int):
            raise TypeError(f"placement_group_bundle_index must be an int, got {index!r}")
        bundles = [{key: round(amount * RESOURCE_UNIT) for key, amount in spec.items()} for spec in group.bundle_specs]
        if not -1 <= index < len(bundles):
            raise ValueError(
                f"placement_group_bundle_index={index} does not exist: the group has {len(bundles)} bundles "
                f"(0 to {len(bundles) - 1}; -1 means any)"
            )
        candidates = bundles if index == -1 else [bundles[index]]
        if not any(all(bundle.get(key, 0) >= need for key, need in resources.items()) for bundle in candidates):
            wanted = {key: need / RESOURCE_UNIT for key, need in resources.items()}
            which = "no bundle" if index == -1 else f"not bundle {index}"
            raise ValueError(
                f"the request {wanted} fits into {which} of the placement group: its bundles are {group.bundle_specs}"
            )
        return ("PG", _group_id(group), index, bool(self.placement_group_capture_child_tasks))

    def __repr__(self) -> str:
        return f"PlacementGroupSchedulingStrategy({self.placement_group!r}, {self.placement_group_bundle_index})"


def _group_id(group: Any) -> bytes:
    """Engines know groups by their binary id; the public object shows it in one of several spellings."""
    identity = group.id
    if isinstance(identity, bytes):
        return identity
    if isinstance(identity, str):
        return bytes.fromhex(identity)
    return bytes(identity.binary())


class NodeAffinitySchedulingStrategy:
    """Run on the node with this id; ``soft``: elsewhere if that node is gone or can never hold it."""

    def __init__(
        self,
        node_id: str,
        soft: bool,
        _spill_on_unavailable: bool = False,
        _fail_on_unavailable: bool = False,
    ) -> None:
        if not isinstance(node_id, str):
            node_id = node_id.hex()
        if soft is False and _spill_on_unavailable:
            raise ValueError("_spill_on_unavailable=True needs soft=True")
        self.node_id = node_id
        self.soft = soft
        self._spill_on_unavailable = _spill_on_unavailable
        self._fail_on_unavailable = _fail_on_unavailable

    def _normalise(self, resources: dict[str, int]) -> tuple[Any, ...]:
        return ("NODE", self.node_id, bool(self.soft))

    def __repr__(self) -> str:
        return f"NodeAffinitySchedulingStrategy({self.node_id!r}, soft={self.soft})"


class _Values:
    """A condition on one label that lists values."""

    operator = ""

    def __init__(self, *values: str) -> None:
        for value in values:
            if not isinstance(value, str):
                raise TypeError(f"{type(self).__name__} takes str values, got {value!r}")
        if not values:
            raise ValueError(f"{type(self).__name__} needs at least one value")
        self.values = list(values)

    def _normalise(self) -> tuple[str, tuple[str, ...]]:
        return (self.operator, tuple(self.values))

    def __repr__(self) -> str:
        return f"{type(self).__name__}{tuple(self.values)!r}"


class In(_Values):
    """The label has one of these values."""

    operator = "in"


class NotIn(_Values):
    """The label is absent or has none of these values."""

    operator = "not in"


class Exists:
    """The label is there, whatever its value."""

    def _normalise(self) -> tuple[str, tuple[str, ...]]:
        return ("exists", ())


class DoesNotExist:
    """The label is not there."""

    def _normalise(self) -> tuple[str, tuple[str, ...]]:
        return ("does not exist", ())


LabelCondition = Union[In, NotIn, Exists, DoesNotExist]


class NodeLabelSchedulingStrategy:
    """Run on a node whose labels meet ``hard``, rather on one whose labels meet ``soft`` too."""

    def __init__(
        self, hard: Mapping[str, LabelCondition] | None, *, soft: Mapping[str, LabelCondition] | None = None
    ) -> None:
        self.hard = dict(hard or {})
        self.soft = dict(soft or {})
        for name, condition in [*self.hard.items(), *self.soft.items()]:
            if not isinstance(condition, (In, NotIn, Exists, DoesNotExist)):
                raise TypeError(f"label {name!r} needs In, NotIn, Exists or DoesNotExist, got {condition!r}")
        if not self.hard and not self.soft:
            raise ValueError("NodeLabelSchedulingStrategy needs at least one condition in hard or soft")

    @classmethod
    def from_selector(cls, selector: Mapping[str, str]) -> NodeLabelSchedulingStrategy:
        """Make one from ``label_selector=``: ``{"zone": "a"}``, ``"!a"``, ``"in(a, b)"`` or ``"!in(a, b)"``."""
        conditions: dict[str, LabelCondition] = {}
        for name, text in selector.items():
            negative, bare = text.startswith("!"), text.removeprefix("!").strip()
            if bare.startswith("in(") and bare.endswith(")"):
                values = [part.strip() for part in bare[3:-1].split(",") if part.strip()]
            else:
                values = [bare]
            conditions[name] = NotIn(*values) if negative else In(*values)
        return cls(conditions)

    def _normalise(self, resources: dict[str, int]) -> tuple[Any, ...]:
        return ("LABELS", _conditions(self.hard), _conditions(self.soft))

    def __repr__(self) -> str:
        return f"NodeLabelSchedulingStrategy({self.hard!r}, soft={self.soft!r})"


def _conditions(labels: dict[str, LabelCondition]) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    return tuple((name, *labels[name]._normalise()) for name in sorted(labels))


SchedulingStrategyT = Union[
    None, str, PlacementGroupSchedulingStrategy, NodeAffinitySchedulingStrategy, NodeLabelSchedulingStrategy
]
