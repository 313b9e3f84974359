"""``list_*`` and ``get_*``."""

from __future__ import annotations

import json
import warnings
from typing import Any, TypeVar, cast

from aktis.util.state._common import (
    DEFAULT_LIMIT,
    DEFAULT_TIMEOUT,
    MAX_LIMIT,
    RECORDS,
    ActorState,
    Filter,
    JobState,
    NodeState,
    ObjectState,
    PlacementGroupState,
    RuntimeEnvState,
    StateRecord,
    TaskState,
    WorkerState,
    check_filters,
    matches,
    source,
)

R = TypeVar("R", bound=StateRecord)


def rows(
    kind: str, address: str | None, filters: list[Filter] | None, limit: int, timeout: float
) -> list[dict[str, Any]]:
    """Plain rows of a kind, at most ``limit``; warns when there are more."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit <= MAX_LIMIT:
        raise ValueError(f"limit must be between 1 and {MAX_LIMIT}, got {limit!r}")
    checked = check_filters(filters)
    request = source(address, timeout)
    if kind == "runtime_envs":
        found = runtime_envs(request("state", kind="workers", filters=[], limit=MAX_LIMIT))
    else:
        # One more than asked for tells whether there are more. Filtering again costs little, and holds for any engine.
        found = request("state", kind=kind, filters=checked, limit=limit + 1)
    found = [row for row in found if matches(row, checked)]
    if len(found) > limit:
        warnings.warn(
            f"more than {limit} {kind.replace('_', ' ')} match; {limit} are shown. Use filters, or a larger limit",
            stacklevel=4,
        )
    return found[:limit]


def runtime_envs(workers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The environments that workers run in, with how many of them."""
    counts: dict[str, int] = {}
    for worker in workers:
        env = worker.get("runtime_env") or {}
        text = env if isinstance(env, str) and env else json.dumps(env or {}, sort_keys=True)
        counts[text] = counts.get(text, 0) + 1
    return [
        {"runtime_env": json.loads(text or "{}"), "workers": count, "success": True} for text, count in counts.items()
    ]


def _list(
    kind: str, address: str | None, filters: list[Filter] | None, limit: int, timeout: float, detail: bool
) -> list[Any]:
    record = RECORDS[kind]
    hidden = frozenset() if detail else record._detail
    found = rows(kind, address, filters, limit, timeout)
    return [record({key: value for key, value in row.items() if key not in hidden}) for row in found]


def _get(kind: str, id: str, address: str | None, timeout: float) -> Any | None:
    found = _list(kind, address, [(RECORDS[kind]._key, "=", id)], 1, timeout, True)
    return found[0] if found else None


def list_tasks(
    address: str | None = None,
    filters: list[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[TaskState]:
    """Tasks and calls of actors. Events are kept for a bounded number of them: old ones are forgotten.

    ``filters`` are (key, "=" or "!=", value); all must hold. At most ``limit`` rows come back, with a warning
    if there are more.
    """
    return _list("tasks", address, filters, limit, timeout, detail)


def list_actors(
    address: str | None = None,
    filters: list[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[ActorState]:
    """Actors, living and dead. For the arguments see :func:`list_tasks`."""
    return _list("actors", address, filters, limit, timeout, detail)


def list_objects(
    address: str | None = None,
    filters: list[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[ObjectState]:
    """Objects in shared memory and on disk. For the arguments see :func:`list_tasks`."""
    return _list("objects", address, filters, limit, timeout, detail)


def list_nodes(
    address: str | None = None,
    filters: list[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[NodeState]:
    """Nodes. For the arguments see :func:`list_tasks`."""
    return _list("nodes", address, filters, limit, timeout, detail)


def list_workers(
    address: str | None = None,
    filters: list[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[WorkerState]:
    """Processes: workers and drivers. For the arguments see :func:`list_tasks`."""
    return _list("workers", address, filters, limit, timeout, detail)


def list_jobs(
    address: str | None = None,
    filters: list[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[JobState]:
    """Jobs: one per driver. For the arguments see :func:`list_tasks`."""
    return _list("jobs", address, filters, limit, timeout, detail)


def list_placement_groups(
    address: str | None = None,
    filters: list[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[PlacementGroupState]:
    """Placement groups. For the arguments see :func:`list_tasks`."""
    return _list("placement_groups", address, filters, limit, timeout, detail)


def list_runtime_envs(
    address: str | None = None,
    filters: list[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[RuntimeEnvState]:
    """Runtime environments that workers run in. For the arguments see :func:`list_tasks`."""
    return _list("runtime_envs", address, filters, limit, timeout, detail)


def get_actor(
    id: str, address: str | None = None, timeout: float = DEFAULT_TIMEOUT, _explain: bool = False
) -> ActorState | None:
    """The actor with this id (hexadecimal), or None."""
    return cast("ActorState | None", _get("actors", id, address, timeout))


def get_job(
    id: str, address: str | None = None, timeout: float = DEFAULT_TIMEOUT, _explain: bool = False
) -> JobState | None:
    """The job with this id, or None."""
    return cast("JobState | None", _get("jobs", id, address, timeout))


def get_node(
    id: str, address: str | None = None, timeout: float = DEFAULT_TIMEOUT, _explain: bool = False
) -> NodeState | None:
    """The node with this id, or None."""
    return cast("NodeState | None", _get("nodes", id, address, timeout))


def get_worker(
    id: str, address: str | None = None, timeout: float = DEFAULT_TIMEOUT, _explain: bool = False
) -> WorkerState | None:
    """The process with this id, or None."""
    return cast("WorkerState | None", _get("workers", id, address, timeout))


def get_placement_group(
    id: str, address: str | None = None, timeout: float = DEFAULT_TIMEOUT, _explain: bool = False
) -> PlacementGroupState | None:
    """The placement group with this id, or None."""
    return cast("PlacementGroupState | None", _get("placement_groups", id, address, timeout))


def get_task(
    id: Any, address: str | None = None, timeout: float = DEFAULT_TIMEOUT, _explain: bool = False
) -> TaskState | None:
    """The task with this id, or the task behind an ObjectRef; None when it is not known (any more)."""
    task_id = id if isinstance(id, str) else id.task_id()
    return cast("TaskState | None", _get("tasks", str(task_id), address, timeout))


def get_objects(
    id: str, address: str | None = None, timeout: float = DEFAULT_TIMEOUT, _explain: bool = False
) -> list[ObjectState]:
    """All entries about the object with this id, if it is in shared memory or on disk: one per node that has it."""
    return _list("objects", address, [("object_id", "=", id)], MAX_LIMIT, timeout, True)
