"""Worker processes: started when a lease needs one, reused, trimmed when idle, buried when dead.

::

    FORKING ──pid──► STARTING ──HELLO──► IDLE ◄──► LEASED
                                           └─────► ACTOR            any state ──exit status──► DEAD

A worker belongs to one job and one runtime environment for life.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from aktis import _config
from aktis._brain.claims import Lease
from aktis._native import protocol as op
from aktis._native.protocol import DeathCause
from aktis._node.connections import Peer, note
from aktis._node.environments import Prepared
from aktis._node.worker_config import WorkerConfig
from aktis._node.zygotes import ZygoteLink, spawn_zygote

if TYPE_CHECKING:
    from aktis._node.daemon import Daemon

START_TIMEOUT = 60.0  # seconds from fork to HELLO; a preloading zygote may need long before it forks
START_ATTEMPTS = 3  # workers in a row that die before HELLO until there is no point in another
START_PAUSE = 0.2  # seconds between such attempts: what lacks (processes, memory) may be there again
SPARE_AFTER = 0.02  # seconds from the first lease of a job to the next worker: the first call shall not wait for that
EXIT_GRACE = 0.5  # seconds between EXIT and SIGKILL
TAIL_BYTES = 4096  # of the error log, for messages


class Phase(Enum):
    """Where a worker is in its life."""

    FORKING = 1  # asked for, no pid yet
    STARTING = 2  # runs, has not said HELLO
    IDLE = 3  # waits for a lease
    LEASED = 4  # serves a submitter
    ACTOR = 5  # is an actor, until it ends
    DEAD = 6


@dataclass(slots=True, eq=False)
class Worker:
    """One worker process."""

    worker_id: bytes
    job_id: bytes
    env: str
    zygote: ZygoteLink
    stdout_path: str
    stderr_path: str
    phase: Phase = Phase.FORKING
    pid: int = 0
    peer: Peer | None = None
    lease: Lease | None = None
    actor_id: bytes | None = None
    name: str = ""  # what it runs, for log prefixes
    cause: DeathCause | None = None  # why we end it, if we do
    exit_text: str = ""  # what it said when it left by itself
    retiring: bool = False  # gets no more work
    blocks: int = 0
    asked_to_leave: bool = False
    started: float = field(default_factory=monotonic)
    idle_since: float = 0.0
    spare: bool = False  # started because of an actor; nobody has needed it yet

    @property
    def process_id(self) -> bytes:
        """Its id as an owner of objects."""
        return self.worker_id[:8]


Key = tuple[bytes, str]
"""(job id, runtime environment)"""


class WorkerPool:
    """All workers of this node."""

    def __init__(self, daemon: Daemon, first: socket.socket) -> None:
        self.daemon = daemon
        self.first = ZygoteLink(daemon.loop, first, os.getppid(), self.on_zygote)
        self.idle_timeout: float = _config.read("IDLE_WORKER_TIMEOUT")
        self.spare_timeout: float = _config.read("SPARE_WORKER_TIMEOUT")
        self.most: int | None = _config.read("MAX_WORKERS")
        self.workers: dict[bytes, Worker] = {}
        self.by_pid: dict[int, Worker] = {}
        self.prepared: dict[str, Prepared] = {}
        self._zygotes: dict[tuple[Any, ...], ZygoteLink] = {}
        self._idle: dict[Key, list[Worker]] = {}
        self._waiting: dict[Key, deque[Lease]] = {}
        self._failures: dict[Key, int] = {}
        self._trim_planned = False

    # giving out ------------------------------------------------------------------------------
    def serve(self, lease: Lease) -> None:
        """Find or start a worker for a lease, and deliver the lease."""
        key = (lease.job_id, lease.env)
        idle = self._idle.get(key)
        while idle:
            worker = idle.pop()  # the one that was used last: its caches are warm
            if worker.peer is not None and not worker.retiring:
                self._deliver(lease, worker)
                return
        self._waiting.setdefault(key, deque()).append(lease)
        self._start_enough(key)

    def prestart(self, job_id: bytes, env: str, count: int) -> None:
        """Have workers ready for a job that has just begun."""
        for _ in range(count):
            self._fork((job_id, env))

    def give_back(self, worker: Worker, reusable: bool) -> None:
        """The worker's lease was returned."""
        worker.lease = None
        worker.name = ""
        if worker.blocks:
            worker.blocks = 0
        if not reusable:
            worker.retiring = True
            self.ask_to_leave(worker, "The worker has served its last call.", 5.0)
            return
        worker.phase = Phase.IDLE
        if worker.retiring or worker.peer is None:  # it is dead or about to be, only its exit status has not come yet
            self._start_enough((worker.job_id, worker.env))
        else:
            self._next_lease(worker)

    def forget_lease(self, lease: Lease) -> None:
        """A lease that waits for its worker is not wanted any more."""
        waiting = self._waiting.get((lease.job_id, lease.env))
        if waiting is not None and lease in waiting:
            waiting.remove(lease)

    # births ----------------------------------------------------------------------------------
    def _start_enough(self, key: Key) -> None:
        waiting = len(self._waiting.get(key, ()))
        if not waiting:
            return
        starting = [worker for worker in self.workers.values() if worker.phase in (Phase.FORKING, Phase.STARTING)]
        ours = sum((worker.job_id, worker.env) == key for worker in starting)
        room = self.daemon.start_limit - len(starting)
        if self.most is not None:
            room = min(room, self.most - len(self.workers))
        for _ in range(min(waiting - ours, room)):
            if not self._fork(key):
                return

    def _fork(self, key: Key, spare: bool = False) -> bool:
        job_id, env = key
        daemon = self.daemon
        job = daemon.jobs.get(job_id)
        if job is None:
            return False
        prepared = self.prepared[env]
        try:
            zygote = self._zygote_for(prepared)
        except OSError as error:
            self._start_failed(key, f"The interpreter {prepared.python_executable} cannot be started: {error}.")
            return False
        worker_id = os.urandom(16)
        name = worker_id[:8].hex()
        logs = f"{daemon.session_dir}/logs/worker-{name}"
        worker = Worker(worker_id, job_id, env, zygote, f"{logs}.out", f"{logs}.err", spare=spare)
        self.workers[worker_id] = worker
        zygote.jobs.add(job_id)
        daemon.acquire_env(env)
        general = not hasattr(prepared, "setup_hook")
        zygote.fork(
            worker_id,
            WorkerConfig(
                session_name=daemon.session_name,
                session_dir=daemon.session_dir,
                store_dir=daemon.store_dir,
                node_address=daemon.address,
                node_id=daemon.node_id,
                worker_id=worker_id,
                process_id=worker_id[:8],
                job_id=job_id,
                namespace=job.namespace,
                runtime_env=env,
                sys_path=tuple(job.info.get("sys_path") or ()),
                cwd=job.info.get("cwd") or "",
                hooks=tuple(tuple(hook) for hook in job.info.get("hooks") or ()),
                env_vars={**job.env_vars, **(prepared.env_vars if general else {})},
                prepared=None if general else prepared,
                stdout_path=worker.stdout_path,
                stderr_path=worker.stderr_path,
                limits=daemon.config,
            ),
        )
        daemon.loop.call_later(START_TIMEOUT, lambda: self._check_start(worker))
        return True

    def _zygote_for(self, prepared: Prepared) -> ZygoteLink:
        python = prepared.python_executable or sys.executable
        preload = tuple(prepared.preload)
        if python == sys.executable and not preload and not self.first.closed:
            return self.first
        # Variables may matter at import, so a zygote that preloads belongs to one set of them.
        key = (python, preload, tuple(sorted(prepared.env_vars.items())) if preload else ())
        link = self._zygotes.get(key)
        if link is None or link.closed:
            environ = {**os.environ, **(prepared.env_vars if preload else {})}
            log_path = f"{self.daemon.session_dir}/logs/node.log"
            link = spawn_zygote(
                self.daemon.loop, self.on_zygote, python, preload, self.daemon.runtime, environ, log_path
            )
            self._zygotes[key] = link
        return link

    def _check_start(self, worker: Worker) -> None:
        if worker.phase is Phase.STARTING:
            self.kill(worker, DeathCause("crashed", f"The worker did not report within {START_TIMEOUT:g} s."))

    def hello(self, peer: Peer, worker: Worker) -> None:
        """A worker has connected."""
        worker.peer = peer
        worker.pid = worker.pid or peer.pid
        worker.phase = Phase.IDLE
        peer.worker = worker
        key = (worker.job_id, worker.env)
        self._failures.pop(key, None)
        if worker.retiring or worker.job_id not in self.daemon.jobs:
            self.ask_to_leave(worker, "The job has ended.")
            return
        self._next_lease(worker)
        for other in list(self._waiting):
            self._start_enough(other)

    def _next_lease(self, worker: Worker) -> None:
        key = (worker.job_id, worker.env)
        waiting = self._waiting.get(key)
        if waiting:
            self._deliver(waiting.popleft(), worker)
        else:
            worker.idle_since = monotonic()
            self._idle.setdefault(key, []).append(worker)
            if worker.spare:
                self.daemon.loop.call_later(self.spare_timeout, lambda: self._dismiss(worker))
            self._plan_trim()

    def _deliver(self, lease: Lease, worker: Worker) -> None:
        worker.lease = lease
        worker.spare = False
        worker.name = lease.name
        worker.phase = Phase.ACTOR if lease.actor_id is not None else Phase.LEASED
        if not self.daemon.leases.deliver(lease, worker):
            worker.lease = None
            worker.phase = Phase.IDLE
            self._next_lease(worker)
        elif worker.phase is Phase.ACTOR:
            self._have_spare((worker.job_id, worker.env), of_actor=True)
        elif len(self.workers) < self.daemon.cpu_count:
            self.daemon.loop.call_later(SPARE_AFTER, lambda: self._have_spare((worker.job_id, worker.env)))

    def _have_spare(self, key: Key, of_actor: bool = False) -> None:
        """Where there is one actor, or one busy worker, there often comes another: have a worker ready for it."""
        if self._idle.get(key) or self._waiting.get(key) or self.daemon.ending:
            return
        if not any(worker.phase in (Phase.FORKING, Phase.STARTING) for worker in self._of(key)):
            self._fork(key, of_actor)

    def _dismiss(self, worker: Worker) -> None:
        """No further actor came. It has run nothing, so it owns nothing that others need."""
        if worker.spare and worker.phase is Phase.IDLE:
            self.ask_to_leave(worker, "It was started ahead, and nothing came.", 5.0)

    def _of(self, key: Key) -> list[Worker]:
        return [worker for worker in self.workers.values() if (worker.job_id, worker.env) == key]

    # deaths ----------------------------------------------------------------------------------
    def on_zygote(self, link: ZygoteLink, message: tuple[Any, ...]) -> None:
        """News from a zygote."""
        kind = message[0]
        if kind == "forked":
            worker = self.workers.get(message[1])
            if worker is not None:
                worker.pid = message[2]
                self.by_pid[worker.pid] = worker
                if worker.phase is Phase.FORKING:
                    worker.phase = Phase.STARTING
                if worker.cause is not None:
                    _signal_group(worker.pid)
        elif kind == "fork_failed":
            worker = self.workers.get(message[1])
            if worker is not None:
                worker.cause = DeathCause("crashed", message[2])
                self._died(worker, None)
        elif kind == "exited":
            worker = self.by_pid.get(message[1])
            if worker is not None and worker.zygote is link:
                self._died(worker, message[2])
        elif kind == "notice":
            self.daemon.warn_all(message[2], message[1])
        elif kind == "closed":
            note(f"zygote {link.pid} is gone")
            self._zygote_died(link)

    def _zygote_died(self, link: ZygoteLink) -> None:
        """Its workers die with it. For those that were being started it was one failure, not one for each."""
        ours = [worker for worker in self.workers.values() if worker.zygote is link]
        coming = {(one.job_id, one.env): one for one in ours if one.phase in (Phase.FORKING, Phase.STARTING)}
        for worker in ours:
            if worker.pid:
                _signal_group(worker.pid)
            self._died(worker, None, alone=False)
        for key, worker in coming.items():
            self._failed_at_start(key, self._cause_of_death(worker, None))

    def connection_lost(self, worker: Worker) -> None:
        """The worker's connection ended. Normally its exit status follows at once."""
        worker.peer = None
        self._leave_idle(worker)
        if worker.phase is not Phase.DEAD:
            worker.retiring = True

            def check() -> None:
                if worker.phase is not Phase.DEAD and worker.pid:
                    _signal_group(worker.pid)

            self.daemon.loop.call_later(1.0, check)

    def kill(self, worker: Worker, cause: DeathCause | None = None) -> None:
        """SIGKILL, for the worker and all that it started."""
        worker.retiring = True
        self._leave_idle(worker)
        if worker.cause is None:
            worker.cause = cause or DeathCause("killed", "The worker was killed.")
        if worker.pid and worker.phase is not Phase.DEAD:
            _signal_group(worker.pid)

    def ask_to_leave(self, worker: Worker, text: str, grace: float = EXIT_GRACE) -> None:
        """EXIT, and SIGKILL if it does not go."""
        worker.retiring = True
        self._leave_idle(worker)
        if worker.asked_to_leave:
            return
        worker.asked_to_leave = True
        if not worker.exit_text:
            worker.exit_text = text
        if worker.peer is not None:
            worker.peer.send(op.EXIT, text)

        def insist() -> None:
            if worker.phase is not Phase.DEAD:
                self.kill(worker, DeathCause("exited", text))

        self.daemon.loop.call_later(grace, insist)

    def end_job(self, job_id: bytes) -> None:
        """The job is over: its workers go, those of detached actors excepted."""
        for key in [key for key in self._waiting if key[0] == job_id]:
            for lease in self._waiting[key].copy():
                if lease.actor_id is None:
                    self._waiting[key].remove(lease)
        for worker in list(self.workers.values()):
            if worker.job_id == job_id and worker.phase is not Phase.ACTOR:
                self.ask_to_leave(worker, "The job has ended.")

    def close(self) -> None:
        """Let all zygotes go; they take with them what still lives."""
        for link in [*self._zygotes.values(), self.first]:
            link.close()

    def _died(self, worker: Worker, status: int | None, alone: bool = True) -> None:
        if worker.phase is Phase.DEAD:
            return
        if worker.peer is not None:
            worker.peer.drain()
            if worker.peer is not None:
                worker.peer.close()
        before = worker.phase
        worker.phase = Phase.DEAD
        self._leave_idle(worker)
        del self.workers[worker.worker_id]
        self.by_pid.pop(worker.pid, None)
        cause = self._cause_of_death(worker, status)
        self.daemon.logs.worker_gone(worker)
        lease = worker.lease
        if lease is not None:
            self.daemon.leases.worker_died(worker, lease, cause)
        key = (worker.job_id, worker.env)
        self.daemon.release_env(worker.env)
        if before in (Phase.FORKING, Phase.STARTING) and not worker.asked_to_leave:
            if alone:
                self._failed_at_start(key, cause)
        else:
            for other in list(self._waiting):
                self._start_enough(other)
        self._close_unused_zygotes()

    def _failed_at_start(self, key: Key, cause: DeathCause) -> None:
        """Try again, unless that is what we have done several times."""
        self._failures[key] = failures = self._failures.get(key, 0) + 1
        if failures >= START_ATTEMPTS:
            text = f"{START_ATTEMPTS} workers in a row died while they started. {cause.text}"
            self._start_failed(key, text, cause.log_tail)
        else:
            self.daemon.loop.call_later(START_PAUSE * failures, partial(self._start_enough, key))

    def _close_unused_zygotes(self) -> None:
        """Zygotes of environments hold memory; those of jobs that are over go."""
        jobs = {job.job_id for job in self.daemon.jobs.values() if job.peer is not None}
        for key, link in list(self._zygotes.items()):
            if not (link.jobs & jobs) and not any(worker.zygote is link for worker in self.workers.values()):
                del self._zygotes[key]
                link.close()

    def _start_failed(self, key: Key, text: str, log_tail: str = "") -> None:
        self._failures.pop(key, None)
        waiting = self._waiting.pop(key, deque())
        kind = "env_failed" if key[1] else "unschedulable"
        cause = DeathCause(kind, text if not log_tail else f"{text}\n{log_tail}", log_tail=log_tail)
        for lease in waiting:
            self.daemon.leases.start_failed(lease, cause)

    def _cause_of_death(self, worker: Worker, status: int | None) -> DeathCause:
        cause = worker.cause
        code = os.waitstatus_to_exitcode(status) if status is not None else None
        who = f"The worker (pid {worker.pid})"
        if cause is None:
            if worker.exit_text:
                cause = DeathCause("exited", worker.exit_text)
            elif code is None:
                cause = DeathCause("crashed", f"{who} is gone; its exit status is unknown.")
            elif code < 0:
                hint = ", perhaps by the kernel for lack of memory" if code == -signal.SIGKILL else ""
                cause = DeathCause("crashed", f"{who} was killed by signal {-code} ({_signal_name(-code)}{hint}).")
            else:
                cause = DeathCause("crashed", f"{who} exited with code {code}.")
        cause.pid = worker.pid
        if code is not None:
            cause.exit_code, cause.signal = (code, None) if code >= 0 else (None, -code)
        if cause.kind != "exited":
            cause.log_tail = tail_of(worker.stderr_path)
        return cause

    # trimming --------------------------------------------------------------------------------
    def _leave_idle(self, worker: Worker) -> None:
        idle = self._idle.get((worker.job_id, worker.env))
        if idle is not None and worker in idle:
            idle.remove(worker)

    def _plan_trim(self) -> None:
        if not self._trim_planned and self._surplus():
            self._trim_planned = True
            self.daemon.loop.call_later(self.idle_timeout, self._trim)

    def _surplus(self) -> int:
        return sum(len(idle) for idle in self._idle.values()) - int(self.daemon.cpu_count)

    def _trim(self) -> None:
        """Ask idle workers that are too many whether they may go: they may own objects that others need."""
        self._trim_planned = False
        now = monotonic()
        idle = sorted((worker for workers in self._idle.values() for worker in workers), key=lambda one: one.idle_since)
        owners = {lease.process_id for lease in self.daemon.scheduler.leases.values()}
        surplus = self._surplus()
        for worker in idle[: max(0, surplus)]:
            if now - worker.idle_since < self.idle_timeout * 0.9 or worker.process_id in owners or worker.peer is None:
                continue
            self.daemon.requests.ask(worker.peer, "may_exit", {}, 5.0, partial(self._may_exit, worker))
        if surplus > 0:
            self._plan_trim()

    def _may_exit(self, worker: Worker, answered: bool, allowed: Any) -> None:
        if allowed is True and worker.phase is Phase.IDLE and self._surplus() > 0:
            self.ask_to_leave(worker, "The worker was idle.", 5.0)


def tail_of(path: str, limit: int = TAIL_BYTES, lines: int = 20) -> str:
    """The last lines of a log file."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit))
            text = file.read(limit).decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _signal_group(pid: int) -> None:
    for send in (os.killpg, os.kill):
        try:
            send(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
