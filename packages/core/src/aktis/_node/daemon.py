"""The node daemon: one per machine.

::

    driver, worker, tool ──HELLO, demands, actors, requests──► Peer ──► Daemon ──► brains (scheduler, actor directory, ledger)
                         ◄─grants, actor states, replies──────                     │ commands
                                                    zygotes ◄── WorkerPool ◄───────┘

One thread. Messages change the brains; at the end of each round of events :meth:`Daemon._settle` has them decide and
carries the decisions out; then everything that is to be sent leaves, one frame per peer. Nothing a peer sends can end the
node: what cannot be handled closes that peer's connection.

The session lives as long as a driver is connected. Then workers are asked to leave, killed soon after, and sockets and
shared memory go.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Any

from aktis._brain.actors import Directory, State
from aktis._brain.claims import Node
from aktis._brain.resources import ResourcePool, to_floats
from aktis._brain.scheduler import Scheduler
from aktis._native import protocol as op
from aktis._native.frames import MAX_FRAME
from aktis._node.actors import ActorShell
from aktis._node.connections import Loop, Message, Peer, complain, note
from aktis._node.environments import Environments, simple
from aktis._node.files import prune_sessions, remove_session
from aktis._node.leases import Leases
from aktis._node.logs import LogTailer
from aktis._node.memory import MemoryWatch
from aktis._node.objects import Objects
from aktis._node.requests import Requests
from aktis._node.workers import Phase, Worker, WorkerPool
from aktis._systems import peer as peer_of

END_GRACE = 0.3
"""Seconds that workers have to leave by themselves when the session ends."""
FIRST_DRIVER = 60.0
"""Seconds until the first driver must have said HELLO."""
PRUNE_AFTER = 5.0
"""Seconds from the start until leavings of earlier sessions are removed: not while somebody waits for the first result."""


@dataclass(slots=True)
class Job:
    """One driver and what it told about itself. Jobs with living detached actors outlast their driver."""

    job_id: bytes
    peer: Peer | None
    info: dict[str, Any]
    namespace: str
    env: str  # canonical JSON of the runtime environment of the job
    env_vars: dict[str, str]
    started: float = field(default_factory=time)
    ended: float = 0.0


class Daemon:
    """All parts of the node, and what happens when processes come and go."""

    def __init__(self, options: dict[str, Any], zygote: socket.socket) -> None:
        self.session_name: str = options["session_name"]
        self.session_dir: str = options["session_dir"]
        self.store_dir: str = options["store_dir"]
        self.spill_dir: str = options.get("spill_dir") or ""
        self.address: str = options["address"]
        self.runtime: str = options["runtime"]
        self.node_id = os.urandom(16)
        self.labels: dict[str, str] = {"aktis.io/node-id": self.node_id.hex(), **(options.get("labels") or {})}
        self.capacity: dict[str, int] = options["resources"]
        self.cpu_count = max(1, self.capacity.get("CPU", 0) // 10_000)
        self.config: dict[str, Any] = {
            "spill_dir": self.spill_dir,
            "object_store_memory": self.capacity.get("object_store_memory", 0) // 10_000,
            "cpus": self.cpu_count,
            **(options.get("config") or {}),
        }
        self.start_limit = max(4, 4 * self.cpu_count)
        self.loop = Loop()
        self.scheduler = Scheduler()
        self.directory = Directory()
        pool = ResourcePool.of_node(self.capacity, options.get("device_ids"))
        self.scheduler.add_node(Node(self.node_id.hex(), pool, self.labels))
        self.processes: dict[bytes, Peer] = {}  # drivers and workers by process id
        self.peers: set[Peer] = set()
        self.jobs: dict[bytes, Job] = {}
        self.old_jobs: list[Job] = []
        self.worker_of: dict[int, Worker] = {}  # by lease id
        self.ending = False
        self.started = time()
        self._job_counter = 0
        self._environments: Environments | None = None
        self._env_errors: dict[str, str] = {}
        self._preparing: set[str] = set()
        self._notices: list[str] = options.get("notices") or []  # for the first driver
        self.leases = Leases(self)
        self.actors = ActorShell(self)
        self.pool = WorkerPool(self, zygote)
        self.requests = Requests(self)
        self.logs = LogTailer(self)
        self.memory = MemoryWatch(self)
        self.objects = Objects(self)
        self._handlers = {
            op.DEMAND: self.leases.on_demand,
            op.LEASE_RETURN: self.leases.on_return,
            op.BLOCKED: self.leases.on_blocked,
            op.UNBLOCKED: self.leases.on_unblocked,
            op.ACTOR_CREATE: self.actors.on_create,
            op.ACTOR_SUBSCRIBE: self.actors.on_subscribe,
            op.ACTOR_KILL: self.actors.on_kill,
            op.ACTOR_RELEASE: self.actors.on_release,
            op.ACTOR_READY: self.actors.on_ready,
            op.ACTOR_FAILED: self.actors.on_failed,
            op.ACTOR_EXITING: self.actors.on_exiting,
            op.WORKER_EXITING: self._on_worker_exiting,
            op.REQUEST: self.requests.on_request,
            op.ANSWER: self.requests.on_answer,
            op.EVENTS: self.requests.on_events,
            op.STORE_ALLOC: self.objects.on_alloc,
            op.STORE_SEALED: self.objects.on_sealed,
            op.STORE_FREED: self.objects.on_freed,
        }
        self._listener = self._listen()
        self.loop.register(self._listener.fileno(), self._on_accept)
        self.loop.after_round = self._settle
        self.loop.call_later(FIRST_DRIVER, self._expect_driver)
        self.loop.call_later(PRUNE_AFTER, lambda: prune_sessions(os.path.dirname(self.session_dir)))

    # connections -----------------------------------------------------------------------------
    def _listen(self) -> socket.socket:
        path = self.address.removeprefix("unix:")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(mask)
        listener.listen(256)
        listener.setblocking(False)
        return listener

    def _on_accept(self, _: int) -> None:
        while True:
            try:
                sock, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # out of descriptors: the peer waits, we go on
                note(f"accept failed: {error}")
                return
            _, uid = peer_of(sock)
            if uid not in (os.getuid(), 0):
                note(f"refused a connection of user {uid}")
                sock.close()
                continue
            self.peers.add(Peer(self.loop, sock, self._on_message, self._on_close))

    def _on_message(self, peer: Peer, message: Message) -> None:
        operation = message[0]
        if not peer.kind:
            if operation != op.HELLO:
                raise ValueError(f"the first message is {operation!r}, not HELLO")
            self._on_hello(peer, message)
            return
        handler = self._handlers.get(operation)
        if handler is None:
            raise ValueError(f"{operation!r} is no operation that a process sends to its node")
        handler(peer, message)

    def _on_hello(self, peer: Peer, message: Message) -> None:
        _, version, kind, process_id, pid, address, info = message
        if version != op.PROTOCOL_VERSION:
            self._refuse(peer, f"This session speaks protocol {op.PROTOCOL_VERSION}, the {kind} speaks {version}.")
            return
        if self.ending:
            self._refuse(peer, "The session is ending.")
            return
        if kind not in ("driver", "worker", "tool"):
            raise ValueError(f"{kind!r} is no kind of peer")
        peer.process_id, peer.pid, peer.address, peer.info = process_id, pid, address, info or {}
        peer.decoder.limit = MAX_FRAME
        if kind == "driver":
            self._welcome_driver(peer)
        elif kind == "worker":
            self._welcome_worker(peer)
        else:
            peer.kind = kind
            peer.send(op.WELCOME, self._welcome(b"", ""))

    def _refuse(self, peer: Peer, text: str) -> None:
        peer.send(op.REFUSED, text)
        peer.flush()
        peer.close()

    def _welcome_driver(self, peer: Peer) -> None:
        info = peer.info
        self._job_counter += 1
        job_id = self._job_counter.to_bytes(4, "big")
        env = str(info.get("runtime_env") or "")
        job = Job(job_id, peer, info, str(info.get("namespace") or ""), env, dict(info.get("env") or {}))
        self.jobs[job_id] = job
        peer.kind = "driver"
        peer.job_id = job_id
        self.processes[peer.process_id] = peer
        peer.send(op.WELCOME, self._welcome(job_id, job.namespace))
        while self._notices:
            self.warn(job_id, self._notices.pop())
        if self.prepare(env) == "":
            self.pool.prestart(job_id, env, 1)

    def _welcome_worker(self, peer: Peer) -> None:
        worker_id = peer.info.get("worker_id")
        worker = self.pool.workers.get(worker_id) if isinstance(worker_id, bytes) else None
        if worker is None or worker.peer is not None or worker.phase not in (Phase.FORKING, Phase.STARTING):
            self._refuse(peer, "This node expects no such worker.")
            return
        peer.kind = "worker"
        peer.job_id = worker.job_id
        self.processes[peer.process_id] = peer
        job = self.jobs.get(worker.job_id)
        peer.send(op.WELCOME, self._welcome(worker.job_id, job.namespace if job is not None else ""))
        self.pool.hello(peer, worker)

    def _welcome(self, job_id: bytes, namespace: str) -> dict[str, Any]:
        return {
            "node_id": self.node_id,
            "job_id": job_id,
            "session_name": self.session_name,
            "session_dir": self.session_dir,
            "store_dir": self.store_dir,
            "spill_dir": self.spill_dir,
            "address": self.address,
            "node_pid": os.getpid(),
            "resources": to_floats(self.capacity),
            "labels": self.labels,
            "namespace": namespace,
            "config": self.config,
        }

    def _on_close(self, peer: Peer) -> None:
        self.peers.discard(peer)
        if not peer.kind:
            return
        self.requests.peer_gone(peer)
        if peer.kind == "tool":
            return
        self.processes.pop(peer.process_id, None)
        self.objects.process_gone(peer.process_id)
        if peer.kind == "worker" and peer.worker is not None:
            self.pool.connection_lost(peer.worker)
        self.leases.process_gone(peer.process_id)
        self.directory.process_gone(peer.process_id)
        if peer.kind == "driver":
            self._driver_left(peer)

    def _driver_left(self, peer: Peer) -> None:
        job = self.jobs[peer.job_id]
        job.peer = None
        job.ended = time()
        self.directory.job_gone(job.job_id)
        self.scheduler.job_gone(job.job_id)
        self._settle()
        self.pool.end_job(job.job_id)
        self.logs.job_gone(job.job_id)
        self.old_jobs = [*self.old_jobs[-99:], job]
        if not any(
            actor.spec.job_id == job.job_id and actor.state is not State.DEAD
            for actor in self.directory.actors.values()
        ):
            del self.jobs[job.job_id]
        if not any(other.peer is not None for other in self.jobs.values()):
            self.end("The last driver left.")

    def _on_worker_exiting(self, peer: Peer, message: Message) -> None:
        if peer.worker is not None:
            peer.worker.exit_text = str(message[1]) or "The worker left."
            peer.worker.retiring = True

    # environments ----------------------------------------------------------------------------
    def job_env(self, job_id: bytes) -> str:
        """The runtime environment of calls that have none of their own."""
        job = self.jobs.get(job_id)
        return job.env if job is not None else ""

    def prepare(self, env: str) -> str | None:
        """ "" when the environment is ready, the reason when it cannot be, None while it is being prepared."""
        if env in self.pool.prepared:
            return ""
        if env in self._env_errors:
            return self._env_errors.pop(env)  # the next attempt prepares again
        if env in self._preparing:
            return None
        try:
            ready = simple(env)
            if ready is not None:
                self.pool.prepared[env] = ready
                return ""
            if self._environments is None:
                from aktis._runtime_env.manager import EnvManager

                self._environments = EnvManager(self.session_dir)
                self.loop.register(self._environments.fileno(), lambda _: self._environments_ready())
            self._environments.start(env)
        except Exception as error:
            complain()
            return f"The runtime environment {env} cannot be prepared: {error!r}."
        self._preparing.add(env)
        return None

    def acquire_env(self, env: str) -> None:
        """A worker of this environment is being started."""
        if self._environments is not None and simple(env) is None:
            self._environments.acquire(env)

    def release_env(self, env: str) -> None:
        """A worker of this environment is gone."""
        if self._environments is not None and simple(env) is None:
            self._environments.release(env)

    def _environments_ready(self) -> None:
        assert self._environments is not None
        for env, outcome in self._environments.poll():
            self._preparing.discard(env)
            if isinstance(outcome, BaseException):
                self._env_errors[env] = str(outcome)
            else:
                self.pool.prepared[env] = outcome
            self.leases.env_settled(env)
            self.actors.env_settled(env)
            self._env_errors.pop(env, None)

    # telling people --------------------------------------------------------------------------
    def warn(self, job_id: bytes, text: str, level: str = "warning") -> None:
        """A notice for the user of a job."""
        note(text)
        job = self.jobs.get(job_id)
        if job is not None and job.peer is not None:
            job.peer.send(op.NOTICE, level, text)

    def warn_all(self, text: str, level: str = "warning") -> None:
        """A notice for all users of the session, or for the first that comes."""
        note(text)
        if not self.jobs:
            self._notices.append(text)
        for job in self.jobs.values():
            if job.peer is not None:
                job.peer.send(op.NOTICE, level, text)

    # life ------------------------------------------------------------------------------------
    def _settle(self) -> None:
        """Let the brains decide until nothing follows from it."""
        for _ in range(1000):
            self.leases.decide()
            if not self.actors.carry_out():
                break
        self.objects.settle()

    def _expect_driver(self) -> None:
        if self._job_counter == 0:
            self.end("No driver came.")

    def end(self, text: str) -> None:
        """End the session."""
        if self.ending:
            return
        self.ending = True
        note(f"the session ends: {text}")
        for worker in list(self.pool.workers.values()):
            worker.retiring = True
            if worker.peer is not None:
                worker.peer.send(op.EXIT, text)
        self._deadline = monotonic() + END_GRACE
        self._await_workers()

    def end_on_sigterm(self) -> None:
        """Have SIGTERM end the session, from within the loop."""
        self._signal_read, signal_write = os.pipe()
        for fd in (self._signal_read, signal_write):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.set_wakeup_fd(signal_write, warn_on_full_buffer=False)
        self.loop.register(self._signal_read, self._on_signal)

    def _on_signal(self, _: int) -> None:
        if signal.SIGTERM in os.read(self._signal_read, 4096):
            self.end("The node daemon was told to end (SIGTERM).")

    def _await_workers(self) -> None:
        if not self.pool.workers or monotonic() >= self._deadline:
            self.loop.running = False
        else:
            self.loop.call_later(0.02, self._await_workers)

    def close(self) -> None:
        """Kill what is left and remove what other processes would find."""
        self.loop.flush()
        for worker in list(self.pool.workers.values()):
            self.pool.kill(worker)
        if self._environments is not None:
            self._environments.close()
        self._listener.close()
        self.objects.close()
        self.pool.close()
        remove_session(self.session_dir, self.store_dir, self.spill_dir)
        prune_sessions(os.path.dirname(self.session_dir))


def main(options: dict[str, Any], zygote: socket.socket) -> int:
    """Run the node. ``options`` come from ``aktis._node.launch``; returns the exit code."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ready_fd = options["ready_fd"]
    try:
        daemon = Daemon(options, zygote)
    except Exception as error:
        complain()
        os.write(ready_fd, json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
        return 1
    daemon.end_on_sigterm()
    os.write(ready_fd, json.dumps({"pid": os.getpid(), "node_id": daemon.node_id.hex()}).encode())
    os.close(ready_fd)
    try:
        daemon.loop.run()
    finally:
        daemon.close()
    return 0
