"""What this process can tell: the running task's facts, why a reference is not ready, its part of the state API."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

from aktis._engine import outside_of_calls
from aktis._native import protocol as op
from aktis._native import values
from aktis._native.actor_client import ActorClient, MethodBinding, Phase
from aktis._native.calls import Call
from aktis._native.refs import FAILED, PAYLOAD, PENDING, VALUE, BorrowedRef, NativeRef
from aktis._native.tasks import TaskBinding

if TYPE_CHECKING:
    from aktis._native.engine import NativeEngine


def context(engine: NativeEngine) -> dict[str, Any]:
    """Facts about what runs in this thread; see ``_engine.Engine.context``."""
    facts = engine.facts
    result: dict[str, Any] = {
        "job_id": engine.job_id.hex(),
        "node_id": facts["node_id"].hex(),
        "worker_id": engine.facts["worker_id"].hex(),
        **outside_of_calls(),
        "accelerator_ids": {},
        "runtime_env": facts.get("runtime_env", ""),
        "session_name": facts["session_name"],
        "session_dir": facts["session_dir"],
        "mode": "driver",
        "address": facts["address"],
        "node_ip_address": "127.0.0.1",
    }
    executor = engine.executor
    if executor is None:
        return result
    from aktis._native.executor import current

    call = current.get() or executor.main_call
    _lease, resources, accelerators, group, _env = executor.lease
    result.update(mode="worker", resources={name: amount / 10_000 for name, amount in resources.items()})
    result["accelerator_ids"] = accelerators
    if call is not None:
        named = call.options.get("name") if isinstance(call.options, dict) else None
        result.update(
            task_id=call.task_id.hex(),
            task_name=named or call.name,
            task_function_name=call.name,
            is_canceled=call.cancelled,
        )
    host = executor.host
    if host is not None:
        group = host.spec.options.get("group")
        held = host.spec.held_resources
        result.update(
            actor_id=host.actor_id.hex(),
            actor_name=host.spec.name or None,
            was_restarted=host.epoch > 0,
            is_async=host.is_async,
            resources={name: amount / 10_000 for name, amount in held.items()},
            accelerator_ids=facts.get("actor_accelerators", {}),
        )
    if group:
        result.update(
            placement_group_id=group[0].hex() if isinstance(group[0], bytes) else group[0],
            capture_child_tasks=bool(group[1]),
        )
    return result


def location(engine: NativeEngine, ref: Any) -> dict[str, Any]:
    payload = ref.value
    stored = ref.state == PAYLOAD and payload[0] == op.SHARED
    return {
        "node_ids": [engine.facts["node_id"].hex()] if stored else [],
        "object_size": payload[3] if stored else None,
        "did_spill": False,
    }


# explain ---------------------------------------------------------------------------------------


def explain(engine: NativeEngine, ref: Any, deepest: int = 20) -> dict[str, Any]:
    """Why ``ref`` is not ready, or what happened to it. Follows ``deepest`` arguments that wait for arguments."""
    if ref.state in (VALUE, PAYLOAD):
        where = "in shared memory" if ref.state == PAYLOAD and ref.value[0] == op.SHARED else "here"
        return {"state": "FINISHED", "sentence": f"{ref!r} is ready: its value is {where}."}
    if ref.state == FAILED:
        error = values.to_exception(ref.value)
        chain: list[str] = []
        cause: BaseException | None = error
        while cause is not None and len(chain) < 20:
            chain.append(f"{type(cause).__name__}: {str(cause).splitlines()[0] if str(cause) else ''}")
            cause = getattr(cause, "cause", None) or cause.__cause__
        return {"state": "FAILED", "sentence": f"{ref!r} failed: {chain[0]}", "chain": chain, "error": error}
    if type(ref) is BorrowedRef:
        return {
            "state": "PENDING",
            "reason": "borrowed",
            "owner": ref.owner_address,
            "sentence": f"{ref!r} is owned by the process at {ref.owner_address}, which has not said that it is ready.",
        }
    record: Any = ref.spec if isinstance(ref.spec, Call) else ref
    binding = record.spec
    waiting = [other for _, other in getattr(record, "arguments", ()) if other.state == PENDING]
    if waiting:
        deeper = explain(engine, waiting[0], deepest - 1) if deepest else {"sentence": "And so on."}
        more = f" (and {len(waiting) - 1} more)" if len(waiting) > 1 else ""
        name = binding.name if binding is not None else "the call"
        return {
            "state": "PENDING_ARGS_AVAIL",
            "reason": "arguments",
            "task": name,
            "waiting_for": waiting,
            "argument": deeper,
            "sentence": f"{name} waits for its argument {waiting[0]!r}{more}. {deeper['sentence']}",
        }
    if isinstance(binding, TaskBinding):
        return _explain_task(engine, record, binding)
    if isinstance(binding, MethodBinding):
        return _explain_method(record, binding)
    return {"state": "PENDING", "reason": "unknown", "sentence": f"{ref!r} is pending."}


def _explain_task(engine: NativeEngine, record: Any, binding: TaskBinding) -> dict[str, Any]:
    pool = binding.pool
    for lease in list(pool.leases):
        if record.counter in lease.pending:
            ahead = list(lease.pending).index(record.counter)
            if ahead:
                sentence = f"{binding.name} is at worker {lease.worker_id.hex()[:8]}, behind {ahead} other calls."
            else:
                sentence = f"{binding.name} is running on worker {lease.worker_id.hex()[:8]}."
            return {"state": "RUNNING" if not ahead else "SUBMITTED_TO_WORKER", "reason": "running" if not ahead else "queued",
                    "task": binding.name, "worker_id": lease.worker_id.hex(), "ahead": ahead, "sentence": sentence}  # fmt: skip
    try:
        ahead = pool.queue.index(record)
    except ValueError:
        ahead = 0
    resources = {name: amount / 10_000 for name, amount in pool.spec.resources.items()}
    result: dict[str, Any] = {
        "state": "PENDING_NODE_ASSIGNMENT", "reason": "resources", "task": binding.name, "needs": resources, "ahead": ahead,
        "workers": len(pool.leases),
    }  # fmt: skip
    needs = ", ".join(f"{amount:g} {name}" for name, amount in resources.items()) or "no resources"
    sentence = (
        f"{binding.name} waits for a worker ({needs}); {ahead} calls are ahead of it, "
        f"{len(pool.leases)} workers run such calls."
    )
    try:
        told = engine.request("explain", key_id=pool.key_id, process_id=engine.core.process_id)
    except Exception:
        told = None
    if isinstance(told, dict):
        result["scheduler"] = told
        sentence += f" {told.get('sentence', '')}"
    result["sentence"] = sentence.strip()
    return result


def _explain_method(record: Any, binding: MethodBinding) -> dict[str, Any]:
    client: ActorClient = binding.client
    base = {
        "state": "PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY",
        "task": binding.name,
        "actor_id": client.actor_id.hex(),
        "actor_state": client.phase.value,
    }
    if record.counter in client.pending:
        ahead = list(client.pending).index(record.counter)
        text = f"{binding.name} was sent to its actor; {ahead} calls of this process are ahead of it."
        return {**base, "state": "RUNNING", "reason": "running", "ahead": ahead, "sentence": text}
    state = client.view.state if client.view is not None else "PENDING_CREATION"
    ahead = client.queue.index(record) if record in client.queue else 0
    words = {
        Phase.PENDING: "has not started yet",
        Phase.WAITING: "is restarting",
        Phase.CONNECTED: "is alive, but an earlier call still waits for its arguments",
        Phase.DEAD: "is dead",
    }[client.phase]
    text = f"{binding.name} waits: its actor {words} ({state}); {ahead} calls are ahead of it."
    return {**base, "reason": "actor", "actor_state": state, "ahead": ahead, "sentence": text}


def say_waiting(engine: NativeEngine, ref: NativeRef, seconds: float) -> None:
    """Log why a get() still waits."""
    import logging

    logging.getLogger("aktis").warning("get() has waited %.0f s. %s", seconds, explain(engine, ref)["sentence"])


# the state API's questions to this process -----------------------------------------------------------


def query(engine: NativeEngine, kind: str, arguments: dict[str, Any]) -> Any:
    if kind == "tasks":
        return _tasks(engine)
    if kind in ("objects", "memory"):
        return _objects(engine)
    if kind == "stacks":
        return stacks()
    if kind == "may_exit":  # an idle worker that is too many: would anybody miss its objects?
        return not engine.core.exposed and not engine.core.lent
    if kind == "events":
        if engine.executor is not None:
            engine.executor.log.push()  # on the same stream, so it arrives before this answer
        return []
    return {"error": f"unknown query {kind!r}"}


def _tasks(engine: NativeEngine) -> list[dict[str, Any]]:
    rows = []
    job = engine.job_id.hex()
    for pool in list(engine.tasks.pools.values()):
        for record in list(pool.queue):
            rows.append(_task_row(record, "PENDING_NODE_ASSIGNMENT", "NORMAL_TASK", job, None))
        for lease in list(pool.leases):
            for index, record in enumerate(list(lease.pending.values())):
                state = "SUBMITTED_TO_WORKER" if index else "RUNNING"
                rows.append(_task_row(record, state, "NORMAL_TASK", job, lease.worker_id.hex()))
    for client in list(engine.actors.clients.values()):
        for record in list(client.queue):
            rows.append(_task_row(record, "PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY", "ACTOR_TASK", job, None))
        for record in list(client.pending.values()):
            rows.append(_task_row(record, "RUNNING", "ACTOR_TASK", job, None))
    return rows


def _task_row(record: Any, state: str, kind: str, job: str, worker: str | None) -> dict[str, Any]:
    binding = record.spec
    task_id = (record.core.process_id + record.counter.to_bytes(8, "big")).hex()
    client = getattr(binding, "client", None)
    return {
        "task_id": task_id,
        "name": getattr(binding, "name", "?"),
        "state": state,
        "type": kind,
        "job_id": job,
        "worker_id": worker,
        "actor_id": client.actor_id.hex() if isinstance(client, ActorClient) else None,
    }


def _objects(engine: NativeEngine) -> list[dict[str, Any]]:
    rows = []
    core = engine.core
    for ref in [*core.exposed.values(), *core.borrowed.values()]:
        payload = ref.value
        shared = ref.state == PAYLOAD and payload[0] == op.SHARED
        rows.append(
            {
                "object_id": ref.hex(),
                "pid": os.getpid(),
                "process": engine.core.kind,
                "state": ("PENDING", "READY", "READY", "FAILED")[ref.state],
                "reference": "BORROWED" if type(ref) is BorrowedRef else "OWNED",
                "borrowers": sum(core.lent[ref.binary()][1].values()) if ref.binary() in core.lent else 0,
                "object_size": payload[3] if shared else None,
                "where": "shared memory" if shared else "inline",
            }
        )
    return rows


def stacks() -> dict[str, Any]:
    """The stacks of the threads of this process, the main thread first, innermost frames last.

    The deputy that answers this question is left out: it would only show how it does so.
    """
    main = threading.main_thread().ident
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sorted(sys._current_frames().items(), key=lambda item: item[0] != main)
    shown = [item for item in frames if item[0] == main or item[0] != threading.get_ident()]
    return {
        "pid": os.getpid(),
        "threads": [
            {"name": names.get(ident, str(ident)), "stack": "".join(traceback.format_stack(frame))}
            for ident, frame in shown
        ],
    }
