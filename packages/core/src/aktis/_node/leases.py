"""Carries out what the scheduler decided: leases for submitters and places for actors."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from aktis._brain import claims
from aktis._brain.claims import Lease
from aktis._brain.resources import words
from aktis._brain.strategies import check
from aktis._native import protocol as op
from aktis._native.protocol import DeathCause, LeaseSpec
from aktis._node.connections import Message, Peer, complain

if TYPE_CHECKING:
    from aktis._node.daemon import Daemon
    from aktis._node.workers import Worker


class Leases:
    """Between the scheduler, the worker pool and the submitters."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.scheduler = daemon.scheduler
        self._specs: dict[tuple[bytes, Any], LeaseSpec] = {}
        self._parked: dict[tuple[bytes, Any], int] = {}  # demands whose environment is being prepared
        self._wake: Any = None

    # from processes --------------------------------------------------------------------------
    def on_demand(self, peer: Peer, message: Message) -> None:
        """DEMAND key_id, LeaseSpec | None, count: how many more workers a submitter can use."""
        _, key_id, spec, count = message
        key = (peer.process_id, key_id)
        if spec is not None:
            if not isinstance(spec, LeaseSpec):
                raise TypeError(f"DEMAND carries a LeaseSpec, not {type(spec).__name__}")
            check(spec.resources, spec.strategy)
            if spec.job_id != peer.job_id:
                raise ValueError(f"a demand for job {spec.job_id!r} from a process of job {peer.job_id!r}")
            spec.env = spec.env or self.daemon.job_env(spec.job_id)
            self._specs[key] = spec
        known = self._specs.get(key)
        if known is None:
            peer.send(op.DEMAND_FAILED, key_id, "bad_request", f"Demand for key {key_id!r} came without its LeaseSpec.")
            return
        self._demand(peer.process_id, key_id, known, int(count))

    def _demand(self, process_id: bytes, key_id: Any, spec: LeaseSpec, count: int) -> None:
        key = (process_id, key_id)
        state = self.daemon.prepare(spec.env)
        if state == "":
            self._parked.pop(key, None)
            self.scheduler.set_demand(process_id, key_id, spec, count, monotonic())
        elif state is None:
            self._parked[key] = count
        elif count > 0:
            self._tell_failure(process_id, key_id, "env_failed", state)

    def env_settled(self, env: str) -> None:
        """An environment is ready, or will never be: demands that waited for it go on."""
        for (process_id, key_id), count in list(self._parked.items()):
            spec = self._specs[process_id, key_id]
            if spec.env == env:
                del self._parked[process_id, key_id]
                self._demand(process_id, key_id, spec, count)

    def on_return(self, peer: Peer, message: Message) -> None:
        """LEASE_RETURN lease_id, reusable."""
        _, lease_id, reusable = message
        lease = self.scheduler.leases.get(lease_id)
        if lease is None or lease.process_id != peer.process_id or lease.actor_id is not None:
            return  # it died or was taken meanwhile
        worker = self.daemon.worker_of.pop(lease_id, None)
        self.scheduler.release(lease_id)
        if worker is not None:
            self.daemon.pool.give_back(worker, bool(reusable))

    def on_blocked(self, peer: Peer, message: Message) -> None:
        """BLOCKED: the worker's task waits in get."""
        worker = peer.worker
        if worker is not None:
            worker.blocks += 1
            if worker.blocks == 1 and worker.lease is not None:
                self.scheduler.block(worker.lease.lease_id)

    def on_unblocked(self, peer: Peer, message: Message) -> None:
        """UNBLOCKED: it goes on."""
        worker = peer.worker
        if worker is not None and worker.blocks:
            worker.blocks -= 1
            if worker.blocks == 0 and worker.lease is not None:
                self.scheduler.unblock(worker.lease.lease_id)

    # decisions -------------------------------------------------------------------------------
    def decide(self) -> None:
        """Have the scheduler decide, and do it."""
        now = monotonic()
        for command in self.scheduler.decide(now):
            try:
                self._carry_out(command)
            except Exception:  # the other commands are of other claims
                complain()
        wake = self.scheduler.wake_at(now)
        if wake is not None and self._wake is None:
            self._wake = self.daemon.loop.call_later(wake - now, self._turn_ended)

    def _turn_ended(self) -> None:
        self._wake = None  # deciding follows at the end of the round

    def _carry_out(self, command: claims.Command) -> None:
        daemon = self.daemon
        if isinstance(command, claims.Granted):
            daemon.pool.serve(command.lease)
        elif isinstance(command, claims.RecallLease):
            holder = daemon.processes.get(command.lease.process_id)
            if holder is not None and command.lease.lease_id in daemon.worker_of:
                holder.send(op.RECALL, command.lease.lease_id, command.must)  # if not yet delivered: right after that
        elif isinstance(command, claims.DemandFailed):
            self._tell_failure(command.process_id, command.key_id, command.kind, command.text)
        elif isinstance(command, claims.ActorUnplaceable):
            daemon.directory.unplaceable(command.actor_id, DeathCause(command.kind, command.text))
        elif isinstance(command, claims.EndLease):
            self._end_lease(command.lease, DeathCause(command.kind, command.text))
        elif isinstance(command, claims.GroupCreated):
            daemon.requests.group_changed(command.group_id)
        elif isinstance(command, claims.Warn):
            daemon.warn(command.job_id, command.text)

    def _end_lease(self, lease: Lease, cause: DeathCause) -> None:
        worker = self.daemon.worker_of.get(lease.lease_id)
        if worker is not None:
            self.daemon.pool.kill(worker, cause)
        else:
            self.daemon.pool.forget_lease(lease)
            self._lost(lease, cause)

    def _tell_failure(self, process_id: bytes, key_id: Any, kind: str, text: str) -> None:
        peer = self.daemon.processes.get(process_id)
        if peer is not None:
            peer.send(op.DEMAND_FAILED, key_id, kind, text)

    # from the pool ---------------------------------------------------------------------------
    def deliver(self, lease: Lease, worker: Worker) -> bool:
        """A worker is there for a lease. False when nobody wants it any more."""
        daemon = self.daemon
        if lease.lease_id not in self.scheduler.leases:
            return False
        assert worker.peer is not None
        if lease.actor_id is not None:
            if not daemon.directory.placed(lease.actor_id, worker.worker_id, worker.peer.address, worker.pid):
                self.scheduler.release(lease.lease_id)
                return False
            worker.actor_id = lease.actor_id
        else:
            holder = daemon.processes.get(lease.process_id)
            if holder is None:
                self.scheduler.release(lease.lease_id)
                return False
            holder.send(
                op.GRANT, lease.claim_id[2], lease.lease_id, worker.worker_id, worker.peer.address,
                lease.resources, lease.allocation.device_ids(),
            )  # fmt: skip
            if lease.recalled:
                holder.send(op.RECALL, lease.lease_id, lease.recalled == "must")
        daemon.worker_of[lease.lease_id] = worker
        daemon.memory.work_began()
        return True

    def worker_died(self, worker: Worker, lease: Lease, cause: DeathCause) -> None:
        """The worker of a lease is dead."""
        self.daemon.worker_of.pop(lease.lease_id, None)
        self.scheduler.release(lease.lease_id)
        if worker.actor_id is not None:
            self.daemon.directory.worker_died(worker.worker_id, cause)
        else:
            holder = self.daemon.processes.get(lease.process_id)
            if holder is not None:
                holder.send(op.LEASE_LOST, lease.lease_id, cause)

    def start_failed(self, lease: Lease, cause: DeathCause) -> None:
        """No worker can be started for a lease."""
        self.scheduler.release(lease.lease_id)
        self._lost(lease, cause)

    def _lost(self, lease: Lease, cause: DeathCause) -> None:
        if lease.actor_id is not None:
            self.daemon.directory.unplaceable(lease.actor_id, cause)
        elif lease.claim_id in self.scheduler.claims:
            self.scheduler.fail_demand(lease.claim_id[1], lease.claim_id[2], cause.kind, cause.text)

    def process_gone(self, process_id: bytes) -> None:
        """A submitter is gone: nobody waits for what its leased workers do."""
        for lease in self.scheduler.process_gone(process_id):
            worker = self.daemon.worker_of.get(lease.lease_id)
            if worker is None:
                self.daemon.pool.forget_lease(lease)
                self.scheduler.release(lease.lease_id)
            else:
                self.daemon.pool.kill(worker, DeathCause("owner_died", "The process that leased the worker is gone."))
        for key in [key for key in self._specs if key[0] == process_id]:
            del self._specs[key]
            self._parked.pop(key, None)

    # explaining ------------------------------------------------------------------------------
    def explain(self, claim_id: claims.ClaimId) -> dict[str, Any]:
        """Why a claim waits: data and a sentence."""
        from aktis._brain.explain import explain

        state = explain(self.scheduler, claim_id)
        key = claim_id[1:]
        if key in self._parked:
            return {"state": "PREPARING_ENVIRONMENT", "sentence": "Its runtime environment is being prepared."}
        holders = state.get("holders", [])
        for holder in holders:
            worker = self.daemon.worker_of.get(holder["lease_id"])
            holder["pid"] = worker.pid if worker is not None else None
        if state["state"] == "UNKNOWN" and claim_id[0] == "key":
            spec = self._specs.get((claim_id[1], claim_id[2]))
            if spec is not None:
                state["sentence"] = f"It wants no worker at the moment (a worker for it needs {words(spec.resources)})."
        return state
