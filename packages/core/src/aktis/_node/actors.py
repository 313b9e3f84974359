"""Carries out what the actor directory decided."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from aktis._brain import actors
from aktis._brain.actors import Actor
from aktis._brain.strategies import check
from aktis._native import protocol as op
from aktis._native.protocol import ActorSpec, DeathCause
from aktis._node.connections import Message, Peer, complain

if TYPE_CHECKING:
    from aktis._node.daemon import Daemon

NEWS_DELAY = 0.1  # seconds


class ActorShell:
    """Between the actor directory, the scheduler, the workers and everybody who holds handles."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.directory = daemon.directory
        self._parked: list[Actor] = []  # their environments are being prepared
        self._deadline: Any = None

    # from processes --------------------------------------------------------------------------
    def on_create(self, peer: Peer, message: Message) -> None:
        """ACTOR_CREATE request, ActorSpec. Refused when the name is taken; with get_if_exists the creator then looks it up."""
        _, request, spec = message
        if not isinstance(spec, ActorSpec):
            raise TypeError(f"ACTOR_CREATE carries an ActorSpec, not {type(spec).__name__}")
        check(spec.placement_resources, spec.strategy)
        check(spec.held_resources, spec.strategy)
        spec.env = spec.env or self.daemon.job_env(spec.job_id)
        try:
            actor, created = self.directory.create(spec, peer.process_id, monotonic())
        except ValueError as error:
            peer.send(op.REPLY, request, False, str(error))
            return
        if created:
            peer.send(op.REPLY, request, True, None)
        else:
            peer.send(op.REPLY, request, False, f"An actor named {spec.name!r} exists: {actor.spec.actor_id.hex()}.")

    def on_subscribe(self, peer: Peer, message: Message) -> None:
        """ACTOR_SUBSCRIBE actor_id."""
        actor_id = message[1]
        if actor_id in self.directory.actors:
            self._tell_state(peer, actor_id)
        else:  # it may have been created a moment ago, by a process whose message we have not read yet
            self.daemon.loop.call_later(NEWS_DELAY, lambda: self._tell_state(peer, actor_id))

    def _tell_state(self, peer: Peer, actor_id: bytes) -> None:
        if not peer.closed:
            peer.send(op.ACTOR_STATE, actor_id, self.directory.subscribe(actor_id, peer.process_id))

    def on_kill(self, peer: Peer, message: Message) -> None:
        """ACTOR_KILL actor_id, no_restart."""
        self.directory.kill(message[1], bool(message[2]))

    def on_release(self, peer: Peer, message: Message) -> None:
        """ACTOR_RELEASE actor_id: the owner's last strong handle is gone."""
        actor = self.directory.actors.get(message[1])
        if actor is not None and actor.spec.owner == peer.process_id:
            self.directory.release(message[1], monotonic())

    def on_ready(self, peer: Peer, message: Message) -> None:
        """ACTOR_READY actor_id, epoch[, label]."""
        if peer.worker is not None:
            label = message[3] if len(message) > 3 else ""
            peer.worker.name = label or peer.worker.name.rpartition(".")[2]  # what C code prints has no other name
            self.directory.ready(message[1], message[2], peer.worker.worker_id, monotonic(), label)

    def on_failed(self, peer: Peer, message: Message) -> None:
        """ACTOR_FAILED actor_id, epoch, error payload."""
        _, actor_id, epoch, error = message
        if peer.worker is not None:
            data = error[1] if isinstance(error, tuple) else error
            cause = DeathCause("init_failed", "The actor's constructor raised.", pid=peer.pid, error=data)
            self.directory.constructor_failed(actor_id, epoch, peer.worker.worker_id, cause)

    def on_exiting(self, peer: Peer, message: Message) -> None:
        """ACTOR_EXITING actor_id, epoch, text. The worker ends by itself; it is killed if it does not within 30 s."""
        _, actor_id, epoch, text = message
        if peer.worker is not None:
            peer.worker.exit_text = text or "The actor exited."
            self.directory.exiting(actor_id, epoch, peer.worker.worker_id, text)
            worker = peer.worker
            self.daemon.loop.call_later(actors.GRACE, lambda: self.daemon.pool.kill(worker))

    # decisions -------------------------------------------------------------------------------
    def carry_out(self) -> bool:
        """Do what the directory asks for. True when there was anything."""
        commands = self.directory.take()
        for command in commands:
            try:
                self._carry_out(command)
            except (
                Exception
            ):  # those behind it are of other actors, or tell somebody of a death: they must not get lost
                complain()
        return bool(commands)

    def _carry_out(self, command: actors.Command) -> None:
        daemon = self.daemon
        if isinstance(command, actors.Place):
            self._place(command.record)
        elif isinstance(command, actors.Unplace):
            daemon.scheduler.withdraw_actor(command.actor_id)
            self._parked = [actor for actor in self._parked if actor.spec.actor_id != command.actor_id]
            for lease in list(daemon.scheduler.leases.values()):
                if lease.actor_id == command.actor_id and lease.lease_id not in daemon.worker_of:
                    daemon.pool.forget_lease(lease)
                    daemon.scheduler.release(lease.lease_id)
        elif isinstance(command, actors.Start):
            self._start(command.record)
        elif isinstance(command, actors.Terminate):
            worker = daemon.pool.workers.get(command.worker_id)
            if worker is not None and worker.peer is not None:
                worker.peer.send(op.ACTOR_TERMINATE, command.actor_id)
            self._watch_deadlines()
        elif isinstance(command, actors.KillWorker):
            worker = daemon.pool.workers.get(command.worker_id)
            if worker is not None:
                daemon.pool.kill(worker, DeathCause("killed", command.text))
        elif isinstance(command, actors.Publish):
            for process_id in command.subscribers:
                peer = daemon.processes.get(process_id)
                if peer is not None:
                    peer.send(op.ACTOR_STATE, command.actor_id, command.view)

    def _place(self, actor: Actor) -> None:
        spec = actor.spec
        state = self.daemon.prepare(spec.env)
        if state is None:
            self._parked.append(actor)
        elif state == "":
            self.daemon.scheduler.place_actor(
                spec.actor_id, spec.job_id, spec.owner, spec.placement_resources, spec.strategy, spec.class_name,
                spec.env, monotonic(),
            )  # fmt: skip
        else:
            self.directory.unplaceable(spec.actor_id, DeathCause("env_failed", state))

    def env_settled(self, env: str) -> None:
        """An environment is ready, or will never be."""
        parked, self._parked = self._parked, []
        for actor in parked:
            if actor.spec.env == env:
                self._place(actor)
            else:
                self._parked.append(actor)

    def _start(self, actor: Actor) -> None:
        worker = self.daemon.pool.workers.get(actor.worker_id)
        if worker is None or worker.lease is None or worker.peer is None:
            return  # it died, or was killed, after it had come: what that means for the actor is decided there
        lease = worker.lease
        spec = actor.spec
        self.daemon.scheduler.shrink(lease.lease_id, spec.held_resources)
        worker.peer.send(op.ACTOR_START, spec, actor.epoch, spec.held_resources, lease.allocation.device_ids())

    def _watch_deadlines(self) -> None:
        soonest = self.directory.expire(monotonic())
        if self._deadline is not None:
            self._deadline.cancelled = True
            self._deadline = None
        if soonest is not None:
            self._deadline = self.daemon.loop.call_later(soonest - monotonic(), self._watch_deadlines)


def describe(actor: Actor) -> dict[str, Any]:
    """What a process needs to make a handle."""
    spec = actor.spec
    return {
        "actor_id": spec.actor_id,
        "handle": spec.handle,
        "class_name": spec.class_name,
        "name": spec.name,
        "namespace": spec.namespace,
        "owner": spec.owner,
        "job_id": spec.job_id,
        "detached": spec.detached,
        "options": spec.options,
        "view": actor.view(),
    }
