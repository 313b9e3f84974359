"""Placement groups: resources that are reserved together, all or nothing, for tasks and actors to run in."""

from __future__ import annotations

import functools
import math
import secrets
from typing import TYPE_CHECKING, Any

import aktis

if TYPE_CHECKING:
    from aktis._engine import Engine
    from aktis.object_ref import ObjectRef

__all__ = [
    "PlacementGroup",
    "PlacementGroupID",
    "check_placement_group_index",
    "get_current_placement_group",
    "get_placement_group",
    "placement_group",
    "placement_group_table",
    "remove_placement_group",
    "validate_placement_group",
]

VALID_PLACEMENT_GROUP_STRATEGIES = frozenset({"PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"})
_UNIT = 10_000  # resources are counted in steps of 0.0001
_ID_SIZE = 16
_ID_SIZES = (_ID_SIZE, 18)  # the latter: those of Ray clusters


class PlacementGroupID:
    """The id of a placement group."""

    __slots__ = ("_binary",)

    def __init__(self, binary: bytes) -> None:
        if not isinstance(binary, bytes) or len(binary) not in _ID_SIZES:
            raise ValueError(f"the id of a placement group is {_ID_SIZE} bytes, not {binary!r}")
        self._binary = binary

    @classmethod
    def from_random(cls) -> PlacementGroupID:
        """A new id."""
        return cls(secrets.token_bytes(_ID_SIZE))

    @classmethod
    def from_hex(cls, text: str) -> PlacementGroupID:
        """The id of its hexadecimal digits."""
        return cls(bytes.fromhex(text))

    @classmethod
    def nil(cls) -> PlacementGroupID:
        """The id of no group."""
        return cls(b"\xff" * _ID_SIZE)

    def binary(self) -> bytes:
        """Its bytes."""
        return self._binary

    def hex(self) -> str:
        """Its hexadecimal digits."""
        return self._binary.hex()

    def is_nil(self) -> bool:
        """Whether it is the id of no group."""
        return self._binary == b"\xff" * _ID_SIZE

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacementGroupID) and self._binary == other._binary

    def __hash__(self) -> int:
        return hash(self._binary)

    def __repr__(self) -> str:
        return f"PlacementGroupID({self.hex()})"

    def __reduce__(self) -> tuple[Any, ...]:
        return PlacementGroupID, (self._binary,)


class PlacementGroup:
    """A handle of a placement group. It can be passed to tasks and actors; the group lives until it is removed."""

    __slots__ = ("_bundles", "id")

    def __init__(self, id: PlacementGroupID, bundle_cache: list[dict[str, float]] | None = None) -> None:
        self.id = id
        self._bundles = bundle_cache

    @staticmethod
    def empty() -> PlacementGroup:
        """A group that stands for "none"."""
        return PlacementGroup(PlacementGroupID.nil(), [])

    @property
    def is_empty(self) -> bool:
        """Whether it stands for no group."""
        return self.id.is_nil()

    def ready(self) -> ObjectRef[PlacementGroup]:
        """A reference that becomes ready, with this handle as its value, when the resources are reserved.

        It takes none of them, so a group of custom resources or of GPUs alone, or one that is full, gets ready too.
        If the group is removed first, getting the value raises TaskPlacementGroupRemoved.
        """
        if _engine().request("pg_wait", pg_id=self.id.binary(), timeout=0):
            return aktis.put(self)
        from aktis.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        # A task that needs nothing, but nowhere else than in this group: it waits in the scheduler, not in a process.
        strategy = PlacementGroupSchedulingStrategy(self)
        ref: ObjectRef[PlacementGroup] = _ready_task().options(scheduling_strategy=strategy).remote(self)
        return ref

    def wait(self, timeout_seconds: float = 30) -> bool:
        """Wait until the resources are reserved; False when they are not in time, or the group was removed."""
        if isinstance(timeout_seconds, bool) or not isinstance(timeout_seconds, (int, float)):
            raise TypeError(f"timeout_seconds must be a number, not {timeout_seconds!r}")
        if timeout_seconds < 0:
            raise ValueError(f"timeout_seconds must not be negative, got {timeout_seconds!r}")
        return bool(_engine().request("pg_wait", pg_id=self.id.binary(), timeout=timeout_seconds))

    @property
    def bundle_specs(self) -> list[dict[str, float]]:
        """The resources of each bundle."""
        if self._bundles is None:
            table = placement_group_table(self)
            bundles = table.get("bundles", {})
            self._bundles = [dict(bundles[index]) for index in sorted(bundles)]
        return self._bundles

    @property
    def bundle_count(self) -> int:
        """How many bundles it has."""
        return len(self.bundle_specs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacementGroup) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"PlacementGroup({self.id.hex()})"

    def __reduce__(self) -> tuple[Any, ...]:
        return PlacementGroup, (self.id, self._bundles)


def placement_group(
    bundles: list[dict[str, float]],
    strategy: str | None = "PACK",
    name: str = "",
    lifetime: str | None = None,
    _soft_target_node_id: str | None = None,
    bundle_label_selector: list[dict[str, str]] | None = None,
    topology_strategy: dict[str, str] | None = None,
) -> PlacementGroup:
    """Reserve resources, all of the bundles or none; returns at once (see :meth:`PlacementGroup.ready`).

    ``strategy`` says where the bundles go: "PACK" (few nodes), "SPREAD" (many nodes), "STRICT_PACK" (one node) or
    "STRICT_SPREAD" (one node each). A group that does not fit now waits until it does. It is given back
    by :func:`remove_placement_group`, or when its creator's job ends, unless ``lifetime="detached"``.
    """
    strategy = strategy or "PACK"
    validate_placement_group(
        bundles, strategy, lifetime, _soft_target_node_id, bundle_label_selector, topology_strategy
    )
    if not isinstance(name, str):
        raise TypeError(f"the name of a placement group must be a str, not {name!r}")
    engine = _engine()
    group_id = PlacementGroupID.from_random()
    made = engine.request(
        "pg_create",
        pg_id=group_id.binary(),
        bundles=[{resource: float(amount) for resource, amount in bundle.items() if amount} for bundle in bundles],
        strategy=strategy,
        name=name,
        namespace=engine.namespace,
        detached=lifetime == "detached",
    )
    # A cluster that names its groups itself answers with the id.
    return PlacementGroup(PlacementGroupID(made) if made else group_id, [dict(bundle) for bundle in bundles])


def remove_placement_group(placement_group: PlacementGroup) -> None:
    """Give the resources back. Tasks and actors that run in the group are killed. Removing it twice does no harm."""
    _check_is_group(placement_group)
    _engine().request("pg_remove", pg_id=placement_group.id.binary())


def get_placement_group(placement_group_name: str) -> PlacementGroup:
    """The living placement group of that name in this namespace. Raises ValueError when there is none."""
    if not isinstance(placement_group_name, str) or not placement_group_name:
        raise ValueError(f"the name of a placement group must be a non-empty str, got {placement_group_name!r}")
    engine = _engine()
    entry = engine.request("pg_by_name", name=placement_group_name, namespace=engine.namespace)
    if not entry:
        raise ValueError(
            f"there is no placement group named {placement_group_name!r} in namespace {engine.namespace!r}"
        )
    raw_id = entry["placement_group_id"]
    return PlacementGroup(PlacementGroupID(raw_id) if isinstance(raw_id, bytes) else PlacementGroupID.from_hex(raw_id))


def placement_group_table(placement_group: PlacementGroup | None = None) -> dict[str, Any]:
    """State, bundles and places of one group, or of all of them by id (hexadecimal)."""
    if placement_group is None:
        return dict(_engine().request("pg_table", pg_id=None))
    _check_is_group(placement_group)
    return dict(_engine().request("pg_table", pg_id=placement_group.id.binary()))


def get_current_placement_group() -> PlacementGroup | None:
    """The group that the running task or actor is in; None in a driver, and outside of groups."""
    current = _engine().context().get("placement_group_id")
    if not current:
        return None
    group = PlacementGroupID(current) if isinstance(current, bytes) else PlacementGroupID.from_hex(current)
    return None if group.is_nil() else PlacementGroup(group)


def check_placement_group_index(placement_group: PlacementGroup, bundle_index: int) -> None:
    """Raise ValueError unless ``bundle_index`` is a bundle of the group, or -1 for any."""
    if placement_group.is_empty:
        if bundle_index != -1:
            raise ValueError(f"placement_group_bundle_index is {bundle_index}, but no placement group is given")
    elif not -1 <= bundle_index < placement_group.bundle_count:
        raise ValueError(
            f"placement_group_bundle_index is {bundle_index}; the group has {placement_group.bundle_count} bundles, "
            "so it must be between 0 and one less than that, or -1 for any bundle"
        )


def validate_placement_group(
    bundles: list[dict[str, float]],
    strategy: str | None = None,
    lifetime: str | None = None,
    _soft_target_node_id: str | None = None,
    bundle_label_selector: list[dict[str, str]] | None = None,
    topology_strategy: dict[str, str] | None = None,
) -> bool:
    """Raise ValueError when :func:`placement_group` would not accept these arguments; else return True."""
    strategy = strategy or "PACK"
    if strategy not in VALID_PLACEMENT_GROUP_STRATEGIES:
        known = ", ".join(sorted(VALID_PLACEMENT_GROUP_STRATEGIES))
        raise ValueError(f"the strategy of a placement group must be one of {known}, not {strategy!r}")
    if lifetime not in (None, "detached"):
        raise ValueError(f"the lifetime of a placement group must be None or 'detached', not {lifetime!r}")
    if not isinstance(bundles, list):
        raise ValueError(f"the bundles of a placement group must be a list of dicts, not {type(bundles).__name__}")
    if not bundles:
        raise ValueError('a placement group needs at least one bundle, for example [{"CPU": 1}, {"GPU": 1}]')
    for index, bundle in enumerate(bundles):
        _validate_bundle(index, bundle)
    if bundle_label_selector is not None:
        _validate_labels(bundle_label_selector, len(bundles))
    if _soft_target_node_id is not None and strategy != "STRICT_PACK":
        raise ValueError(f"_soft_target_node_id needs strategy='STRICT_PACK', not {strategy!r}")
    if topology_strategy is not None and not isinstance(topology_strategy, dict):
        raise ValueError(f"topology_strategy must be a dict, not {topology_strategy!r}")
    return True


def _validate_bundle(index: int, bundle: Any) -> None:
    if not isinstance(bundle, dict):
        raise ValueError(f"bundle {index} of the placement group must be a dict of resources, not {bundle!r}")
    for resource, amount in bundle.items():
        if not isinstance(resource, str) or not resource:
            raise ValueError(f"bundle {index}: the name of a resource must be a non-empty str, not {resource!r}")
        if isinstance(amount, bool) or not isinstance(amount, (int, float)):
            raise ValueError(f"bundle {index}: the amount of {resource!r} must be a number, not {amount!r}")
        if not math.isfinite(amount) or amount < 0:
            raise ValueError(f"bundle {index}: the amount of {resource!r} must be 0 or more, not {amount!r}")
        if amount and round(amount * _UNIT) == 0:
            raise ValueError(f"bundle {index}: the amount of {resource!r} must be at least 0.0001, not {amount!r}")
    if not any(bundle.values()):
        raise ValueError(f"bundle {index} of the placement group reserves nothing: {bundle!r}")


def _validate_labels(selectors: Any, count: int) -> None:
    if not isinstance(selectors, list) or len(selectors) != count:
        raise ValueError(f"bundle_label_selector must be a list with one dict per bundle ({count}), not {selectors!r}")
    for selector in selectors:
        if not isinstance(selector, dict) or not all(
            isinstance(key, str) and isinstance(value, str) for key, value in selector.items()
        ):
            raise ValueError(f"a label selector must be a dict of str to str, not {selector!r}")


def _check_is_group(group: Any) -> None:
    if not isinstance(group, PlacementGroup):
        raise TypeError(f"expected a PlacementGroup, got {group!r}")


def _engine() -> Engine:
    from aktis import _session

    return _session.require_engine()


def _is_reserved(group: PlacementGroup) -> PlacementGroup:
    """Body of the task behind :meth:`PlacementGroup.ready`: when it runs, the resources are there."""
    return group


@functools.cache
def _ready_task() -> Any:
    return aktis.remote(num_cpus=0, max_retries=-1)(_is_reserved)
