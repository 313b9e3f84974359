"""The actor directory: who is alive where, under which name, and what happens when somebody dies.

::

    PENDING_CREATION ──placed, constructor done──► ALIVE ──worker died, restarts left──► RESTARTING ──constructor done──► ALIVE
           │                                         │                                       │
           └────────────── killed, failed, owner gone, exited, no restarts left ─────────────┴──► DEAD

Events are method calls; commands collect in an outbox that the shell takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from aktis._native.protocol import ActorSpec, ActorView, DeathCause

GRACE = 30.0
"""Seconds that an actor has to finish its queued calls after its owner let go of it."""

KEEP_DEAD = 1000
"""Dead actors that are remembered (without their constructor arguments), for the state API and late subscribers."""


class State(str, Enum):
    """States of an actor, by the names that users see."""

    PENDING_CREATION = "PENDING_CREATION"  # waits for resources, a worker or its constructor
    ALIVE = "ALIVE"  # serves calls
    RESTARTING = "RESTARTING"  # its worker died, a new one is on the way
    DEAD = "DEAD"  # for ever


@dataclass(slots=True)
class Place:
    """Ask the scheduler for a place."""

    record: Actor


@dataclass(slots=True)
class Unplace:
    """The actor needs no place any more."""

    actor_id: bytes


@dataclass(slots=True)
class Start:
    """Tell the worker to become the actor."""

    record: Actor


@dataclass(slots=True)
class Terminate:
    """Tell the worker to finish what is queued and leave."""

    actor_id: bytes
    worker_id: bytes


@dataclass(slots=True)
class KillWorker:
    """End the worker at once."""

    actor_id: bytes
    worker_id: bytes
    text: str


@dataclass(slots=True)
class Publish:
    """Tell subscribers the actor's new state."""

    actor_id: bytes
    view: ActorView
    subscribers: tuple[bytes, ...]


Command = Place | Unplace | Start | Terminate | KillWorker | Publish


@dataclass(slots=True, eq=False)
class Actor:
    """One actor."""

    spec: ActorSpec
    state: State = State.PENDING_CREATION
    epoch: int = 0
    restarts_left: int = 0
    restarts: int = 0
    worker_id: bytes = b""
    address: str = ""
    pid: int = 0
    started: bool = False  # the worker has been told to become the actor
    released: bool = False
    deadline: float | None = None  # of a graceful end
    cause: DeathCause | None = None
    subscribers: dict[bytes, None] = field(default_factory=dict)
    created: float = 0.0
    label: str = ""  # repr of the instance, when it has one of its own

    def view(self) -> ActorView:
        """What handle holders are told."""
        alive = self.state is State.ALIVE
        return ActorView(
            self.state.value, self.address if alive else "", self.epoch, self.worker_id, self.cause, self.restarts_left
        )


class NameTaken(ValueError):
    """Another living actor has this name in this namespace."""


class Directory:
    """All actors of the cluster."""

    def __init__(self) -> None:
        self.actors: dict[bytes, Actor] = {}
        self.names: dict[tuple[str, str], bytes] = {}
        self._by_worker: dict[bytes, bytes] = {}
        self._dead: dict[bytes, None] = {}
        self._ending: dict[bytes, None] = {}
        self.outbox: list[Command] = []

    # births ----------------------------------------------------------------------------------
    def create(self, spec: ActorSpec, creator: bytes, now: float) -> tuple[Actor, bool]:
        """Register an actor; (actor, whether it is new). With ``get_if_exists`` the first of several creators wins."""
        key = (spec.namespace, spec.name)
        if spec.name and key in self.names:
            existing = self.actors[self.names[key]]
            if spec.options.get("get_if_exists"):
                return existing, False
            raise NameTaken(
                f"An actor named {spec.name!r} exists in namespace {spec.namespace!r} (state {existing.state.value})."
            )
        known = self.actors.get(spec.actor_id)
        if known is not None:
            raise ValueError(f"Actor id {spec.actor_id.hex()} is in use.")
        actor = Actor(spec, restarts_left=spec.max_restarts, created=now)
        actor.subscribers[creator] = None
        self.actors[spec.actor_id] = actor
        if spec.name:
            self.names[key] = spec.actor_id
        self.outbox.append(Place(actor))
        self._publish(actor)
        return actor, True

    def placed(self, actor_id: bytes, worker_id: bytes, address: str, pid: int) -> bool:
        """A worker is there for the actor. False when the actor does not want it any more."""
        actor = self.actors.get(actor_id)
        if actor is None or actor.state not in (State.PENDING_CREATION, State.RESTARTING) or actor.worker_id:
            return False
        actor.worker_id, actor.address, actor.pid, actor.started = worker_id, address, pid, True
        self._by_worker[worker_id] = actor_id
        self.outbox.append(Start(actor))
        return True

    def ready(self, actor_id: bytes, epoch: int, worker_id: bytes, now: float, label: str = "") -> None:
        """The constructor is done."""
        actor = self._current(actor_id, epoch, worker_id)
        if actor is not None and actor.state is not State.ALIVE:
            actor.state = State.ALIVE
            actor.label = label
            self._publish(actor)
            if actor.released:
                self._terminate(actor, now)

    # deaths ----------------------------------------------------------------------------------
    def constructor_failed(self, actor_id: bytes, epoch: int, worker_id: bytes, cause: DeathCause) -> None:
        """``__init__`` raised: a restart would not help."""
        actor = self._current(actor_id, epoch, worker_id)
        if actor is not None:
            self._die(actor, cause, kill=True)

    def unplaceable(self, actor_id: bytes, cause: DeathCause) -> None:
        """There will never be a place, or no environment, for the actor."""
        actor = self.actors.get(actor_id)
        if actor is not None and actor.state is not State.DEAD:
            self._die(actor, cause, kill=True)

    def exiting(self, actor_id: bytes, epoch: int, worker_id: bytes, text: str) -> None:
        """The actor leaves on its own account. Its worker ends itself."""
        actor = self._current(actor_id, epoch, worker_id)
        if actor is not None:
            self._die(actor, DeathCause("exited", text or "The actor exited.", pid=actor.pid), kill=False)

    def worker_died(self, worker_id: bytes, cause: DeathCause) -> bytes | None:
        """A worker is gone; if it was an actor, that restarts or dies. Returns the actor's id."""
        actor_id = self._by_worker.pop(worker_id, None)
        if actor_id is None:
            return None
        actor = self.actors.get(actor_id)
        if actor is None or actor.state is State.DEAD or actor.worker_id != worker_id:
            return actor_id
        self._restart_or_die(actor, cause)
        return actor_id

    def place_lost(self, actor_id: bytes, cause: DeathCause) -> None:
        """The worker that was being prepared for the actor died before it could become the actor."""
        actor = self.actors.get(actor_id)
        if actor is not None and actor.state in (State.PENDING_CREATION, State.RESTARTING) and not actor.worker_id:
            self._restart_or_die(actor, cause)

    def kill(self, actor_id: bytes, no_restart: bool) -> None:
        """Somebody wants it dead. Without ``no_restart`` it comes back if it has restarts left."""
        actor = self.actors.get(actor_id)
        if actor is None or actor.state is State.DEAD:
            return
        cause = DeathCause("killed", "The actor was killed with kill().", pid=actor.pid)
        if no_restart or actor.restarts_left == 0:
            self._die(actor, cause, kill=True)
        elif actor.worker_id:
            worker_id = actor.worker_id
            self._by_worker.pop(worker_id, None)
            self.outbox.append(KillWorker(actor_id, worker_id, cause.text))
            self._restart_or_die(actor, cause)

    def release(self, actor_id: bytes, now: float) -> None:
        """The owner's last handle is gone: let the actor finish its calls, then end it."""
        actor = self.actors.get(actor_id)
        if actor is None or actor.state is State.DEAD or actor.released or actor.spec.detached:
            return
        actor.released = True
        if actor.state is State.ALIVE:
            self._terminate(actor, now)

    def process_gone(self, process_id: bytes) -> None:
        """A process died: the actors it owns share its fate."""
        for actor in list(self.actors.values()):
            actor.subscribers.pop(process_id, None)
            if actor.state is not State.DEAD and actor.spec.owner == process_id and not actor.spec.detached:
                text = f"The owner of the actor, process {process_id.hex()}, is gone."
                self._die(actor, DeathCause("owner_died", text, pid=actor.pid), kill=True)

    def job_gone(self, job_id: bytes) -> None:
        """A driver left: all its actors go, detached ones excepted."""
        for actor in list(self.actors.values()):
            if actor.state is not State.DEAD and actor.spec.job_id == job_id and not actor.spec.detached:
                self._die(
                    actor,
                    DeathCause("owner_died", "The driver of the actor's job left.", pid=actor.pid),
                    kill=True,
                )

    def expire(self, now: float) -> float | None:
        """Kill actors that did not end gracefully in time. Returns the next deadline."""
        soonest: float | None = None
        for actor_id in list(self._ending):
            actor = self.actors[actor_id]
            if actor.deadline is None:
                self._ending.pop(actor_id)
            elif actor.deadline <= now:
                text = f"All handles are gone, and the actor did not finish its calls within {GRACE:g} s."
                self._die(actor, DeathCause("exited", text, pid=actor.pid), kill=True)
            else:
                soonest = actor.deadline if soonest is None else min(soonest, actor.deadline)
        return soonest

    # looking ---------------------------------------------------------------------------------
    def subscribe(self, actor_id: bytes, process_id: bytes) -> ActorView:
        """The view now; changes follow as Publish commands."""
        actor = self.actors.get(actor_id)
        if actor is None:
            text = f"Actor {actor_id.hex()} is unknown here: it died long ago, or belongs to another session."
            return ActorView(State.DEAD.value, cause=DeathCause("exited", text))
        if actor.state is not State.DEAD:
            actor.subscribers[process_id] = None
        return actor.view()

    def by_name(self, name: str, namespace: str) -> Actor | None:
        """The living actor of this name."""
        actor_id = self.names.get((namespace, name))
        return self.actors[actor_id] if actor_id is not None else None

    def of_worker(self, worker_id: bytes) -> Actor | None:
        """The actor that lives in a worker."""
        actor_id = self._by_worker.get(worker_id)
        return self.actors.get(actor_id) if actor_id is not None else None

    def take(self) -> list[Command]:
        """Commands since the last call."""
        commands, self.outbox = self.outbox, []
        return commands

    def validate(self) -> None:
        """Check what must always hold."""
        for (namespace, name), actor_id in self.names.items():
            actor = self.actors[actor_id]
            assert (actor.spec.namespace, actor.spec.name) == (namespace, name)
            assert actor.state is not State.DEAD, "the dead have no names"
        for worker_id, actor_id in self._by_worker.items():
            assert self.actors[actor_id].worker_id == worker_id
        for actor_id, actor in self.actors.items():
            dead = actor.state is State.DEAD
            assert dead == (actor_id in self._dead)
            assert actor.cause is not None or not dead, "the dead have a cause"
            assert actor.state is not State.ALIVE or self._by_worker.get(actor.worker_id) == actor_id
            assert dead or not actor.spec.name or self.names.get((actor.spec.namespace, actor.spec.name)) == actor_id
        assert len(self._dead) <= KEEP_DEAD

    # internals -------------------------------------------------------------------------------
    def _current(self, actor_id: bytes, epoch: int, worker_id: bytes) -> Actor | None:
        """The actor, unless the message comes from a life it has behind it."""
        actor = self.actors.get(actor_id)
        if actor is None or actor.state is State.DEAD or actor.epoch != epoch or actor.worker_id != worker_id:
            return None
        return actor

    def _restart_or_die(self, actor: Actor, cause: DeathCause) -> None:
        if actor.restarts_left == 0 or actor.released:
            self._die(actor, cause, kill=False)
            return
        if actor.restarts_left > 0:
            actor.restarts_left -= 1
        actor.restarts += 1
        actor.epoch += 1
        actor.state = State.RESTARTING
        actor.cause = cause
        self._leave_worker(actor)
        self.outbox.append(Place(actor))
        self._publish(actor)

    def _die(self, actor: Actor, cause: DeathCause, kill: bool) -> None:
        actor_id = actor.spec.actor_id
        if actor.worker_id:
            if kill:
                self.outbox.append(KillWorker(actor_id, actor.worker_id, cause.text))
        else:
            self.outbox.append(Unplace(actor_id))
        actor.state = State.DEAD
        actor.cause = cause
        actor.deadline = None
        self._ending.pop(actor_id, None)
        if actor.spec.name:
            self.names.pop((actor.spec.namespace, actor.spec.name), None)
        self._publish(actor)
        self._leave_worker(actor, keep_id=True)
        actor.subscribers.clear()
        actor.spec.payload = b""
        self._dead[actor_id] = None
        while len(self._dead) > KEEP_DEAD:
            oldest = next(iter(self._dead))
            del self._dead[oldest]
            del self.actors[oldest]

    def _leave_worker(self, actor: Actor, keep_id: bool = False) -> None:
        self._by_worker.pop(actor.worker_id, None)
        actor.address, actor.started = "", False
        if not keep_id:
            actor.worker_id, actor.pid = b"", 0

    def _terminate(self, actor: Actor, now: float) -> None:
        actor.deadline = now + GRACE
        self._ending[actor.spec.actor_id] = None
        self.outbox.append(Terminate(actor.spec.actor_id, actor.worker_id))

    def _publish(self, actor: Actor) -> None:
        self.outbox.append(Publish(actor.spec.actor_id, actor.view(), tuple(actor.subscribers)))
