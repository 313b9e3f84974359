"""Makes and ends the actors of replicas."""

from __future__ import annotations

import contextlib
from typing import Any

import aktis
from aktis.exceptions import AktisError
from aktis.serve._controller.replicas import Start
from aktis.serve._protocol import NAMESPACE, REPLICA_PREFIX, DeploymentSpec, ReplicaID

MAX_CONCURRENCY = 1_000_000  # the replica counts by itself


def create(command: Start) -> Any:
    """The actor's handle, at once; its process may come later.

    Raises:
        ValueError, TypeError: options that core refuses.
    """
    from aktis.serve._replica.actor import ReplicaActor

    options = actor_options(command)
    actor_class: Any = aktis.remote(ReplicaActor)
    return actor_class.options(**options).remote(command.id, command.spec, command.id.app)


def actor_options(command: Start) -> dict[str, Any]:
    """Options of the actor of a replica."""
    config = command.spec.config
    given = {key: value for key, value in config.ray_actor_options.items() if value is not None}
    options: dict[str, Any] = {
        "num_cpus": 0,  # a graph of five deployments has to start on two cores
        "scheduling_strategy": "SPREAD",
        **given,
        "name": command.id.actor_name,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "max_restarts": 0,  # the controller makes another one instead
        "max_concurrency": MAX_CONCURRENCY,
    }
    if "label_selector" in options and "scheduling_strategy" not in given:
        del options["scheduling_strategy"]
    environment = runtime_env(command.runtime_env, given.get("runtime_env"))
    if environment:
        options["runtime_env"] = environment
    if command.node_id:
        from aktis.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(command.node_id, soft=False)
        options.pop("label_selector", None)
    elif config.placement_group_bundles:
        options["scheduling_strategy"] = _reserve(command.id, command.spec)
    return options


def runtime_env(application: dict[str, Any] | None, deployment: dict[str, Any] | None) -> dict[str, Any]:
    """What both say; the deployment's goes before, and variables of both count."""
    merged = {**(application or {}), **(deployment or {})}
    variables = {**((application or {}).get("env_vars") or {}), **((deployment or {}).get("env_vars") or {})}
    if variables:
        merged["env_vars"] = variables
    return merged


def _reserve(id: ReplicaID, spec: DeploymentSpec) -> Any:
    from aktis.util import placement_group
    from aktis.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    config = spec.config
    group = placement_group(
        [dict(bundle) for bundle in config.placement_group_bundles],
        strategy=config.placement_group_strategy,
        name=id.actor_name,
        lifetime="detached",
    )
    return PlacementGroupSchedulingStrategy(
        group, placement_group_bundle_index=0, placement_group_capture_child_tasks=True
    )


def end(id: ReplicaID, handle: Any, spec: DeploymentSpec | None) -> None:
    """End a replica's process, and give back what was reserved for it. Harmless when it has ended already."""
    if handle is not None:
        end_actor(handle)
    if spec is None or not spec.config.placement_group_bundles:
        return
    from aktis.util import get_placement_group, remove_placement_group

    with contextlib.suppress(AktisError, ValueError):
        remove_placement_group(get_placement_group(id.actor_name))


def end_actor(handle: Any) -> None:
    """Kill an actor. Harmless when it has ended already."""
    with contextlib.suppress(AktisError, ValueError):
        aktis.kill(handle)


def end_groups(keep: set[str]) -> None:
    """Give back what was reserved for replicas, but for those whose actors have these names."""
    from aktis.util import get_placement_group, placement_group_table, remove_placement_group

    for entry in placement_group_table().values():
        name = str(entry.get("name") or "")
        if name.startswith(REPLICA_PREFIX) and name not in keep and entry.get("state") != "REMOVED":
            with contextlib.suppress(AktisError, ValueError):
                remove_placement_group(get_placement_group(name))


def living() -> dict[str, Any]:
    """Handles of the actors of Serve that live, by name."""
    from aktis.util import list_named_actors

    handles = {}
    for actor in list_named_actors(all_namespaces=True):
        if actor["namespace"] == NAMESPACE:
            with contextlib.suppress(ValueError):  # it ended since
                handles[actor["name"]] = aktis.get_actor(actor["name"], namespace=NAMESPACE)
    return handles


def shortage(spec: DeploymentSpec) -> tuple[str, bool]:
    """What a replica lacks to start, as text ("" for nothing); and whether others hold it, so that it may come free."""
    needs = _needs(spec)
    free, there = aktis.available_resources(), aktis.cluster_resources()
    missing = {name: amount for name, amount in needs.items() if amount > free.get(name, 0.0)}
    if not missing:
        return "", False
    words = ", ".join(
        f"{amount:g} {name} ({free.get(name, 0.0):g} of {there.get(name, 0.0):g} free)"
        for name, amount in missing.items()
    )
    return words, all(amount <= there.get(name, 0.0) for name, amount in missing.items())


def _needs(spec: DeploymentSpec) -> dict[str, float]:
    config = spec.config
    if config.placement_group_bundles:
        needs: dict[str, float] = {}
        for bundle in config.placement_group_bundles:
            for name, amount in bundle.items():
                needs[name] = needs.get(name, 0.0) + amount
        return needs
    options = config.ray_actor_options
    needs = {
        "CPU": options.get("num_cpus") or 0.0,
        "GPU": options.get("num_gpus") or 0.0,
        "memory": options.get("memory") or 0.0,
        "object_store_memory": options.get("object_store_memory") or 0.0,
        **(options.get("resources") or {}),
    }
    return {name: float(amount) for name, amount in needs.items() if amount}
