"""Our options as Ray's keywords. Only what differs from Ray's defaults is said: that is the fast path there."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import ray
from ray.util import scheduling_strategies as theirs
from ray.util.placement_group import PlacementGroup

from aktis._engine import MethodDescriptor
from aktis._options import DEFAULT_ASYNC_CONCURRENCY, RESOURCE_UNIT, ActorOptions, MethodOptions, TaskOptions
from aktis._ray import packages, travel

if TYPE_CHECKING:
    from aktis._ray.engine import RayEngine

DEFAULT_RETRIES = 3


def of_task(engine: RayEngine, options: TaskOptions, is_generator: bool) -> dict[str, Any]:
    given = _resources(options.resources)
    if given.get("num_cpus") == 1:
        del given["num_cpus"]
    if options.num_returns != ("streaming" if is_generator else 1):
        given["num_returns"] = options.num_returns
    if options.max_retries != DEFAULT_RETRIES:
        given["max_retries"] = options.max_retries
    if options.retry_exceptions:
        given["retry_exceptions"] = _retry_exceptions(options.retry_exceptions)
    if options.name:
        given["name"] = options.name
    if options.backpressure:
        given["_generator_backpressure_num_objects"] = options.backpressure
    return {**given, **_common(engine, options)}


def of_actor(engine: RayEngine, options: ActorOptions, is_async: bool) -> dict[str, Any]:
    placement, held = options.placement_resources, options.held_resources
    given = _resources(held)
    if placement != held:  # nothing was said: Ray's own rule is the same
        del given["num_cpus"]
    if options.max_concurrency != (DEFAULT_ASYNC_CONCURRENCY if is_async else 1):
        given["max_concurrency"] = options.max_concurrency
    for name in ("max_restarts", "max_task_retries"):
        if getattr(options, name):
            given[name] = getattr(options, name)
    if options.max_pending_calls >= 0:
        given["max_pending_calls"] = options.max_pending_calls
    if options.name:
        given["name"] = options.name
        given["get_if_exists"] = options.get_if_exists
    if options.namespace:
        given["namespace"] = options.namespace
    if options.detached:
        given["lifetime"] = "detached"
    concurrent = is_async or options.max_concurrency > 1 or bool(options.concurrency_groups)
    if options.allow_out_of_order and not concurrent:
        given["allow_out_of_order_execution"] = True
    return {**given, **_common(engine, options)}


def of_method(options: MethodOptions, method: MethodDescriptor) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if options.num_returns != ("streaming" if method.is_generator else 1):
        given["num_returns"] = options.num_returns
    if options.max_task_retries is not None:
        given["max_task_retries"] = options.max_task_retries
    if options.retry_exceptions:
        given["retry_exceptions"] = _retry_exceptions(options.retry_exceptions)
    if options.concurrency_group not in ("", method.defaults.get("concurrency_group")):  # the latter the class has said
        given["concurrency_group"] = options.concurrency_group
    if options.name:
        given["name"] = options.name
    if options.backpressure:
        given["_generator_backpressure_num_objects"] = options.backpressure
    return given


def _retry_exceptions(value: Any) -> Any:
    return True if value is True else [travel.caused_by(value)]


def _resources(units: dict[str, int]) -> dict[str, Any]:
    amounts = {name: amount / RESOURCE_UNIT for name, amount in units.items()}
    given: dict[str, Any] = {"num_cpus": _number(amounts.pop("CPU", 0))}
    if "GPU" in amounts:
        given["num_gpus"] = _number(amounts.pop("GPU"))
    if "memory" in amounts:
        given["memory"] = int(amounts.pop("memory"))
    amounts.pop("object_store_memory", None)  # Ray's scheduler does not reserve any
    if amounts:
        given["resources"] = amounts
    return given


def _number(amount: float) -> float:
    return int(amount) if amount == int(amount) else amount


def _common(engine: RayEngine, options: TaskOptions | ActorOptions) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if not options.inherit_group or options.strategy != ("DEFAULT",):
        given["scheduling_strategy"] = strategy(options.strategy)
    if options.runtime_env:
        given["runtime_env"] = packages.of_call(engine, options.runtime_env)
    return given


def strategy(ours: tuple[Any, ...]) -> Any:
    """A scheduling strategy as Ray knows it."""
    kind = ours[0]
    if kind in ("DEFAULT", "SPREAD"):
        return kind
    if kind == "PG":
        return theirs.PlacementGroupSchedulingStrategy(group(ours[1]), ours[2], ours[3])
    if kind == "NODE":
        return theirs.NodeAffinitySchedulingStrategy(ours[1], ours[2])
    return theirs.NodeLabelSchedulingStrategy(_conditions(ours[1]), soft=_conditions(ours[2]))


@functools.lru_cache(maxsize=1024)
def group(group_id: bytes) -> PlacementGroup:
    """Ray's handle of a placement group; it learns the bundles once."""
    return PlacementGroup(ray.PlacementGroupID(group_id))


_CONDITIONS = {
    "in": theirs.In, "not in": theirs.NotIn, "exists": theirs.Exists, "does not exist": theirs.DoesNotExist,
}  # fmt: skip


def _conditions(rows: tuple[tuple[str, str, tuple[str, ...]], ...]) -> dict[str, Any]:
    return {name: _CONDITIONS[operator](*values) for name, operator, values in rows}
