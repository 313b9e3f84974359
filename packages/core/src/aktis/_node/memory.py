"""Watches memory while work runs, and kills whom the policy names."""

from __future__ import annotations

import os
from time import monotonic
from typing import TYPE_CHECKING, Any

from aktis import _config
from aktis._brain import memory
from aktis._brain.memory import Candidate
from aktis._native.protocol import DeathCause
from aktis._node import usage
from aktis._node.workers import Phase, Worker

if TYPE_CHECKING:
    from aktis._node.daemon import Daemon

SETTLE = 1.0
"""Seconds after a kill until the next: freed pages take a moment to show."""


class MemoryWatch:
    """The memory monitor.

    ``AKTIS_MEMORY_LIMIT`` limits what the session's processes use, unshared; without it the limit is that of the machine (or
    control group) for everybody. Work is killed when ``AKTIS_MEMORY_THRESHOLD`` of the limit is in use.
    """

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        limit = daemon.config.get("memory_limit") or _config.read("MEMORY_LIMIT")
        self.own_limit = int(limit) if limit else None
        self.threshold: float = _config.read("MEMORY_THRESHOLD")
        self.period: float = _config.read("MEMORY_MONITOR_INTERVAL")
        self._timer: Any = None
        self._quiet_until = 0.0

    def work_began(self) -> None:
        """A worker got work: watch, and look for its output."""
        if self._timer is None and self.period > 0:
            self._timer = self.daemon.loop.call_later(self.period, self._look)
        self.daemon.logs.work_began()

    def usage(self) -> tuple[int, int]:
        """(used, limit) in bytes."""
        if self.own_limit is not None:
            pids = [worker.pid for worker in self.daemon.pool.workers.values() if worker.pid]
            pids += [peer.pid for peer in self.daemon.processes.values() if peer.kind == "driver"]
            return sum(map(usage.unshared, [*pids, os.getpid()])), int(self.own_limit * self.threshold)
        used, total = usage.machine()
        return used, int(total * self.threshold)

    def _look(self) -> None:
        self._timer = None
        if not self.daemon.worker_of:
            return
        self._timer = self.daemon.loop.call_later(self.period, self._look)
        now = monotonic()
        if now < self._quiet_until:
            return
        used, limit = self.usage()
        if used <= limit:
            return
        workers = {worker.pid: worker for worker in self.daemon.worker_of.values() if worker.cause is None}
        candidates = [self._candidate(worker) for worker in workers.values()]
        victim = memory.choose(used, limit, candidates)
        if victim is None:
            return
        text = memory.describe(used, limit, victim, candidates)
        self._quiet_until = now + SETTLE
        worker = workers[victim.pid]
        self.daemon.warn(worker.job_id, text)
        self.daemon.pool.kill(worker, DeathCause("oom", text, pid=victim.pid))

    def _candidate(self, worker: Worker) -> Candidate:
        lease = worker.lease
        actor = self.daemon.directory.actors.get(worker.actor_id) if worker.actor_id is not None else None
        retriable = actor.restarts_left != 0 if actor is not None else lease is not None and lease.retriable
        kind = "actor" if worker.phase is Phase.ACTOR else "task"
        started = lease.started if lease is not None else worker.started
        return Candidate(worker.pid, worker.name, kind, retriable, started, usage.unshared(worker.pid))
