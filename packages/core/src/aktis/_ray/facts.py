"""Facts about what runs, in the words of :mod:`aktis.runtime_context`."""

from __future__ import annotations

import json
import tempfile
import warnings
from typing import Any

import ray

from aktis._engine import outside_of_calls


def is_client(there: Any) -> bool:
    """Whether this process speaks Ray Client, which knows less about itself than a driver."""
    return not hasattr(there.worker, "current_temp_dir")


def is_driver(there: Any) -> bool:
    """Whether this process is a driver (or a client of one)."""
    return bool(there.worker.mode == ray.SCRIPT_MODE)


def context() -> dict[str, Any]:
    there = ray.get_runtime_context()
    driver = is_driver(there)
    if is_client(there):
        session, folder, worker_id = f"client_{there.get_job_id()}", tempfile.gettempdir(), there.worker.worker_id.hex()
    else:
        session, folder, worker_id = there.get_session_name(), there.get_temp_dir(), there.get_worker_id()
    facts: dict[str, Any] = {
        "job_id": there.get_job_id(),
        "node_id": there.get_node_id(),
        "worker_id": worker_id,
        "session_name": session,
        "session_dir": f"{folder}/{session}",
        "address": _address(there),
        "node_ip_address": ray.util.get_node_ip_address(),
        "runtime_env": json.loads(there.get_runtime_env_string() or "{}"),
        "mode": "driver" if driver else "worker",
        **outside_of_calls(),
    }
    return facts if driver else {**facts, **_of_call(there)}


def _was_restarted(there: Any) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Ray uses an older call of its own
        return bool(there.was_current_actor_reconstructed)


def _address(there: Any) -> str:
    try:
        return str(there.gcs_address)
    except (AttributeError, NotImplementedError):  # of clients
        return "ray"


def _of_call(there: Any) -> dict[str, Any]:
    actor_id = there.get_actor_id()
    facts = {
        "task_id": there.get_task_id(),
        "task_name": there.get_task_name(),
        "task_function_name": there.get_task_function_name(),
        "actor_id": actor_id,
        "actor_name": (there.get_actor_name() or "") if actor_id else None,
        "placement_group_id": there.get_placement_group_id(),
        "capture_child_tasks": there.should_capture_child_tasks_in_placement_group,
        "resources": there.get_assigned_resources(),
        "accelerator_ids": there.get_accelerator_ids(),
        "was_restarted": bool(actor_id) and _was_restarted(there),
    }
    try:
        facts["is_canceled"] = there.is_canceled()
    except RuntimeError:  # Ray refuses the question in async actors
        facts["is_async"] = True
    return facts
