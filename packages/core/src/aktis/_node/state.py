"""What the state API shows: rows about workers, actors, jobs, nodes, placement groups, tasks and objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from aktis._brain.resources import to_floats
from aktis._native.call_log import row_of
from aktis._node import usage
from aktis._node.connections import Peer

if TYPE_CHECKING:
    from aktis._node.daemon import Daemon

KINDS = ("actors", "workers", "nodes", "jobs", "placement_groups")
"""What the node knows by itself; tasks and objects are known to the processes."""


class State:
    """Reads the node's tables."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Rows of a kind that the node knows by itself."""
        if kind not in KINDS:
            raise ValueError(f"There is no state of {kind!r}; there are tasks, objects, {', '.join(KINDS)}.")
        return list(getattr(self, f"_{kind}")())

    def select(self, rows: list[dict[str, Any]], filters: list[Any] | None, limit: int | None) -> list[dict[str, Any]]:
        """Apply filters ``(key, "=" or "!=", value)`` and the limit."""
        for key, operator, value in filters or ():
            if operator not in ("=", "!="):
                raise ValueError(f"A filter compares with '=' or '!=', not {operator!r}.")
            rows = [row for row in rows if (str(row.get(key)).lower() == str(value).lower()) == (operator == "=")]
        return rows if limit is None else rows[:limit]

    def tasks(self, answers: list[tuple[Peer, Any]]) -> list[dict[str, Any]]:
        """One row per task: what its owner and its executor say, and what is remembered of finished ones."""
        rows: dict[Any, dict[str, Any]] = {}
        for row in self._finished(answers):
            known = rows.setdefault(row["task_id"], row)
            if known is not row:
                final = known if known.get("state") in ("FINISHED", "FAILED") else row
                known.update({**row, "state": final.get("state")})
        return list(rows.values())

    def objects(self, answers: list[tuple[Peer, Any]]) -> list[dict[str, Any]]:
        """Rows of owners and borrowers, then what only the store knows."""
        rows = [{"pid": peer.pid, **row} for peer, value in answers for row in value or ()]
        told = {row.get("object_id") for row in rows}
        return rows + [row for row in self.daemon.objects.rows() if row.get("object_id") not in told]

    def timeline(self, answers: list[tuple[Peer, Any]]) -> list[dict[str, Any]]:
        """Chrome trace events: one span per call, one row per process."""
        spans: list[dict[str, Any]] = []
        pids: dict[int, str] = {}
        for row in self._finished(answers):
            if row.get("start_time") is None or row.get("end_time") is None:
                continue
            pids[row["pid"]] = row.get("actor_id") or ""
            spans.append(
                {
                    "name": row.get("name") or "task",
                    "cat": "actor" if row.get("actor_id") else "task",
                    "ph": "X",
                    "ts": row["start_time"] * 1e6,
                    "dur": (row["end_time"] - row["start_time"]) * 1e6,
                    "pid": "node",
                    "tid": row["pid"],
                    "args": {key: row[key] for key in ("task_id", "state", "worker_id", "job_id") if row.get(key)},
                }
            )
        names = [
            {"name": "thread_name", "ph": "M", "pid": "node", "tid": pid, "args": {"name": f"worker {pid}"}}
            for pid in sorted(pids)
        ]
        return names + sorted(spans, key=lambda span: span["ts"])

    def stacks(self, answers: list[tuple[Peer, Any]]) -> list[dict[str, Any]]:
        """The threads of all processes that answered."""
        return [
            {
                "kind": peer.kind,
                "name": peer.worker.name if peer.worker is not None else "",
                **(value if isinstance(value, dict) else {"threads": value}),
                "pid": peer.pid,
            }
            for peer, value in answers
        ]

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

    def _finished(self, answers: list[tuple[Peer, Any]]) -> Iterable[dict[str, Any]]:
        """Rows about tasks: from processes, and from events of processes that may be gone."""
        for pid, event in self.daemon.requests.events:
            if event[0] == "call":
                yield row_of(event)
            elif event[0] == "task" and isinstance(event[1], dict) and "task_id" in event[1]:
                yield {"pid": pid, **event[1]}
        for peer, value in answers:
            for row in value or ():
                if "task_id" in row:
                    yield {"pid": peer.pid, **row}

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
