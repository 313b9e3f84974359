"""What runs, for people: Ray's state API where the cluster has it (its dashboard), else what can be seen from here."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import ray

from aktis._ray import errors
from aktis.exceptions import AktisSystemError

if TYPE_CHECKING:
    from aktis._ray.engine import RayEngine
    from aktis._ray.refs import RayRef

_LISTS = ("tasks", "actors", "objects", "workers", "nodes", "jobs", "placement_groups")


def rows(engine: RayEngine, kind: str, filters: Any, limit: int) -> list[dict[str, Any]]:
    """Raises AktisSystemError where the cluster cannot say."""
    if kind not in _LISTS:
        raise ValueError(f"kind must be one of {_LISTS}, got {kind!r}")
    from ray.util import state

    if kind == "nodes":
        found = [_node(node) for node in ray.nodes()]
    elif kind == "placement_groups":
        found = list(engine.request("pg_table", pg_id=None).values())
    else:
        given = [tuple(each) for each in filters or []]
        try:
            listed = getattr(state, f"list_{kind}")(
                address=ray.get_runtime_context().gcs_address, filters=given, limit=limit, detail=True
            )
        except Exception as error:
            raise AktisSystemError(
                f"this Ray cluster does not list its {kind} (its dashboard, which answers, may be off): {error}"
            ) from error
        return [_plain(row) for row in listed]
    for key, operator, value in filters or []:
        found = [row for row in found if (str(row.get(key)).lower() == str(value).lower()) == (operator == "=")]
    return found[:limit]


def _plain(row: Any) -> dict[str, Any]:
    facts: dict[str, Any] = dict(row) if isinstance(row, dict) else dataclasses.asdict(row)
    return facts


def _node(node: dict[str, Any]) -> dict[str, Any]:
    return {
        "node_id": node["NodeID"],
        "node_ip": node["NodeManagerAddress"],
        "is_head_node": "node:__internal_head__" in node.get("Resources", {}),
        "state": "ALIVE" if node["Alive"] else "DEAD",
        "node_name": node.get("NodeName", ""),
        "resources_total": node.get("Resources", {}),
        "labels": node.get("Labels", {}),
    }


def explain(engine: RayEngine, ref: RayRef) -> dict[str, Any]:
    """Why a reference is not ready, or what became of it."""
    bare = ref.check()
    ready, _ = ray.wait([bare], timeout=0, fetch_local=False)
    facts = _task(ref) or {}
    name = facts.get("name") or "the call"
    if ready:
        try:
            ray.get(bare, timeout=1)
        except errors.RAY_ERRORS as error:
            failed = errors.translate(error)
            text = f"{type(failed).__name__}: {failed}"
            return {**facts, "state": "FAILED", "sentence": f"{name} failed: {text}", "error": text}
        return {**facts, "state": "FINISHED", "sentence": f"{name} has finished."}
    state = facts.get("state") or "PENDING"
    missing = f" (asked for: {facts['required_resources']})" if facts.get("required_resources") else ""
    return {
        **facts,
        "state": state,
        "sentence": f"{name} is not done: Ray says {state}{missing}. Free in the cluster: {ray.available_resources()}.",
    }


def _task(ref: RayRef) -> dict[str, Any] | None:
    """Ray's facts about the call, if the cluster tells them."""
    from ray.util import state

    try:
        found = state.get_task(ref.task_id(), address=ray.get_runtime_context().gcs_address, timeout=2)
    except Exception:  # no dashboard, or it does not know the task (yet)
        return None
    row = found[-1] if isinstance(found, list) and found else found
    if not dataclasses.is_dataclass(row) or isinstance(row, type):
        return None
    kept = ("name", "state", "required_resources", "node_id", "worker_id", "attempt_number", "error_type")
    return {key: value for key, value in dataclasses.asdict(row).items() if key in kept and value is not None}
