"""What the state API shows: rows about workers, actors, jobs, nodes, placement groups, tasks and objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from aktis._brain.resources import to_floats
from aktis._node import usage
from aktis._node.connections import Peer

if TYPE_CHECKING:
    from aktis._node.daemon import Daemon

KINDS = ("tasks", "actors", "objects", "workers", "nodes", "jobs", "placement_groups")


class State:
    """Reads the node's tables."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Rows of a kind that the node knows by itself."""
        if kind not in KINDS:
            raise ValueError(f"There is no state of {kind!r}; there are {', '.join(KINDS)}.")
        return list(getattr(self, f"_{kind}")())

    def select(self, rows: list[dict[str, Any]], filters: list[Any] | None, limit: int | None) -> list[dict[str, Any]]:
        """Apply filters ``(key, "=" or "!=", value)`` and the limit."""
        for key, operator, value in filters or ():
            if operator not in ("=", "!="):
                raise ValueError(f"A filter compares with '=' or '!=', not {operator!r}.")
            rows = [row for row in rows if (str(row.get(key)).lower() == str(value).lower()) == (operator == "=")]
        return rows if limit is None else rows[:limit]

    def merge(self, kind: str, answers: list[tuple[Peer, Any]]) -> list[dict[str, Any]]:
        """Rows that processes told, and for tasks what the event log remembers of finished ones."""
        rows: dict[Any, dict[str, Any]] = {}
        if kind == "tasks":
            for pid, row in self._events("task"):
                known = rows.setdefault(row.get("task_id"), {"pid": pid})
                known.update(row)
        for peer, value in answers:
            for row in value or ():
                key = row.get("task_id") if kind == "tasks" else (row.get("object_id"), peer.pid)
                known = rows.setdefault(key, {})
                if known.get("state") in ("FINISHED", "FAILED") and row.get("state") not in ("FINISHED", "FAILED"):
                    row = {**row, "state": known["state"]}
                known.update(row)
                known.setdefault("pid", peer.pid)
        return list(rows.values())

    def timeline(self, answers: list[tuple[Peer, Any]]) -> list[dict[str, Any]]:
        """Chrome trace events: the spans that processes told about."""
        spans: list[dict[str, Any]] = [row for _, row in self._events("span")]
        for _, value in answers:
            spans += value or ()
        if not spans:
            for pid, row in self._events("task"):
                if row.get("start_time") and row.get("end_time"):
                    spans.append(
                        {
                            "name": row.get("name", "task"),
                            "cat": "task",
                            "ph": "X",
                            "ts": row["start_time"] * 1e6,
                            "dur": (row["end_time"] - row["start_time"]) * 1e6,
                            "pid": self.daemon.node_id.hex()[:8],
                            "tid": row.get("worker_pid", pid),
                            "args": {key: row[key] for key in ("task_id", "state") if key in row},
                        }
                    )
        return sorted(spans, key=lambda span: span.get("ts", 0))

    def stacks(self, peer: Peer, value: Any) -> dict[str, Any]:
        """The answer of one process."""
        name = peer.worker.name if peer.worker is not None else ""
        return {"kind": peer.kind, "pid": peer.pid, "name": name, "threads": value}

    def memory(self, answers: list[tuple[Peer, Any]]) -> dict[str, Any]:
        """Store, machine and processes."""
        told = {peer.pid: value for peer, value in answers}
        used, limit = self.daemon.memory.usage()
        return {
            "store": self.daemon.objects.stats(),
            "used": used,
            "limit": limit,
            "processes": [
                {
                    "pid": peer.pid,
                    "kind": peer.kind,
                    "name": peer.worker.name if peer.worker is not None else "",
                    "unshared": usage.unshared(peer.pid),
                    "objects": told.get(peer.pid),
                }
                for peer in self.daemon.processes.values()
            ],
        }

    def _events(self, kind: str) -> Iterable[tuple[int, dict[str, Any]]]:
        for pid, event in self.daemon.requests.events:
            if event[0] == kind and len(event) > 1 and isinstance(event[1], dict):
                yield pid, event[1]

    def _workers(self) -> Iterable[dict[str, Any]]:
        for worker in self.daemon.pool.workers.values():
            yield {
                "worker_id": worker.worker_id.hex(),
                "pid": worker.pid,
                "state": worker.phase.name,
                "is_alive": True,
                "worker_type": "WORKER",
                "job_id": worker.job_id.hex(),
                "node_id": self.daemon.node_id.hex(),
                "name": worker.name,
                "actor_id": worker.actor_id.hex() if worker.actor_id is not None else None,
                "blocked": worker.blocks > 0,
                "unshared": usage.unshared(worker.pid) if worker.pid else 0,
                "stdout": worker.stdout_path,
                "stderr": worker.stderr_path,
                "runtime_env": worker.env,
            }
        for peer in self.daemon.processes.values():
            if peer.kind == "driver":
                yield {
                    "worker_id": peer.process_id.hex(),
                    "pid": peer.pid,
                    "state": "ALIVE",
                    "is_alive": True,
                    "worker_type": "DRIVER",
                    "job_id": peer.job_id.hex(),
                    "node_id": self.daemon.node_id.hex(),
                }

    def _actors(self) -> Iterable[dict[str, Any]]:
        for actor in self.daemon.directory.actors.values():
            spec = actor.spec
            yield {
                "actor_id": spec.actor_id.hex(),
                "class_name": spec.class_name,
                "state": actor.state.value,
                "name": spec.name,
                "ray_namespace": spec.namespace,
                "namespace": spec.namespace,
                "job_id": spec.job_id.hex(),
                "node_id": self.daemon.node_id.hex() if actor.worker_id else None,
                "pid": actor.pid,
                "is_detached": spec.detached,
                "num_restarts": actor.restarts,
                "restarts_left": actor.restarts_left,
                "required_resources": to_floats(spec.held_resources),
                "placement_group_id": spec.strategy[1].hex() if spec.strategy[0] == "PG" else None,
                "death_cause": actor.cause.text if actor.cause is not None else None,
                "repr_name": actor.label,
            }

    def _nodes(self) -> Iterable[dict[str, Any]]:
        for node in self.daemon.scheduler.nodes.values():
            yield {
                "node_id": node.node_id,
                "state": "ALIVE",
                "is_head_node": True,
                "resources_total": to_floats(node.pool.capacity),
                "resources_available": to_floats(node.pool.free),
                "labels": dict(node.labels),
                "start_time_ms": int(self.daemon.started * 1000),
            }

    def _jobs(self) -> Iterable[dict[str, Any]]:
        jobs = [*self.daemon.old_jobs, *(job for job in self.daemon.jobs.values() if job not in self.daemon.old_jobs)]
        for job in jobs:
            yield {
                "job_id": job.job_id.hex(),
                "status": "RUNNING" if job.peer is not None else "SUCCEEDED",
                "is_dead": job.peer is None,
                "driver_pid": job.info.get("pid") or (job.peer.pid if job.peer is not None else None),
                "entrypoint": job.info.get("entrypoint", ""),
                "namespace": job.namespace,
                "runtime_env": job.env,
                "start_time": job.started,
                "end_time": job.ended,
            }

    def _placement_groups(self) -> Iterable[dict[str, Any]]:
        for group in self.daemon.scheduler.groups.groups.values():
            yield group.table()

    def _tasks(self) -> Iterable[dict[str, Any]]:
        return self.merge("tasks", [])

    def _objects(self) -> Iterable[dict[str, Any]]:
        return []
