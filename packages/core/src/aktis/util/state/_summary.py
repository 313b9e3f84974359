"""``summarize_*``: counts instead of rows."""

from __future__ import annotations

from collections import Counter
from typing import Any

from aktis.util.state._common import DEFAULT_TIMEOUT, MAX_LIMIT
from aktis.util.state._queries import rows

_MEGABYTE = 1 << 20


def summarize_tasks(
    address: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> dict[str, Any]:
    """How many tasks of each function are in which state."""
    found = rows("tasks", address, None, MAX_LIMIT, timeout)
    summary: dict[str, dict[str, Any]] = {}
    kinds: Counter[str] = Counter()
    for row in found:
        name = str(row.get("func_or_class_name") or row.get("name") or "?")
        kind = str(row.get("type") or "NORMAL_TASK")
        kinds[kind] += 1
        entry = summary.setdefault(name, {"func_or_class_name": name, "type": kind, "state_counts": {}})
        _count(entry["state_counts"], row)
    totals = {
        "total_tasks": kinds["NORMAL_TASK"],
        "total_actor_tasks": kinds["ACTOR_TASK"],
        "total_actor_scheduled": kinds["ACTOR_CREATION_TASK"],
    }
    return {"cluster": {"summary": summary, **totals, "summary_by": "func_name"}}


def summarize_actors(
    address: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> dict[str, Any]:
    """How many actors of each class are in which state."""
    found = rows("actors", address, None, MAX_LIMIT, timeout)
    summary: dict[str, dict[str, Any]] = {}
    for row in found:
        name = str(row.get("class_name") or "?")
        _count(summary.setdefault(name, {"class_name": name, "state_counts": {}})["state_counts"], row)
    return {"cluster": {"summary": summary, "total_actors": len(found), "summary_by": "class"}}


def summarize_objects(
    address: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> dict[str, Any]:
    """How many objects there are and how large they are, by what they are (or by where they were made, if known)."""
    found = rows("objects", address, None, MAX_LIMIT, timeout)
    summary: dict[str, dict[str, Any]] = {}
    for row in found:
        site = str(row.get("call_site") or row.get("reference_type") or row.get("state") or "?")
        entry = summary.setdefault(site, {"total_objects": 0, "total_size_mb": 0.0, "state_counts": {}})
        entry["total_objects"] += 1
        entry["total_size_mb"] += _size(row) / _MEGABYTE
        _count(entry["state_counts"], row)
    return {
        "cluster": {
            "summary": summary,
            "total_objects": len(found),
            "total_size_mb": sum(map(_size, found)) / _MEGABYTE,
            "callsite_enabled": any(row.get("call_site") for row in found),
            "summary_by": "callsite",
        }
    }


def _size(row: dict[str, Any]) -> int:
    return int(row.get("object_size") or row.get("size") or 0)


def _count(counts: dict[str, int], row: dict[str, Any]) -> None:
    state = str(row.get("state") or row.get("task_status") or "UNKNOWN")
    counts[state] = counts.get(state, 0) + 1
