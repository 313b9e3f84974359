"""Which replicas a deployment should have, and what to do about it. Pure: events in, commands out, time passed in.

Guarantees, which :meth:`DeploymentBrain.validate` and the tests check:

- ``view`` never has a replica that drains or is killed. The shell publishes the view before it runs commands, so callers
  are told that a replica leaves before the replica is.
- An update starts new replicas before it drains old ones: there are never fewer running than wanted because of it. The one
  exception: new replicas that cannot get resources because the old ones hold them (a GPU, mostly). Then as many as the
  update's share (at least one) leave first.
- An update replaces at most its share, ``max(int(rolling_update_percentage * n), 1)``, at the same time.
- A version that cannot be started takes nothing away: the replicas of the version before stay and serve.
- Every replica that was started is either live or told to end, and is forgotten only when it is known to have ended.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable

from aktis.serve._controller.replicas import (
    LIVE,
    Check,
    Command,
    Drain,
    Fingerprint,
    Kill,
    Phase,
    Reconfigure,
    Record,
    Replica,
    Start,
    Warn,
    fingerprint,
)
from aktis.serve._protocol import DeploymentID, DeploymentSpec, DeploymentState, ReplicaID, ReplicaInfo

MAX_FAILED_STARTS = 100  # whatever the number of replicas, as in Ray
FAILED_STARTS_PER_REPLICA = 3
FAILED_CHECKS = 3  # in a row, until a replica is replaced
FIRST_PAUSE_S = 0.2  # after a failed start; doubled each time
LONGEST_PAUSE_S = 30.0
LONGEST_DEATH_PAUSE_S = 5.0  # what has run is worth a try more often than what never could be started
CHECK_GRID_S = 0.25  # when health checks begin
STABLE_S = 10.0  # a replica that lived that long did not die of how it was started
SLOW_START_S = 30.0
DRAIN_GRACE_S = 5.0  # after drain()'s own time-out: for its answer, and for callers that do not know yet

FOREVER = math.inf


class DeploymentBrain:
    """Decides for one deployment. ``fresh`` gives a new unique part of a replica's name."""

    def __init__(self, id: DeploymentID, fresh: Callable[[], str]) -> None:
        self.id = id
        self.replicas: dict[ReplicaID, Replica] = {}
        self.count = 0  # how many there should be
        self.deleting = False
        self.failed = ""  # why no more starts are tried; until the next deployment
        self.trigger = ""
        self.nodes: tuple[str, ...] = ()
        self.revision = 0  # grows whenever status, view or records may have changed
        self._fresh = fresh
        self._spec: DeploymentSpec | None = None
        self._runtime_env: dict[str, object] | None = None
        self._target = Fingerprint("", "", "")
        self._failed_starts = 0
        self._last_failure = ""
        self._started_once = False  # a replica of this version did start: it is not the code's fault
        self._deaths = 0  # soon after their start, in a row
        self._not_before = -FOREVER  # next start, after failures
        self._sick = ""  # a replica died, or failed its checks, and has not been replaced yet

    # -- what users and the autoscaler want ---------------------------------------------------

    @property
    def spec(self) -> DeploymentSpec:
        """What is to run."""
        if self._spec is None:
            raise RuntimeError(f"deployment {self.id} has no target yet")
        return self._spec

    def deploy(
        self, spec: DeploymentSpec, count: int, now: float, runtime_env: dict[str, object] | None = None
    ) -> list[Command]:
        """A user wants this now."""
        self.revision += 1
        target = fingerprint(spec, runtime_env)
        if target != self._target:
            self._started_once = any(r.made_of == target for r in self._in(Phase.RUNNING))
            for replica in self._live():  # its reconfigure() may work this time
                replica.stale = replica.stale and replica.made_of.user == target.user
        self._spec, self._runtime_env, self._target = spec, runtime_env, target
        self.count = count
        self.deleting = False
        self.trigger = "CONFIG_UPDATE_STARTED"
        self.failed = self._last_failure = self._sick = ""
        self._failed_starts = self._deaths = 0
        self._not_before = -FOREVER
        return self._settle(now)

    def scale(self, count: int, now: float) -> list[Command]:
        """The autoscaler wants so many."""
        if count != self.count:
            self.revision += 1
            self.trigger = "AUTOSCALING"
        self.count = count
        return self._settle(now)

    def delete(self, now: float) -> list[Command]:
        """Nobody wants it any more: replicas leave the view, drain, and end."""
        self.revision += 1
        self.deleting = True
        self.trigger = "DELETING"
        return self._settle(now)

    def set_nodes(self, nodes: Iterable[str], now: float) -> list[Command]:
        """The nodes that there are; needed where replicas are limited per node."""
        self.nodes = tuple(nodes)
        return self._settle(now)

    # -- what became of replicas --------------------------------------------------------------

    def adopt(self, record: Record, now: float) -> None:
        """A replica that a controller before this one had started. Call before :meth:`deploy`, and :meth:`resume` after."""
        self.replicas[record.id] = Replica(
            id=record.id,
            made_of=record.made_of,
            phase=Phase.DRAINING if record.leaves else Phase.RUNNING,
            since=now - STABLE_S,
            max_ongoing=record.max_ongoing,
            info=record.info,
            node_id=record.info.node_id,
            wall_start=record.wall_start,
            next_check=now,
            deadline=FOREVER,
        )

    def resume(self, now: float) -> list[Command]:
        """Adopted replicas that were leaving go on with that."""
        adopted = [r for r in self._in(Phase.DRAINING) if r.deadline == FOREVER]
        for replica in adopted:
            self._enter(replica, Phase.RUNNING, now)
        return self._leave(adopted, now)

    def records(self) -> tuple[Record, ...]:
        """What a later controller needs to adopt the replicas that requests may run in."""
        return tuple(
            Record(r.id, r.made_of, r.info, r.max_ongoing, r.wall_start, r.phase is Phase.DRAINING)
            for r in self.replicas.values()
            if r.info is not None and r.phase is not Phase.KILLING
        )

    def started(self, id: ReplicaID, info: ReplicaInfo, now: float) -> list[Command]:
        """The user's constructor is done."""
        replica = self.replicas.get(id)
        if replica is not None and replica.phase is Phase.STARTING:
            self._enter(replica, Phase.RUNNING, now)
            replica.info, replica.node_id, replica.message, replica.starved = info, info.node_id, "", False
            replica.next_check = now + self.spec.config.health_check_period_s
            if replica.made_of == self._target:
                self._started_once = True
                self._failed_starts = 0
        return self._settle(now)

    def start_failed(self, id: ReplicaID, text: str, now: float) -> list[Command]:
        """The actor could not be made, or the user's constructor raised; ``text`` has the traceback."""
        replica = self.replicas.get(id)
        commands: list[Command] = []
        if replica is not None and replica.phase is Phase.STARTING:
            if replica.made_of == self._target and not self.deleting:
                self._count_failure(text, now)
            self._enter(replica, Phase.KILLING, now)
            commands.append(Kill(id))
        return commands + self._settle(now)

    def waits(self, id: ReplicaID, text: str, now: float, *, starved: bool) -> list[Command]:
        """A starting replica waits for its actor; ``starved``: for resources that others hold and may give back."""
        replica = self.replicas.get(id)
        if replica is not None and replica.phase is Phase.STARTING:
            self.revision += 1
            replica.starved, replica.message = starved, text
        return self._settle(now)

    def reconfigured(self, id: ReplicaID, error: str, now: float) -> list[Command]:
        """reconfigure() is done, or raised ``error``."""
        replica = self.replicas.get(id)
        if replica is None or replica.wants is None:
            return self._settle(now)
        self.revision += 1
        wanted, replica.wants = replica.wants, None
        if error:
            replica.stale = True
            replica.message = f"reconfigure() failed: {error}"
            if replica.phase in LIVE and wanted == self._target:
                self._count_failure(error, now, what="reconfigure()")
        else:
            replica.made_of, replica.message = wanted, ""
            if wanted == self._target:
                replica.max_ongoing = self.spec.config.max_ongoing_requests
        if replica.phase is Phase.UPDATING:
            self._enter(replica, Phase.RUNNING, now)
        return self._settle(now)

    def checked(self, id: ReplicaID, error: str, now: float, *, hangs: bool = False) -> list[Command]:
        """check_health() passed, or did not (``error``); ``hangs``: there was no answer in time."""
        replica = self.replicas.get(id)
        if replica is not None:
            replica.checking = False
            replica.next_check = now + self.spec.config.health_check_period_s
            if not error and not replica.failed_checks:
                return []  # as nearly always
            self.revision += 1
            replica.failed_checks = replica.failed_checks + 1 if error else 0
            if error and replica.phase in LIVE:
                replica.message = f"check_health() failed ({replica.failed_checks} of {FAILED_CHECKS}): {error}"
            elif replica.message.startswith("check_health()"):
                replica.message = ""
            if replica.failed_checks >= FAILED_CHECKS and replica.phase in LIVE:
                self._sick = f"Replica {id} failed its health check {FAILED_CHECKS} times and is replaced: {error}"
                self.trigger = "HEALTH_CHECK_FAILED"
                if hangs:  # nothing would come of draining, and what it has may be run by another one
                    self._enter(replica, Phase.KILLING, now)
                    return [Kill(id), *self._settle(now)]
                return self._leave([replica], now) + self._settle(now)
        return self._settle(now)

    def drained(self, id: ReplicaID, now: float) -> list[Command]:
        """A replica has finished what it had, or had not in time."""
        replica = self.replicas.get(id)
        commands: list[Command] = []
        if replica is not None and replica.phase is Phase.DRAINING:
            self._enter(replica, Phase.KILLING, now)
            commands.append(Kill(id))
        return commands + self._settle(now)

    def gone(self, id: ReplicaID, reason: str, now: float) -> list[Command]:
        """A replica's process has ended, by our order or by itself."""
        self.revision += 1
        replica = self.replicas.pop(id, None)
        if replica is not None and not self.deleting:
            if replica.phase is Phase.STARTING:
                if replica.made_of == self._target:
                    self._count_failure(reason, now)
            elif replica.phase in LIVE:
                self._sick = f"Replica {id} died and is replaced: {reason}"
                self.trigger = "REPLICA_DIED"
                self._count_death(replica, now)
        return self._settle(now)

    def tick(self, now: float) -> list[Command]:
        """Time has passed."""
        return self._settle(now)

    # -- what there is ------------------------------------------------------------------------

    def view(self) -> tuple[Replica, ...]:
        """Replicas that callers may be told of."""
        running = tuple(self._in(Phase.RUNNING))
        if self.deleting:
            return ()
        return running or tuple(self._in(Phase.UPDATING))

    @property
    def needs_nodes(self) -> bool:
        """Whether :meth:`set_nodes` must be told of the nodes that come and go."""
        config = self.spec.config
        return bool(config.is_driver or config.max_replicas_per_node)

    @property
    def is_gone(self) -> bool:
        """Deleted, and nothing is left of it."""
        return self.deleting and not self.replicas

    @property
    def is_quiet(self) -> bool:
        """Nothing of an older version is left, nor anything that ends."""
        return all(r.phase is Phase.RUNNING and self._is_current(r) for r in self.replicas.values())

    def status(self) -> tuple[DeploymentState, str]:
        """State and message."""
        if self.deleting:
            return DeploymentState.UPDATING, f"{len(self.replicas)} replicas are ending."
        if self.failed:
            return DeploymentState.UNHEALTHY, self.failed
        live = self._live()
        ready = sum(1 for r in live if r.phase is Phase.RUNNING and r.made_of == self._target and r.wants is None)
        if ready == self.count == len(live) and not self._sick:
            return DeploymentState.HEALTHY, ""
        if self._sick or (self._last_failure and self._started_once):
            return DeploymentState.UNHEALTHY, self._sick or self._last_failure
        words = [f"{ready} of {self.count} replicas run as wanted."]
        if self._last_failure:
            words.append(self._last_failure)
        words += sorted({r.message for r in live if r.message})
        if self._wanted_starts() and self._place() is None:
            words.append(
                f"{len(self.nodes)} nodes have as many as max_replicas_per_node allows: it waits for another node."
            )
        return DeploymentState.UPDATING, " ".join(words)

    def next_deadline(self) -> float:
        """When :meth:`tick` is due; ``FOREVER``: only events change anything."""
        deadline = check = FOREVER
        for replica in self.replicas.values():
            if replica.phase is Phase.DRAINING:
                deadline = min(deadline, replica.deadline)
            elif replica.phase is Phase.STARTING and not replica.warned:
                deadline = min(deadline, replica.since + SLOW_START_S)
            elif replica.phase is Phase.RUNNING and not replica.checking and not self.deleting:
                check = min(check, replica.next_check)
        if self._wanted_starts() and not self.failed and self._not_before > -FOREVER:
            deadline = min(deadline, self._not_before)
        if check != FOREVER:
            # Many replicas are checked together: the timer rings a few times in a second, however many there are.
            grid = min(CHECK_GRID_S, self.spec.config.health_check_period_s / 10)
            deadline = min(deadline, math.ceil(check / grid) * grid)
        return deadline

    def validate(self) -> None:
        """Raises AssertionError where the guarantees do not hold. For tests."""
        assert all(r.phase in (Phase.RUNNING, Phase.UPDATING) for r in self.view())
        assert not (self.deleting and self._live())
        assert all(r.phase in LIVE or r.wants is None or r.phase is not Phase.UPDATING for r in self.replicas.values())
        current = [r for r in self._live() if self._is_current(r)]
        assert len(current) <= self.count or self.deleting, (len(current), self.count)

    # -- decisions ----------------------------------------------------------------------------

    def _settle(self, now: float) -> list[Command]:
        """Everything that is to be done now. Doing it twice does nothing the second time."""
        commands: list[Command] = []
        if self._spec is not None:
            if self._spec.config.is_driver:
                self.count = len(self.nodes)
            if self.deleting:
                commands += self._leave(self._live(), now)
            else:
                commands += self._scale_down(now)
                commands += self._replace(now)
                commands += self._reconfigure(now)
                commands += self._start(now)
                commands += self._check(now)
        for replica in self.replicas.values():
            if replica.phase is Phase.DRAINING and now >= replica.deadline:
                self._enter(replica, Phase.KILLING, now)
                commands.append(Kill(replica.id))
            elif replica.phase is Phase.STARTING and not replica.warned and now >= replica.since + SLOW_START_S:
                replica.warned = True
                commands.append(Warn(replica.id, now - replica.since))
        if self._sick and self._ready() >= self.count:
            self.revision += 1
            self._sick = ""
        if self._last_failure and self._ready() >= self.count and not self.failed and not self._old():
            self.revision += 1
            self._last_failure = ""
        return commands

    def _scale_down(self, now: float) -> list[Command]:
        """Replicas of this version that are too many, and starting ones of others: nobody misses those."""
        leaving = [r for r in self._in(Phase.STARTING) if not self._is_current(r)]
        current = [r for r in self._live() if self._is_current(r)]
        surplus = len(current) - self.count
        if surplus > 0:
            leaving += self._least_missed(current)[:surplus]
        return self._leave(leaving, now)

    def _replace(self, now: float) -> list[Command]:
        """Running replicas of older versions that may leave now."""
        old = self._old()
        if not old:
            return []
        share = self._share()
        draining = sum(1 for r in self.replicas.values() if r.phase not in LIVE and not self._is_current(r))
        surplus = len(old) + self._running_current() - self.count
        if surplus > 0:
            # More than the share may leave only where the number of replicas was lowered, too.
            allowed = min(surplus, max(share - draining, surplus - share))
        else:
            starved = sum(1 for r in self._in(Phase.STARTING) if r.starved)
            allowed = min(starved, share - draining + surplus)  # surplus <= 0: so many are missing already
        return self._leave(self._least_missed(old)[: max(allowed, 0)], now)

    def _reconfigure(self, now: float) -> list[Command]:
        commands: list[Command] = []
        if any(r.stale for r in self._live()):
            return commands  # it raised in one: another replica has to start with it first
        for replica in self._in(Phase.RUNNING):
            if replica.made_of == self._target or not self._is_current(replica) or replica.wants is not None:
                continue
            if replica.made_of.user != self._target.user:
                if sum(1 for _ in self._in(Phase.UPDATING)) >= self._share():
                    continue
                self._enter(replica, Phase.UPDATING, now)
            self.revision += 1
            replica.wants = self._target
            commands.append(Reconfigure(replica.id, self.spec.config))
        return commands

    def _start(self, now: float) -> list[Command]:
        commands: list[Command] = []
        if self.failed or now < self._not_before:
            return commands
        for _ in range(self._wanted_starts()):
            node_id = self._place()
            if node_id is None:
                break
            id = ReplicaID(self.id.app, self.id.name, self._fresh())
            self.revision += 1
            self.replicas[id] = Replica(
                id=id,
                made_of=self._target,
                phase=Phase.STARTING,
                since=now,
                max_ongoing=self.spec.config.max_ongoing_requests,
                node_id=node_id,
            )
            commands.append(Start(id, self.spec, node_id, self._runtime_env))
        return commands

    def _check(self, now: float) -> list[Command]:
        commands: list[Command] = []
        for replica in self._in(Phase.RUNNING):
            if not replica.checking and now >= replica.next_check:
                replica.checking = True
                commands.append(Check(replica.id, self.spec.config.health_check_timeout_s))
        return commands

    def _leave(self, replicas: Iterable[Replica], now: float) -> list[Command]:
        """Running ones drain; those that nobody knows yet end at once."""
        commands: list[Command] = []
        config = self.spec.config
        for replica in replicas:
            if replica.phase is Phase.STARTING:
                self._enter(replica, Phase.KILLING, now)
                commands.append(Kill(replica.id))
            elif replica.phase in LIVE:
                self._enter(replica, Phase.DRAINING, now)
                replica.deadline = now + config.graceful_shutdown_timeout_s + DRAIN_GRACE_S
                commands.append(
                    Drain(replica.id, config.graceful_shutdown_wait_loop_s, config.graceful_shutdown_timeout_s)
                )
        return commands

    # -- sums ---------------------------------------------------------------------------------

    def _wanted_starts(self) -> int:
        """How many more of this version may start, if nothing is against it."""
        if self.deleting or self._spec is None:
            return 0
        live = self._live()
        current = sum(1 for r in live if self._is_current(r))
        room = self.count - len(live)
        if current < len(live):  # an update: beyond the number that is wanted, by its share
            room = self.count + self._share() - len(live)
        return max(0, min(self.count - current, room))

    def _share(self) -> int:
        return max(int(self.spec.config.rolling_update_percentage * self.count), 1)

    def _is_current(self, replica: Replica) -> bool:
        return replica.made_of.code == self._target.code and not replica.stale

    def _in(self, phase: Phase) -> list[Replica]:
        return [r for r in self.replicas.values() if r.phase is phase]

    def _live(self) -> list[Replica]:
        return [r for r in self.replicas.values() if r.phase in LIVE]

    def _old(self) -> list[Replica]:
        return [r for r in self._live() if r.phase is not Phase.STARTING and not self._is_current(r)]

    def _ready(self) -> int:
        return sum(1 for r in self._in(Phase.RUNNING) if self._is_current(r))

    def _running_current(self) -> int:
        return sum(1 for r in self._live() if r.phase is not Phase.STARTING and self._is_current(r))

    def _least_missed(self, replicas: list[Replica]) -> list[Replica]:
        """Whom to stop first: who does not serve yet, who is alone on a node (that may then be given back), the newest."""
        per_node = Counter(r.node_id for r in self._live())
        return sorted(replicas, key=lambda r: (r.phase is not Phase.STARTING, per_node[r.node_id], -r.since))

    def _place(self) -> str | None:
        """A node for another replica; "" for any, None when all nodes have as many as they may."""
        most = 1 if self.spec.config.is_driver else self.spec.config.max_replicas_per_node
        if most is None:
            return ""
        per_node = Counter(r.node_id for r in self._live() if self._is_current(r))
        free = [node for node in self.nodes if per_node[node] < most]
        return min(free, key=lambda node: per_node[node], default=None)

    # -- failures -----------------------------------------------------------------------------

    def _count_failure(self, text: str, now: float, what: str = "its start") -> None:
        self._failed_starts += 1
        self.trigger = "REPLICA_STARTUP_FAILED"
        limit = self.spec.config.max_constructor_retry_count
        if limit is None:
            limit = min(FAILED_STARTS_PER_REPLICA * max(self.count, 1), MAX_FAILED_STARTS)
        self._last_failure = f"A replica of {self.id.name} failed at {what} ({self._failed_starts} in a row):\n{text}"
        if self._failed_starts >= limit and not self._started_once:
            self.failed = (
                f"Deployment {self.id.name} could not be started: {self._failed_starts} replicas failed at {what}. "
                f"The last one:\n{text}"
            )
        rounds = math.ceil(self._failed_starts / max(self.count, 1))
        self._not_before = now + _pause(rounds)

    def _count_death(self, replica: Replica, now: float) -> None:
        self._deaths = self._deaths + 1 if now - replica.since < STABLE_S else 0
        if self._deaths > 1:  # the first one is replaced at once
            self._not_before = now + min(_pause(self._deaths - 1), LONGEST_DEATH_PAUSE_S)

    def _enter(self, replica: Replica, phase: Phase, now: float) -> None:
        self.revision += 1
        replica.phase, replica.since = phase, now


def _pause(times: int) -> float:
    return min(FIRST_PAUSE_S * 2.0 ** min(times - 1, 20), LONGEST_PAUSE_S)
