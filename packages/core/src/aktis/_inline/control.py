"""What a control plane would know, for one process: resources, the key-value store, groups, state, explanations."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aktis._engine import outside_of_calls
from aktis._inline.calls import Call, current_call
from aktis._inline.ledger import Group, Ledger
from aktis._inline.values import Failure, InlineRef
from aktis._options import RESOURCE_UNIT
from aktis._systems import count_cpus
from aktis.exceptions import (
    ActorPlacementGroupRemoved,
    ActorUnschedulableError,
    TaskPlacementGroupRemoved,
    TaskUnschedulableError,
)

if TYPE_CHECKING:
    from aktis._inline.engine import InlineEngine


def _memory() -> int:
    try:
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        return 4 << 30


class Control:
    """Answers ``Engine.request``, ``Engine.context`` and ``Engine.explain``."""

    def __init__(self, engine: InlineEngine) -> None:
        self._engine = engine
        settings = engine.settings
        self.node_id = (engine.process_id * 2).hex()
        self.started = 0.0
        store = settings.object_store_memory or int(_memory() * 0.3)
        gpus = settings.num_gpus or 0
        cpus = count_cpus() * RESOURCE_UNIT if settings.num_cpus is None else settings.num_cpus
        total = {
            "CPU": cpus,
            "GPU": gpus,
            "memory": settings.memory or _memory() * RESOURCE_UNIT,
            "object_store_memory": store * RESOURCE_UNIT,
            "node:127.0.0.1": RESOURCE_UNIT,
            "node:__internal_head__": RESOURCE_UNIT,
            **settings.resources,
        }
        self.ledger = Ledger(total, [str(index) for index in range(gpus // RESOURCE_UNIT)])
        self._kv: dict[tuple[str, bytes], bytes] = {}
        self._removed_groups: dict[bytes, Group] = {}

    def request(self, method: str, arguments: dict[str, Any]) -> Any:
        handler: Callable[..., Any] | None = getattr(self, f"_do_{method}", None)
        if handler is None:
            raise ValueError(f"the inline engine does not know the request {method!r}")
        return handler(**arguments)

    # nodes and resources -------------------------------------------------------------------------

    def _do_nodes(self) -> list[dict[str, Any]]:
        return [
            {
                "NodeID": self.node_id,
                "Alive": True,
                "NodeManagerAddress": "127.0.0.1",
                "NodeManagerHostname": socket.gethostname(),
                "NodeName": "127.0.0.1",
                "Resources": self._do_cluster_resources(),
                "Labels": {"aktis.io/node-id": self.node_id, **self._engine.settings.labels},
                "alive": True,
            }
        ]

    def _do_cluster_resources(self) -> dict[str, float]:
        return {name: amount / RESOURCE_UNIT for name, amount in self.ledger.total.items()}

    def _do_available_resources(self) -> dict[str, float]:
        return {name: amount / RESOURCE_UNIT for name, amount in self.ledger.available().items()}

    def check_strategy(self, strategy: tuple[Any, ...], is_task: bool) -> None:
        """Refuse what can never be: a node that is not there, a placement group that was removed."""
        kind = strategy[0]
        unschedulable = TaskUnschedulableError if is_task else ActorUnschedulableError
        if kind == "NODE" and strategy[1] != self.node_id and not strategy[2]:
            raise unschedulable(f"node {strategy[1]} does not exist, and the affinity is not soft")
        if kind == "LABELS":
            labels = self._do_nodes()[0]["Labels"]
            unmet = [name for name, operator, values in strategy[1] if not _meets(labels.get(name), operator, values)]
            if unmet:
                raise unschedulable(f"no node meets the condition on label {unmet[0]!r}: the only node has {labels}")
        if kind == "PG" and strategy[1] not in self.ledger.groups:
            removed = TaskPlacementGroupRemoved if is_task else ActorPlacementGroupRemoved
            raise removed(f"placement group {strategy[1].hex()} was removed")

    # key-value store -----------------------------------------------------------------------------

    def _do_kv_put(self, namespace: str, key: bytes, value: bytes, overwrite: bool = True) -> bool:
        fresh = (namespace, key) not in self._kv
        if fresh or overwrite:
            self._kv[namespace, key] = value
        return fresh

    def _do_kv_get(self, namespace: str, key: bytes) -> bytes | None:
        return self._kv.get((namespace, key))

    def _do_kv_del(self, namespace: str, key: bytes) -> bool:
        return self._kv.pop((namespace, key), None) is not None

    def _do_kv_keys(self, namespace: str, prefix: bytes) -> list[bytes]:
        return [key for space, key in self._kv if space == namespace and key.startswith(prefix)]

    # placement groups ----------------------------------------------------------------------------

    def _do_pg_create(
        self, pg_id: bytes, bundles: list[dict[str, float]], strategy: str, name: str, namespace: str, detached: bool
    ) -> None:
        amounts = [{key: round(value * RESOURCE_UNIT) for key, value in bundle.items()} for bundle in bundles]
        self.ledger.create_group(Group(pg_id, amounts, strategy, name, namespace))

    def _do_pg_remove(self, pg_id: bytes) -> None:
        group = self.ledger.remove_group(pg_id)
        if group is None:
            return
        self._removed_groups[pg_id] = group
        notice = Failure(ActorPlacementGroupRemoved(f"placement group {pg_id.hex()} was removed"))
        for actor in list(self._engine.actors.values()):
            if actor.lease is not None and actor.lease.group is group:
                actor.die(notice)
        self._engine.unpark()

    def _do_pg_wait(self, pg_id: bytes, timeout: float | None) -> bool:
        group = self.ledger.groups.get(pg_id)
        if group is None:
            return False
        engine = self._engine

        def stuck() -> Exception:
            return TimeoutError(f"placement group {pg_id.hex()} can never be reserved: its resources are held")

        def done() -> bool:
            return group.created or pg_id not in self.ledger.groups

        if timeout is not None and not done():
            timeout = min(timeout, 0.0) if not self.ledger.fits_group(group) else timeout
        engine.scheduler.wait_until(done, timeout, stuck)
        return group.created and pg_id in self.ledger.groups

    def _do_pg_table(self, pg_id: bytes | None) -> dict[str, Any]:
        groups = {**self._removed_groups, **self.ledger.groups}
        if pg_id is None:
            return {group_id.hex(): self._group_facts(group) for group_id, group in groups.items()}
        group = groups.get(pg_id)
        return {} if group is None else self._group_facts(group)

    def _do_pg_by_name(self, name: str, namespace: str) -> dict[str, Any]:
        for group in self.ledger.groups.values():
            if group.name == name and group.namespace == namespace:
                return self._group_facts(group)
        return {}

    def _group_facts(self, group: Group) -> dict[str, Any]:
        live = group.group_id in self.ledger.groups
        bundles = {
            index: {key: value / RESOURCE_UNIT for key, value in bundle.items()}
            for index, bundle in enumerate(group.bundles)
        }
        return {
            "placement_group_id": group.group_id.hex(),
            "name": group.name,
            "namespace": group.namespace,
            "bundles": bundles,
            "bundles_to_node_id": dict.fromkeys(bundles, self.node_id if group.created and live else ""),
            "strategy": group.strategy,
            "state": ("CREATED" if group.created else "PENDING") if live else "REMOVED",
        }

    # facts about what runs -----------------------------------------------------------------------

    def context(self) -> dict[str, Any]:
        engine = self._engine
        call = current_call.get()
        facts: dict[str, Any] = {
            "job_id": engine.job_id,
            "node_id": self.node_id,
            "worker_id": engine.process_id.hex(),
            "session_name": engine.session_name,
            "session_dir": os.path.join(tempfile.gettempdir(), "aktis", engine.session_name),
            "address": f"inline:{engine.pid}",
            "node_ip_address": "127.0.0.1",
            "runtime_env": engine.settings.runtime_env,
            "mode": "driver",
            **outside_of_calls(),
        }
        return facts if call is None else {**facts, **self._call_facts(call)}

    def _call_facts(self, call: Call) -> dict[str, Any]:
        actor = call.actor
        options = actor.options if actor else call.options
        lease, captures = self._engine._surroundings()
        return {
            "mode": "worker",
            "task_id": call.task_id.hex(),
            "task_name": call.name,
            "task_function_name": f"{actor.class_name}.{call.function_name}" if actor else call.function_name,
            "actor_id": actor.actor_id.hex() if actor else None,
            "actor_name": actor.name if actor else None,
            "placement_group_id": lease.group.group_id.hex() if lease and lease.group else None,
            "capture_child_tasks": captures,
            "resources": {name: amount / RESOURCE_UNIT for name, amount in lease.amounts.items()} if lease else {},
            "accelerator_ids": {"GPU": self.ledger.gpu_ids(lease) if lease else []},
            "runtime_env": getattr(options, "runtime_env", "") or self._engine.settings.runtime_env,
            "was_restarted": bool(actor and actor.restarts),
            "is_canceled": call.cancelled,
            "is_async": bool(actor and actor.descriptor.is_async),
        }

    def explain(self, ref: InlineRef) -> dict[str, Any]:
        call = ref._call
        if call is None:
            return {"state": "FINISHED", "sentence": "The value was stored with put()."}
        name, payload = call.name, ref._payload
        facts: dict[str, Any] = {"state": call.state, "name": name, "attempts": call.attempt + 1}
        if isinstance(payload, Failure):
            return {**facts, "sentence": f"{name} failed: {payload.text}", "error": payload.text}
        if payload is not None:
            return {**facts, "sentence": f"{name} has finished; its value is {payload.size} bytes."}
        return {**facts, **self._why_pending(call)}

    def _why_pending(self, call: Call) -> dict[str, Any]:
        name = call.name
        waiting = [ref for ref in (call.arguments.refs if call.arguments else []) if not ref.ready]
        if waiting:
            inner = self.explain(waiting[0])
            return {
                "waiting_for": [ref.hex() for ref in waiting],
                "sentence": f"{name} waits for {len(waiting)} of its arguments. {inner['sentence']}",
            }
        actor = call.actor
        if actor is not None and call.state != "RUNNING":
            ahead = actor.ahead_of(call)
            return {
                "actor_state": actor.state,
                "calls_ahead": ahead,
                "sentence": f"{name} waits for its actor, which is {actor.state}, with {ahead} calls ahead.",
            }
        if call.state == "RUNNING":
            how = (
                "a generator that nobody has asked for more" if call.stream else "it has begun, and waits for something"
            )
            return {"sentence": f"{name} is running: {how}."}
        wanted = getattr(call.options, "resources", {})
        need = {key: amount / RESOURCE_UNIT for key, amount in wanted.items()}
        holders = [actor.class_name for actor in self._engine.actors.values() if actor.lease and actor.lease.amounts]
        return {
            "resources": need,
            "held_by": holders,
            "sentence": f"{name} waits for resources {need}; available: {self._do_available_resources()}, "
            f"held by actors: {holders or 'none'}.",
        }

    # state -----------------------------------------------------------------------------------------

    def _do_state(self, kind: str, filters: Any = None, limit: int = 100) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = getattr(self, f"_list_{kind}")()
        for key, operator, value in filters or []:
            if operator not in ("=", "!="):
                raise ValueError(f"a filter's operator must be '=' or '!=', got {operator!r}")
            rows = [row for row in rows if (str(row.get(key)).lower() == str(value).lower()) == (operator == "=")]
        return rows[:limit]

    def _list_tasks(self) -> list[dict[str, Any]]:
        return [self._task_row(call) for call in self._engine.calls]

    def _task_row(self, call: Call) -> dict[str, Any]:
        actor = call.actor
        kind = (
            "NORMAL_TASK"
            if actor is None
            else "ACTOR_CREATION_TASK"
            if call.function_name == "__init__"
            else "ACTOR_TASK"
        )
        return {
            "task_id": call.task_id.hex(),
            "name": call.name,
            "state": call.state,
            "type": kind,
            "func_or_class_name": call.function_name,
            "job_id": self._engine.job_id,
            "actor_id": actor.actor_id.hex() if actor else None,
            "parent_task_id": call.parent.task_id.hex() if call.parent else None,
            "node_id": self.node_id,
            "worker_id": self._engine.process_id.hex(),
            "worker_pid": self._engine.pid,
            "attempt_number": call.attempt,
            "error_type": call.error.partition(":")[0] or None,
            "error_message": call.error or None,
            "creation_time_ms": int(call.submitted * 1000),
            "start_time_ms": int(call.started * 1000) or None,
            "end_time_ms": int(call.ended * 1000) or None,
        }

    def _list_actors(self) -> list[dict[str, Any]]:
        return [
            {
                "actor_id": actor.actor_id.hex(),
                "class_name": actor.class_name,
                "state": actor.state,
                "name": actor.name,
                "namespace": actor.namespace,
                "job_id": self._engine.job_id,
                "node_id": self.node_id,
                "pid": self._engine.pid,
                "is_detached": actor.options.detached,
                "num_restarts": actor.restarts,
                "death_cause": actor.cause.text if actor.cause else None,
            }
            for actor in self._engine.actors.values()
        ]

    def _list_objects(self) -> list[dict[str, Any]]:
        return [
            {
                "object_id": ref.hex(),
                "object_size": ref._payload.size if ref._payload is not None else -1,
                "task_status": ref._call.state if ref._call else "FINISHED",
                "reference_type": "LOCAL_REFERENCE",
                "call_site": ref._call.name if ref._call else "put",
                "pid": self._engine.pid,
                "ip": "127.0.0.1",
                "type": "DRIVER",
            }
            for ref in list(self._engine.refs.values())
        ]

    def _list_workers(self) -> list[dict[str, Any]]:
        return [
            {
                "worker_id": self._engine.process_id.hex(),
                "is_alive": True,
                "worker_type": "DRIVER",
                "node_id": self.node_id,
                "ip": "127.0.0.1",
                "pid": self._engine.pid,
                "start_time_ms": int(self.started * 1000),
            }
        ]

    def _list_nodes(self) -> list[dict[str, Any]]:
        return [
            {
                "node_id": self.node_id,
                "node_ip": "127.0.0.1",
                "is_head_node": True,
                "state": "ALIVE",
                "node_name": "127.0.0.1",
                "resources_total": self._do_cluster_resources(),
                "labels": dict(self._engine.settings.labels),
                "start_time_ms": int(self.started * 1000),
            }
        ]

    def _list_jobs(self) -> list[dict[str, Any]]:
        return [
            {
                "job_id": self._engine.job_id,
                "type": "DRIVER",
                "status": "RUNNING",
                "entrypoint": " ".join(sys.argv),
                "driver_info": {"pid": str(self._engine.pid), "node_ip_address": "127.0.0.1"},
                "start_time": int(self.started * 1000),
            }
        ]

    def _list_placement_groups(self) -> list[dict[str, Any]]:
        return list(self._do_pg_table(None).values())

    def _do_timeline(self) -> list[dict[str, Any]]:
        return [
            {
                "cat": "task",
                "name": call.name,
                "ph": "X",
                "ts": call.started * 1e6,
                "dur": (call.ended - call.started) * 1e6,
                "pid": "127.0.0.1",
                "tid": f"driver:{self._engine.pid}",
                "args": {"task_id": call.task_id.hex(), "state": call.state},
            }
            for call in self._engine.calls
            if call.started and call.ended
        ]

    def _do_stacks(self) -> list[dict[str, Any]]:
        stacks = {str(ident): "".join(traceback.format_stack(frame)) for ident, frame in sys._current_frames().items()}
        return [{"pid": self._engine.pid, "type": "DRIVER", "threads": stacks}]

    def _do_memory(self) -> dict[str, Any]:
        objects = self._list_objects()
        used = sum(max(row["object_size"], 0) for row in objects)
        return {"objects": objects, "used_bytes": used, "spilled_bytes": 0, "time": time.time()}

    def _do_metrics_address(self) -> str | None:
        return None


def _meets(value: str | None, operator: str, values: tuple[str, ...]) -> bool:
    if operator == "exists":
        return value is not None
    if operator == "does not exist":
        return value is None
    return (value in values) == (operator == "in")
