"""What the API asks of a control plane, answered through Ray's public API."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ray

from aktis._ray import errors, options, refs
from aktis._ray.store import Store

if TYPE_CHECKING:
    from aktis._ray.engine import RayEngine

groups: Any = importlib.import_module("ray.util.placement_group")  # as an attribute it is the function of that name


class Control:
    """Answers ``Engine.request`` and ``Engine.explain``."""

    def __init__(self, engine: RayEngine) -> None:
        self._engine = engine
        self._store = Store(engine.is_driver)

    def request(self, method: str, arguments: dict[str, Any]) -> Any:
        handler: Callable[..., Any] | None = getattr(self, f"_do_{method}", None)
        if handler is None:
            raise ValueError(f"the Ray engine does not know the request {method!r}")
        try:
            return handler(**arguments)
        except errors.RAY_ERRORS as error:
            raise errors.translate(error) from None

    def close(self) -> None:
        """The session ends."""
        self._store.close()

    # nodes and resources -------------------------------------------------------------------------

    def _do_nodes(self) -> list[dict[str, Any]]:
        return [dict(node) for node in ray.nodes()]

    def _do_cluster_resources(self) -> dict[str, float]:
        return dict(ray.cluster_resources())

    def _do_available_resources(self) -> dict[str, float]:
        return dict(ray.available_resources())

    # key-value store -----------------------------------------------------------------------------

    def _do_kv_put(self, namespace: str, key: bytes, value: bytes, overwrite: bool = True) -> bool:
        return bool(self._store.ask("put", namespace, key, value, overwrite))

    def _do_kv_get(self, namespace: str, key: bytes) -> bytes | None:
        value: bytes | None = self._store.ask("get", namespace, key)
        return value

    def _do_kv_del(self, namespace: str, key: bytes) -> bool:
        return bool(self._store.ask("delete", namespace, key))

    def _do_kv_keys(self, namespace: str, prefix: bytes) -> list[bytes]:
        return list(self._store.ask("keys", namespace, prefix))

    # placement groups ----------------------------------------------------------------------------

    def _do_pg_create(
        self, pg_id: bytes, bundles: list[dict[str, float]], strategy: str, name: str, namespace: str, detached: bool
    ) -> bytes:
        """Ray gives groups ids of its own: that is the answer."""
        group = groups.placement_group(bundles, strategy, name, "detached" if detached else None)
        return bytes(group.id.binary())

    def _do_pg_remove(self, pg_id: bytes) -> None:
        groups.remove_placement_group(options.group(pg_id))

    def _do_pg_wait(self, pg_id: bytes, timeout: float | None) -> bool:
        group = options.group(pg_id)
        if timeout is not None:
            return bool(group.wait(timeout))
        while not group.wait(60):
            if self._do_pg_table(pg_id).get("state") == "REMOVED":
                return False
        return True

    def _do_pg_table(self, pg_id: bytes | None) -> dict[str, Any]:
        if pg_id is None:
            return {key: _group_facts(facts) for key, facts in groups.placement_group_table().items()}
        return _group_facts(groups.placement_group_table(options.group(pg_id)))

    def _do_pg_by_name(self, name: str, namespace: str) -> dict[str, Any]:
        try:
            group = groups.get_placement_group(name)
        except ValueError:
            return {}
        return _group_facts(groups.placement_group_table(group))

    # state -----------------------------------------------------------------------------------------

    def _do_state(self, kind: str, filters: Any = None, limit: int = 100) -> list[dict[str, Any]]:
        from aktis._ray import state

        return state.rows(self._engine, kind, filters, limit)

    def _do_timeline(self) -> list[dict[str, Any]]:
        return list(ray.timeline() or [])

    def _do_stacks(self) -> list[dict[str, Any]]:
        """Of this process; for those of workers there is ``ray stack`` on their machines."""
        stacks = {str(ident): "".join(traceback.format_stack(frame)) for ident, frame in sys._current_frames().items()}
        return [{"pid": os.getpid(), "type": "DRIVER", "threads": stacks}]

    def _do_memory(self) -> dict[str, Any]:
        return {"objects": self._do_state("objects", None, 10_000)}

    def _do_metrics_address(self) -> str | None:
        for node in ray.nodes():
            if node.get("Alive") and node.get("MetricsExportPort"):
                return f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}"
        return None

    def explain(self, ref: refs.RayRef) -> dict[str, Any]:
        from aktis._ray import state

        return state.explain(self._engine, ref)


def _group_facts(facts: Any) -> dict[str, Any]:
    if not facts:
        return {}
    return {
        "placement_group_id": facts["placement_group_id"],
        "name": facts.get("name", ""),
        "namespace": facts.get("ray_namespace", ""),
        "bundles": facts["bundles"],
        "bundles_to_node_id": facts.get("bundles_to_node_id", {}),
        "strategy": facts["strategy"],
        "state": facts["state"],
    }
