"""What users may ask of tasks, actors and methods: checked once, at the call that gave it, then frozen.

Each ``*Options`` class is what an engine gets. ``resolve_task``, ``resolve_actor`` and ``resolve_method`` make them from
the keywords of ``@aktis.remote``, ``.options()`` and ``@aktis.method``; every rule about a keyword is written here, once.

Resources are integers in units of 1/10,000, so that sums never drift.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Union

from aktis import _config

RESOURCE_UNIT = 10_000
ACCELERATOR_SHARE = 10  # 0.001: marks a node's kind of accelerator, reserves next to nothing of it
DEFAULT_ASYNC_CONCURRENCY = 1000

NumReturns = Union[int, Literal["streaming", "dynamic"]]
RetryExceptions = Union[bool, tuple[type[BaseException], ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """Options of one remote function, complete."""

    resources: dict[str, int] = field(default_factory=dict)  # units of 1/10,000, no zeros
    num_returns: NumReturns = 1
    max_calls: int = 0  # 0: the worker may run it without end
    max_retries: int = 3  # -1: without end
    retry_exceptions: RetryExceptions = False
    priority: int = 0
    strategy: tuple[Any, ...] = ("DEFAULT",)  # as protocol.LeaseSpec.strategy
    inherit_group: bool = True  # no strategy was given: the parent's placement group counts if it captures children
    runtime_env: str = ""  # canonical JSON; "" is the job's own (or the parent's)
    name: str = ""
    backpressure: int = 0  # items a generator may be ahead of its consumer; 0: no limit


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorOptions:
    """Options of one actor, complete."""

    placement_resources: dict[str, int] = field(default_factory=dict)
    held_resources: dict[str, int] = field(default_factory=dict)
    max_concurrency: int = 1
    concurrency_groups: dict[str, int] = field(default_factory=dict)
    max_restarts: int = 0  # -1: without end
    max_task_retries: int = 0  # -1: without end
    max_pending_calls: int = -1  # -1: no limit
    name: str = ""
    namespace: str | None = None  # None: the session's
    detached: bool = False
    get_if_exists: bool = False
    allow_out_of_order: bool = False
    priority: int = 0
    strategy: tuple[Any, ...] = ("DEFAULT",)
    inherit_group: bool = True
    runtime_env: str = ""
    backpressure: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodOptions:
    """Options of calls of one method through one handle, complete."""

    num_returns: NumReturns = 1
    max_task_retries: int | None = None  # None: as the actor says
    retry_exceptions: RetryExceptions = False
    concurrency_group: str = ""  # "": the default group
    name: str = ""
    backpressure: int = 0


# -- checks of single values ------------------------------------------------------------------


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def units(name: str, value: Any) -> int:
    """A user's amount of a resource in fixed point. ``name`` is for messages."""
    if not _is_number(value):
        raise TypeError(f"{name} must be a number, got {value!r} ({type(value).__name__})")
    if value < 0:
        raise ValueError(f"{name} must not be negative, got {value!r}")
    if value == float("inf"):
        raise ValueError(f"{name} must be finite, got {value!r}")
    amount: int = round(value * RESOURCE_UNIT)
    if amount == 0 and value > 0:
        raise ValueError(f"{name}={value!r} is too small: resources are counted in steps of 0.0001")
    return amount


def _integer(name: str, value: Any, least: int, meaning: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {value!r} ({type(value).__name__})")
    if value < least:
        raise ValueError(f"{name} must be at least {least} ({meaning}), got {value}")
    return value


def _string(name: str, value: Any, *, allow_empty: bool = False) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, got {value!r} ({type(value).__name__})")
    if not value and not allow_empty:
        raise ValueError(f"{name} must not be an empty string")
    return value


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r} ({type(value).__name__})")
    return value


def _device(name: str, value: Any) -> int:
    amount = units(name, value)
    if amount > RESOURCE_UNIT and amount % RESOURCE_UNIT:
        raise ValueError(f"{name} above 1 must be a whole number, got {value!r}: a device is shared or taken whole")
    return amount


_RESERVED = {
    "CPU": "num_cpus",
    "GPU": "num_gpus",
    "memory": "memory",
    "object_store_memory": "object_store_memory",
}


def custom_resources(resources: Any) -> dict[str, int]:
    """Check and convert the ``resources=`` mapping."""
    if not isinstance(resources, Mapping):
        raise TypeError(f"resources must be a dict of names and amounts, got {resources!r}")
    result = {}
    for name, amount in resources.items():
        _string("a resource name", name)
        if name in _RESERVED:
            raise ValueError(f"resources={{{name!r}: ...}} is not allowed: use the option {_RESERVED[name]}= instead")
        result[name] = units(f"resources[{name!r}]", amount)
    return result


def _retry_exceptions(value: Any) -> RetryExceptions:
    if isinstance(value, bool):
        return value
    if isinstance(value, (list, tuple)):
        for item in value:
            if not (isinstance(item, type) and issubclass(item, BaseException)):
                raise TypeError(f"retry_exceptions must list exception classes, got {item!r}")
        return tuple(value)
    raise TypeError(f"retry_exceptions must be True, False or a list of exception classes, got {value!r}")


def _num_returns(value: Any, is_generator: bool) -> NumReturns:
    if value is None:
        return "streaming" if is_generator else 1
    if value in ("streaming", "dynamic") and isinstance(value, str):
        if not is_generator:
            raise ValueError(f"num_returns={value!r} needs a generator function (one that yields)")
        return value  # type: ignore[return-value]
    if isinstance(value, str):
        raise ValueError(f"num_returns must be an int, 'streaming' or 'dynamic', got {value!r}")
    return _integer("num_returns", value, 0, "0 means that .remote() returns None")


def _runtime_env(value: Any) -> str:
    """Canonical text, so that equal environments share workers. Paths become absolute; the engine packages them."""
    if value is None or value == "":
        return ""
    from aktis._runtime_env import canonical_json

    return canonical_json(json.loads(value) if isinstance(value, str) else value)


# -- strategies -------------------------------------------------------------------------------


def _strategy(given: dict[str, Any], resources: dict[str, int]) -> tuple[tuple[Any, ...], bool]:
    """(strategy as engines know it, whether the parent's placement group may be inherited)."""
    strategy = given.get("scheduling_strategy")
    group = given.get("placement_group", "default")
    selector = given.get("label_selector")
    if group not in ("default", None) and strategy is not None:
        raise ValueError(
            "give placement_group or scheduling_strategy, not both (placement_group is the older spelling)"
        )
    if selector and strategy not in (None, "DEFAULT"):
        raise ValueError("give label_selector or scheduling_strategy, not both")
    if group is None:
        return ("DEFAULT",), False
    if group != "default":
        from aktis.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        capture = given.get("placement_group_capture_child_tasks")
        strategy = PlacementGroupSchedulingStrategy(group, given.get("placement_group_bundle_index", -1), capture)
    if selector:
        from aktis.util.scheduling_strategies import NodeLabelSchedulingStrategy

        strategy = NodeLabelSchedulingStrategy.from_selector(selector)
    if strategy is None:
        return ("DEFAULT",), True
    if strategy in ("DEFAULT", "SPREAD") and isinstance(strategy, str):
        return (strategy,), False
    normalise = getattr(strategy, "_normalise", None)
    if normalise is None:
        raise ValueError(
            f"scheduling_strategy must be 'DEFAULT', 'SPREAD' or an object of aktis.util.scheduling_strategies, "
            f"got {strategy!r}"
        )
    return normalise(resources), False


# -- keyword tables ---------------------------------------------------------------------------

_ANY: Callable[[Any], Any] = lambda value: value  # noqa: E731 - a table entry for values that are checked together


def _string_map(name: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if value is not None and not (
            isinstance(value, Mapping) and all(isinstance(k, str) and isinstance(v, str) for k, v in value.items())
        ):
            raise TypeError(f"{name} must map str to str, got {value!r}")
        return value

    return check


def _optional(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else check(value)


_COMMON: dict[str, Callable[[Any], Any]] = {
    "num_cpus": _optional(lambda value: units("num_cpus", value)),
    "num_gpus": _optional(lambda value: _device("num_gpus", value)),
    "memory": _optional(lambda value: units("memory", value)),
    "object_store_memory": _optional(lambda value: units("object_store_memory", value)),
    "resources": _optional(custom_resources),
    "accelerator_type": _optional(lambda value: _string("accelerator_type", value)),
    "name": _optional(lambda value: _string("name", value)),
    "runtime_env": _runtime_env,
    "scheduling_strategy": _ANY,
    "label_selector": _string_map("label_selector"),
    "fallback_strategy": _ANY,
    "enable_task_events": lambda value: _boolean("enable_task_events", value),
    "_labels": _string_map("_labels"),
    "_metadata": _ANY,
    "placement_group": _ANY,
    "placement_group_bundle_index": lambda value: _integer("placement_group_bundle_index", value, -1, "-1: any bundle"),
    "placement_group_capture_child_tasks": _optional(
        lambda value: _boolean("placement_group_capture_child_tasks", value)
    ),
    "priority": lambda value: _integer("priority", value, -(2**31), "higher runs first"),
}

_BACKPRESSURE: Callable[[Any], Any] = _optional(
    lambda value: (
        0
        if value == -1
        else _integer("_generator_backpressure_num_objects", value, 1, "-1 means that there is no limit")
    )
)

_TASK: dict[str, Callable[[Any], Any]] = {
    **_COMMON,
    "num_returns": _ANY,
    "max_calls": lambda value: _integer("max_calls", value, 0, "0 means without end"),
    "max_retries": _optional(lambda value: _integer("max_retries", value, -1, "-1 means without end")),
    "retry_exceptions": _retry_exceptions,
    "_generator_backpressure_num_objects": _BACKPRESSURE,
    "_num_objects_per_yield": _ANY,
}

_ACTOR: dict[str, Callable[[Any], Any]] = {
    **_COMMON,
    "max_concurrency": _optional(lambda value: _integer("max_concurrency", value, 1, "calls at the same time")),
    "max_restarts": lambda value: _integer("max_restarts", value, -1, "-1 means without end"),
    "max_task_retries": lambda value: _integer("max_task_retries", value, -1, "-1 means without end"),
    "max_pending_calls": lambda value: _integer("max_pending_calls", value, -1, "-1 means no limit"),
    "lifetime": _ANY,
    "namespace": _optional(lambda value: _string("namespace", value)),
    "get_if_exists": lambda value: _boolean("get_if_exists", value),
    "concurrency_groups": _ANY,
    "allow_out_of_order_execution": _optional(lambda value: _boolean("allow_out_of_order_execution", value)),
    "enable_tensor_transport": _ANY,
    "_actor_generator_backpressure_num_objects": _BACKPRESSURE,
}

_METHOD: dict[str, Callable[[Any], Any]] = {
    "num_returns": _ANY,
    "max_task_retries": _optional(lambda value: _integer("max_task_retries", value, -1, "-1 means without end")),
    "retry_exceptions": _optional(_retry_exceptions),
    "concurrency_group": _optional(lambda value: _string("concurrency_group", value)),
    "name": _optional(lambda value: _string("name", value)),
    "enable_task_events": lambda value: _boolean("enable_task_events", value),
    "tensor_transport": _ANY,
    "_generator_backpressure_num_objects": _BACKPRESSURE,
}


def _checked(kind: str, table: dict[str, Callable[[Any], Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """Values of ``given`` checked one by one; what belongs together is checked by the callers."""
    unknown = [name for name in given if name not in table]
    if unknown:
        import difflib

        close = difflib.get_close_matches(unknown[0], table, 1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        valid = ", ".join(sorted(name for name in table if not name.startswith("_")))
        raise ValueError(f"unknown option {unknown[0]!r} for {kind}{hint}. Valid options: {valid}")
    checked = {name: table[name](value) for name, value in given.items()}
    if checked.get("placement_group", "default") != "default":
        import warnings

        warnings.warn(
            "the option placement_group= is deprecated: use scheduling_strategy=PlacementGroupSchedulingStrategy(...)",
            DeprecationWarning,
            stacklevel=4,
        )
    return checked


def _resources(checked: dict[str, Any], default_cpus: int) -> dict[str, int]:
    cpus = checked.get("num_cpus")
    amounts = {"CPU": default_cpus if cpus is None else cpus, "GPU": checked.get("num_gpus") or 0}
    for name in ("memory", "object_store_memory"):
        amounts[name] = checked.get(name) or 0
    amounts.update(checked.get("resources") or {})
    if checked.get("accelerator_type"):
        amounts[f"accelerator_type:{checked['accelerator_type']}"] = ACCELERATOR_SHARE
    return {name: amount for name, amount in amounts.items() if amount}


# -- the three kinds --------------------------------------------------------------------------


def resolve_task(given: Mapping[str, Any], *, is_generator: bool) -> TaskOptions:
    """Check the options of a remote function and fill in the defaults."""
    checked = _checked("remote functions", _TASK, given)
    resources = _resources(checked, RESOURCE_UNIT)
    strategy, inherit = _strategy(checked, resources)
    max_retries = checked.get("max_retries")
    return TaskOptions(
        resources=resources,
        num_returns=_num_returns(checked.get("num_returns"), is_generator),
        # A process that used a GPU holds its memory until it ends, so GPU workers run one task by default.
        max_calls=checked.get("max_calls", 1 if resources.get("GPU") else 0),
        max_retries=_config.read("TASK_MAX_RETRIES") if max_retries is None else max_retries,
        retry_exceptions=checked.get("retry_exceptions", False),
        priority=checked.get("priority", 0),
        strategy=strategy,
        inherit_group=inherit,
        runtime_env=checked.get("runtime_env", ""),
        name=checked.get("name") or "",
        backpressure=checked.get("_generator_backpressure_num_objects") or 0,
    )


def _concurrency_groups(value: Any) -> dict[str, int]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"concurrency_groups must be a dict of names and limits, got {value!r}")
    return {
        _string("a concurrency group's name", name): _integer(f"concurrency_groups[{name!r}]", limit, 1, "its limit")
        for name, limit in value.items()
    }


def resolve_actor(given: Mapping[str, Any], *, is_async: bool) -> ActorOptions:
    """Check the options of an actor class and fill in the defaults."""
    checked = _checked("actors", _ACTOR, given)
    # An actor that says nothing needs a CPU to be placed, so that a full node does not fill with actors, and holds
    # none while it lives, so that any number of them fit on one CPU.
    named = any(checked.get(key) for key in ("num_gpus", "resources", "accelerator_type", "object_store_memory"))
    placement = _resources(checked, RESOURCE_UNIT)
    held = _resources(checked, RESOURCE_UNIT if named else 0)
    strategy, inherit = _strategy(checked, placement)
    lifetime = checked.get("lifetime")
    if lifetime not in (None, "detached", "non_detached"):
        raise ValueError(f"lifetime must be None, 'detached' or 'non_detached', got {lifetime!r}")
    name = checked.get("name") or ""
    if checked.get("get_if_exists") and not name:
        raise ValueError("get_if_exists=True needs name=: only a named actor can be found again")
    groups = _concurrency_groups(checked.get("concurrency_groups"))
    concurrency = checked.get("max_concurrency") or (DEFAULT_ASYNC_CONCURRENCY if is_async else 1)
    concurrent = is_async or concurrency > 1 or bool(groups)
    out_of_order = checked.get("allow_out_of_order_execution")
    if concurrent and out_of_order is False:
        raise ValueError(
            "allow_out_of_order_execution=False is not possible for async actors or max_concurrency > 1: "
            "their calls run side by side"
        )
    return ActorOptions(
        placement_resources=placement,
        held_resources=held,
        max_concurrency=concurrency,
        concurrency_groups=groups,
        max_restarts=checked.get("max_restarts", 0),
        max_task_retries=checked.get("max_task_retries", 0),
        max_pending_calls=checked.get("max_pending_calls", -1),
        name=name,
        namespace=checked.get("namespace"),
        detached=lifetime == "detached",
        get_if_exists=checked.get("get_if_exists", False),
        allow_out_of_order=concurrent if out_of_order is None else out_of_order,
        priority=checked.get("priority", 0),
        strategy=strategy,
        inherit_group=inherit,
        runtime_env=checked.get("runtime_env", ""),
        backpressure=checked.get("_actor_generator_backpressure_num_objects") or 0,
    )


def check_method(given: Mapping[str, Any]) -> None:
    """Check the keywords of ``@aktis.method``, before the method's actor is known."""
    checked = _checked("actor methods", _METHOD, given)
    value = checked.get("num_returns")
    if value not in (None, "streaming", "dynamic"):
        _num_returns(value, True)


def resolve_method(given: Mapping[str, Any], *, is_generator: bool, backpressure: int = 0) -> MethodOptions:
    """Check the options of an actor's method and fill in the defaults."""
    if not given:
        return MethodOptions(num_returns="streaming" if is_generator else 1, backpressure=backpressure)
    checked = _checked("actor methods", _METHOD, given)
    own = checked.get("_generator_backpressure_num_objects")
    return MethodOptions(
        num_returns=_num_returns(checked.get("num_returns"), is_generator),
        max_task_retries=checked.get("max_task_retries"),
        retry_exceptions=checked.get("retry_exceptions") or False,
        concurrency_group=checked.get("concurrency_group") or "",
        name=checked.get("name") or "",
        backpressure=backpressure if own is None else own,
    )
