"""The resources of a trial, as bundles that are reserved together.

The first bundle is the head: what the trainable itself runs on. The others are for what it starts. An empty first bundle
says that the trainable needs nothing for itself.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.util.placement_group import PlacementGroup

__all__ = [
    "AcquiredResources", "PlacementGroupFactory", "ResourceRequest", "actor_options", "resource_dict_to_pg_factory",
]  # fmt: skip

logger = logging.getLogger(__name__)

STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")
_MISSPELT = {"cpu": "CPU", "cpus": "CPU", "num_cpus": "CPU", "gpu": "GPU", "gpus": "GPU", "num_gpus": "GPU"}
_WITHOUT_EFFECT = frozenset({"_max_cpu_fraction_per_node"})  # options of Ray that the core does not have


class PlacementGroupFactory:
    """A description of a placement group: immutable, compared by content, and cheap. Makes groups when asked.

    ::

        PlacementGroupFactory([{"CPU": 1}, {"CPU": 2, "GPU": 1}, {"CPU": 2, "GPU": 1}])   # a trainer, two workers
        PlacementGroupFactory([{}, {"GPU": 1}])                                           # the trainer needs nothing

    Args:
        bundles: Resources of each bundle, head first. Amounts of 0 are left out.
        strategy: "PACK", "SPREAD", "STRICT_PACK" or "STRICT_SPREAD".
        args: Further arguments of :func:`aktis.util.placement_group.placement_group`.
        kwargs: The same, by name.

    Raises:
        ValueError: no bundle at all, an unknown strategy, an amount that is not a number >= 0.
    """

    __slots__ = ("__weakref__", "_args", "_bundles", "_hash", "_head_is_empty", "_kwargs", "_strategy")

    def __init__(
        self, bundles: Iterable[Mapping[str, float]], strategy: str | None = "PACK", *args: Any, **kwargs: Any
    ) -> None:
        checked = _checked_bundles(bundles)
        strategy = strategy or "PACK"
        if strategy not in STRATEGIES:
            raise ValueError(
                f"the strategy of a placement group must be one of {', '.join(STRATEGIES)}, not {strategy!r}"
            )
        self._head_is_empty = not checked[0]
        self._bundles = tuple(checked[1:] if self._head_is_empty else checked)
        self._strategy = strategy
        self._args = args
        self._kwargs = kwargs
        self._hash: int | None = None

    @property
    def bundles(self) -> list[dict[str, float]]:
        """The bundles to reserve (copies): all, without the head when that is empty."""
        return [dict(bundle) for bundle in self._bundles]

    @property
    def strategy(self) -> str:
        """How the bundles are to be placed."""
        return self._strategy

    @property
    def head_bundle_is_empty(self) -> bool:
        """Whether the head needs nothing; then ``bundles[0]`` is the first of the others."""
        return self._head_is_empty

    @property
    def head_bundle(self) -> dict[str, float]:
        """Resources of the head: {} when it needs nothing."""
        return {} if self._head_is_empty else dict(self._bundles[0])

    @property
    def head_cpus(self) -> float:
        """CPUs of the head."""
        return self.head_bundle.get("CPU", 0.0)

    @property
    def required_resources(self) -> dict[str, float]:
        """The sum over all bundles."""
        total: dict[str, float] = {}
        for bundle in self._bundles:
            for name, amount in bundle.items():
                total[name] = total.get(name, 0.0) + amount
        return total

    def to_placement_group(self) -> PlacementGroup:
        """Ask for the resources: a new placement group, which its owner must remove. Returns at once."""
        from aktis.util.placement_group import placement_group

        kwargs = {name: value for name, value in self._kwargs.items() if name not in _WITHOUT_EFFECT}
        if len(kwargs) < len(self._kwargs):
            ignored = ", ".join(sorted(set(self._kwargs) - set(kwargs)))
            logger.warning("%s has no effect: Aktis places bundles without it", ignored)
        return placement_group(self.bundles, self._strategy, *self._args, **kwargs)

    def _all_bundles(self) -> list[dict[str, float]]:
        head: list[dict[str, float]] = [{}] if self._head_is_empty else []
        return head + self.bundles

    def _key(self) -> tuple[Any, ...]:
        bundles = tuple(tuple(sorted(bundle.items())) for bundle in self._bundles)
        return self._head_is_empty, bundles, self._strategy, self._args, tuple(sorted(self._kwargs.items()))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PlacementGroupFactory):
            return NotImplemented
        return self is other or self._key() == other._key()

    def __hash__(self) -> int:
        if self._hash is None:
            # Of the bundles alone: further arguments may be lists.
            self._hash = hash(self._key()[:3])
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._all_bundles(), self._strategy, self._args, self._kwargs)

    def __repr__(self) -> str:
        bundles = [
            {name: int(amount) if amount == int(amount) else amount for name, amount in bundle.items()}
            for bundle in self._all_bundles()
        ]
        parts = [repr(bundles)]
        if self._strategy != "PACK" or self._args:
            parts.append(repr(self._strategy) if self._args else f"strategy={self._strategy!r}")
        parts += map(repr, self._args)
        parts += [f"{name}={value!r}" for name, value in self._kwargs.items()]
        return f"{type(self).__name__}({', '.join(parts)})"


ResourceRequest = PlacementGroupFactory
"""The name that Ray's AIR gives to the same thing."""


class AcquiredResources:
    """A request that was granted: the placement group that holds its resources.

    Args:
        resource_request: What was asked for.
        placement_group: What was reserved for it.
    """

    def __init__(self, resource_request: PlacementGroupFactory, placement_group: PlacementGroup) -> None:
        self.resource_request = resource_request
        self.placement_group = placement_group

    def annotate_remote_entities(self, entities: list[Any]) -> list[Any]:
        """Put remote functions or classes into the bundles: the first takes the head, the next the bundle after it, and so on.

        Raises:
            ValueError: more entities than bundles.
        """
        from aktis.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        bundles = self.resource_request.bundles
        without_bundle = 1 if self.resource_request.head_bundle_is_empty else 0
        if len(entities) > len(bundles) + without_bundle:
            raise ValueError(
                f"{len(entities)} remote entities do not fit into {len(bundles) + without_bundle} bundles of "
                f"{self.resource_request!r}: ask for one bundle each"
            )
        annotated = []
        for index, entity in enumerate(entities, start=-without_bundle):
            resources = dict(bundles[index]) if index >= 0 else {}
            resources.pop("object_store_memory", None)
            options = actor_options(resources)
            options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(
                self.placement_group, placement_group_bundle_index=index
            )
            annotated.append(entity.options(**options))
        return annotated

    def __repr__(self) -> str:
        return f"AcquiredResources({self.resource_request!r}, {self.placement_group!r})"


def actor_options(resources: Mapping[str, float]) -> dict[str, Any]:
    """Options of an actor, or of a task, that takes these resources, which are written as in bundles."""
    rest = dict(resources)
    options: dict[str, Any] = {"num_cpus": rest.pop("CPU", 0), "num_gpus": rest.pop("GPU", 0)}
    memory = rest.pop("memory", 0)
    if memory:
        options["memory"] = memory
    return {**options, "resources": rest}


def resource_dict_to_pg_factory(spec: Any = None) -> PlacementGroupFactory:
    """The resources of one process, as people write them, as one bundle.

    Args:
        spec: ``{"cpu": 1, "gpu": 0.5, "memory": bytes, "custom_resources": {"name": amount}}``; the keys may also be written
            as in bundles (``"CPU"``, ``"GPU"``). None or {}: one CPU. A factory, or what has ``as_placement_group_factory``
            (a ``ScalingConfig``), is taken as it is.

    Raises:
        TypeError: ``spec`` is no mapping.
        ValueError: an unknown key, a key given twice, a bad amount, or nothing but zeros.
    """
    if isinstance(spec, PlacementGroupFactory):
        return spec
    convert = getattr(spec, "as_placement_group_factory", None)
    if convert is not None:
        factory: PlacementGroupFactory = convert()
        return factory
    if spec is None:
        spec = {}
    if not isinstance(spec, Mapping):
        raise TypeError(
            f"resources must be a dict such as {{'cpu': 1, 'gpu': 1}} or a PlacementGroupFactory, not {spec!r}"
        )
    bundle: dict[str, Any] = {}
    for key, value in spec.items():
        name = _RESOURCE_KEYS.get(str(key).lower())
        if name is None:
            raise ValueError(
                f"resources have the unknown key {key!r}: known are cpu, gpu, memory, object_store_memory and custom_resources; "
                f"a resource of your own is written {{'custom_resources': {{{key!r}: {value!r}}}}}"
            )
        if name == "custom_resources":
            if not isinstance(value, Mapping):
                raise ValueError(f"custom_resources must be a dict of amounts, such as {{'name': 1}}, not {value!r}")
            entries = dict(value)
        else:
            entries = {name: value}
        for entry, amount in entries.items():
            if entry in bundle:
                raise ValueError(f"resources give {entry!r} twice: {dict(spec)!r}")
            bundle[entry] = amount
    return PlacementGroupFactory([bundle or {"CPU": 1}])


_RESOURCE_KEYS = {
    "cpu": "CPU",
    "gpu": "GPU",
    "memory": "memory",
    "object_store_memory": "object_store_memory",
    "custom_resources": "custom_resources",
}


def _checked_bundles(bundles: Any) -> list[dict[str, float]]:
    if isinstance(bundles, (Mapping, str)) or not isinstance(bundles, Iterable):
        raise ValueError(f"bundles must be a list of dicts such as [{{'CPU': 1}}, {{'GPU': 1}}], not {bundles!r}")
    checked = [check_bundle(f"bundle {index}", bundle) for index, bundle in enumerate(bundles)]
    if not checked:
        raise ValueError("a PlacementGroupFactory needs at least one bundle, for example [{'CPU': 1}]")
    if not checked[0] and len(checked) == 1:
        raise ValueError(
            "a PlacementGroupFactory with nothing but an empty head asks for no resources at all: "
            "give the head something, for example [{'CPU': 1}], or add bundles for its workers"
        )
    for index, bundle in enumerate(checked[1:], start=1):
        if not bundle:
            raise ValueError(f"bundle {index} is empty: only the first one, the head, may need nothing")
    return checked


def check_bundle(what: str, bundle: Any) -> dict[str, float]:
    """The amounts in ``bundle`` as floats, without zeros. Raises ValueError, which says ``what`` is wrong."""
    if not isinstance(bundle, Mapping):
        raise ValueError(f"{what} must be a dict of resources such as {{'CPU': 1}}, not {bundle!r}")
    checked: dict[str, float] = {}
    for name, amount in bundle.items():
        if not isinstance(name, str):
            raise ValueError(f"{what} names a resource with {name!r}: names are strings")
        if name in _MISSPELT:
            raise ValueError(f"{what} asks for {name!r}: this resource is called {_MISSPELT[name]!r}")
        number = _number(amount)
        if number is None or not 0 <= number < math.inf:
            raise ValueError(f"{what} asks for {name}={amount!r}: an amount must be a finite number, 0 or more")
        if number:
            checked[name] = number
    return checked


def _number(value: Any) -> float | None:
    if isinstance(value, (bool, str, bytes)):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _rebuild(
    cls: type[PlacementGroupFactory],
    bundles: list[dict[str, float]],
    strategy: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> PlacementGroupFactory:
    return cls(bundles, strategy, *args, **kwargs)
