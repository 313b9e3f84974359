"""Who gets which resources, and who has to give some back.

Events are method calls, time comes in as an argument, and :meth:`Scheduler.decide` returns what the shell has to do.

Order: the job with the smallest share of the cluster first; within a job the higher priority, then the older claim. A claim
that does not fit lets others pass, but leases that stand in its way are recalled:

- any lease may be recalled *when idle*: it costs its holder nothing;
- a lease *must* come back (when its calls end) if its job has more than a fair share and the waiting job less, if the waiting
  claim is of the same job and more urgent, or if claims of one job compete and the holder has had its turn.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from typing import Any

from aktis._brain.claims import (
    ActorUnplaceable,
    Claim,
    ClaimId,
    Command,
    DemandFailed,
    EndLease,
    Granted,
    GroupCreated,
    Lease,
    Node,
    RecallLease,
    Warn,
)
from aktis._brain.placement import PlacementGroup, PlacementGroups
from aktis._brain.resources import Amounts
from aktis._brain.strategies import Target, Unschedulable, infeasible, targets

TURN = 0.5
"""Seconds a lease is safe from claims of the same job and priority.
Long against the cost of changing over, short for a person."""


class Scheduler:
    """Resources, claims and leases of all nodes."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.groups = PlacementGroups()
        self.claims: dict[ClaimId, Claim] = {}
        self.leases: dict[int, Lease] = {}
        self._queues: dict[bytes, list[tuple[int, int, Claim]]] = {}
        self._usage: dict[bytes, Amounts] = {}
        self._sequence = 0
        self._lease_counter = 0
        self._outbox: list[Command] = []
        self._waiting = False  # claims of one job compete: decide() should look again when turns end

    # nodes -----------------------------------------------------------------------------------
    def add_node(self, node: Node) -> None:
        """A node joined."""
        self.nodes[node.node_id] = node

    def remove_node(self, node_id: str) -> list[Lease]:
        """A node is gone. Returns the leases that went with it; they are released."""
        self.nodes.pop(node_id)
        lost = [lease for lease in self.leases.values() if lease.node_id == node_id]
        for lease in lost:
            self.release(lease.lease_id)
        for group in self.groups.node_lost(node_id):
            self._queue_group(group, 0.0)
        return lost

    # claims ----------------------------------------------------------------------------------
    def set_demand(self, process_id: bytes, key_id: Any, spec: Any, count: int, now: float) -> None:
        """A process can use ``count`` more workers for a key; replaces what it said before. ``spec``: None once known."""
        claim_id = ("key", process_id, key_id)
        claim = self.claims.get(claim_id)
        if claim is None:
            if count <= 0:
                return
            if spec is None:
                text = f"Demand for key {key_id!r} came without a lease specification."
                self._outbox.append(DemandFailed(process_id, key_id, "bad_request", text))
                return
            claim = self._new_claim(claim_id, spec.job_id, process_id, spec.resources, spec.strategy, spec.name, now)
            claim.priority = spec.priority
            claim.env = spec.env
            claim.retriable = spec.retriable
        if not claim.wanted:
            claim.since = now
            claim.sequence = self._next_sequence()
        claim.wanted = max(0, count)
        self._enqueue(claim)

    def place_actor(
        self,
        actor_id: bytes,
        job_id: bytes,
        owner: bytes,
        resources: Amounts,
        strategy: tuple[Any, ...],
        name: str,
        env: str,
        now: float,
    ) -> None:
        """An actor needs a place. It is granted once; ask again for a restart."""
        claim = self._new_claim(("actor", actor_id), job_id, owner, resources, strategy, name, now)
        claim.env = env
        claim.wanted = 1
        self._enqueue(claim)

    def withdraw_actor(self, actor_id: bytes) -> None:
        """The actor needs no place any more."""
        claim = self.claims.get(("actor", actor_id))
        if claim is not None:
            self._drop(claim)

    def create_group(self, group: PlacementGroup, now: float) -> None:
        """Register a placement group. Raises ValueError when it makes no sense or its name is taken."""
        group.created = now
        self.groups.create(group)
        self._queue_group(group, now)

    def remove_group(self, group_id: bytes) -> bool:
        """Give a group's reservation back, and end what runs or waits inside."""
        group = self.groups.groups.get(group_id)
        if group is None or group.state == "REMOVED":
            return False
        text = f"Placement group {group.name or group_id.hex()} was removed."
        for lease in [lease for lease in self.leases.values() if lease.group_id == group_id]:
            self._outbox.append(EndLease(lease, "pg_removed", text))
            self.release(lease.lease_id)
        if group.state != "PENDING":
            self._use(group.job_id, _sum(group), -1)
        self.groups.remove(group_id, {node_id: node.pool for node_id, node in self.nodes.items()})
        own = self.claims.get(("group", group_id))
        if own is not None:
            self._drop(own)
        for claim in list(self.claims.values()):
            if claim.strategy[0] == "PG" and claim.strategy[1] == group_id:
                self._fail(claim, "pg_removed", text)
        return True

    # leases ----------------------------------------------------------------------------------
    def release(self, lease_id: int, again: bool = False) -> Lease | None:
        """A lease ended: returned, or its worker died. ``again``: its holder never had it and still wants one."""
        lease = self.leases.pop(lease_id, None)
        if lease is None:
            return None
        self._use(lease.job_id, _effective(lease), -1)
        lease.pool.release(lease.allocation)
        claim = self.claims.get(lease.claim_id)
        if claim is not None:
            claim.held -= 1
            if lease.recalled and not again:  # it had its turn
                self._dequeue(claim)
                claim.sequence = self._next_sequence()
            claim.wanted += again
            self._enqueue(claim)
        return lease

    def shrink(self, lease_id: int, keep: Amounts) -> None:
        """An actor runs: from now on it holds only ``keep``."""
        lease = self.leases.get(lease_id)
        if lease is not None:
            self._use(lease.job_id, _effective(lease), -1)
            lease.pool.shrink(lease.allocation, keep)
            lease.resources = dict(lease.allocation.amounts)
            self._use(lease.job_id, _effective(lease), 1)

    def block(self, lease_id: int) -> None:
        """The worker waits in get: its CPU serves others."""
        lease = self.leases.get(lease_id)
        if lease is not None and not lease.blocked:
            self._use(lease.job_id, _effective(lease), -1)
            lease.blocked = True
            lease.pool.lend(lease.allocation)
            self._use(lease.job_id, _effective(lease), 1)

    def unblock(self, lease_id: int) -> None:
        """The worker goes on, with its CPU, even if that is overdrawn now."""
        lease = self.leases.get(lease_id)
        if lease is not None and lease.blocked:
            self._use(lease.job_id, _effective(lease), -1)
            lease.blocked = False
            lease.pool.reclaim(lease.allocation)
            self._use(lease.job_id, _effective(lease), 1)

    # ends ------------------------------------------------------------------------------------
    def process_gone(self, process_id: bytes) -> list[Lease]:
        """A submitter died: its demands vanish, and the placement groups that it made as an actor.

        Returns its leases, which the shell ends with their workers.
        """
        for group in [group for group in self.groups.groups.values() if group.creator == process_id]:
            if process_id and not group.detached:
                self.remove_group(group.group_id)
        for claim in [claim for claim in self.claims.values() if claim.claim_id[:2] == ("key", process_id)]:
            self._drop(claim)
        return [lease for lease in self.leases.values() if lease.claim_id[:2] == ("key", process_id)]

    def job_gone(self, job_id: bytes) -> None:
        """A driver left: its placement groups go, detached ones excepted."""
        for group in list(self.groups.groups.values()):
            if group.job_id == job_id and not group.detached:
                self.remove_group(group.group_id)

    # decisions -------------------------------------------------------------------------------
    def decide(self, now: float) -> list[Command]:
        """Grant what fits, recall what stands in the way."""
        commands, self._outbox = self._outbox, []
        self._waiting = False
        if self._queues:
            before = len(commands)
            stuck = self._grant(commands, now)
            granted = len(commands) - before
            while stuck and granted:  # what was granted may have opened the way for a claim that was passed over
                before = len(commands)
                stuck = self._grant(commands, now)
                granted = len(commands) - before
            if stuck:
                self._recall(stuck, commands, now)
        commands += self._outbox
        self._outbox = []
        return commands

    def wake_at(self, now: float) -> float | None:
        """When decide() should be called again although nothing happened."""
        return now + TURN / 2 if self._waiting else None

    def _grant(self, commands: list[Command], now: float) -> list[Claim]:
        stuck: list[Claim] = []
        hopeless: set[tuple[Any, ...]] = set()
        remaining = {job_id: iter(list(queue)) for job_id, queue in self._queues.items()}
        heads = {job_id: next(entries)[2] for job_id, entries in remaining.items()}
        while heads:
            job_id = min(heads, key=lambda job: (self.share(job), heads[job].sequence))
            claim = heads[job_id]
            shape = claim.shape
            placed = False
            if claim.queued and shape not in hopeless:
                placed = self._place(claim, commands, now)
                if not placed and claim.queued:
                    hopeless.add(shape)
            if placed and claim.queued:
                continue
            if claim.queued:
                stuck.append(claim)
            following = next(remaining[job_id], None)
            if following is None:
                del heads[job_id]
            else:
                heads[job_id] = following[2]
        return stuck

    def _place(self, claim: Claim, commands: list[Command], now: float) -> bool:
        if claim.claim_id[0] == "group":
            return self._place_group(claim, commands)
        try:
            options = targets(claim, self.nodes, self.groups)
        except Unschedulable as reason:
            self._fail(claim, reason.kind, str(reason))
            return False
        for target in options:
            allocation = target.pool.allocate(claim.resources)
            if allocation is not None:
                self._lease_counter += 1
                lease = Lease(
                    self._lease_counter,
                    claim.claim_id,
                    claim.job_id,
                    claim.process_id,
                    target.node_id,
                    target.pool,
                    allocation,
                    claim.resources,
                    claim.priority,
                    claim.name,
                    claim.env,
                    claim.retriable,
                    now,
                    group_id=target.group_id,
                    bundle_index=target.bundle_index,
                )
                self.leases[lease.lease_id] = lease
                self._use(claim.job_id, _effective(lease), 1)
                claim.held += 1
                claim.wanted -= 1
                claim.since = now
                self._enqueue(claim)
                if claim.claim_id[0] == "actor":
                    self._drop(claim)
                commands.append(Granted(lease))
                return True
        return False

    def _place_group(self, claim: Claim, commands: list[Command]) -> bool:
        group = self.groups.groups[claim.claim_id[1]]
        first_time = group.state == "PENDING"
        if not self.groups.place(group, {node_id: node.pool for node_id, node in self.nodes.items()}):
            return False
        if first_time:
            self._use(group.job_id, _sum(group), 1)
        self._drop(claim)
        commands.append(GroupCreated(group.group_id))
        return True

    def _recall(self, stuck: list[Claim], commands: list[Command], now: float) -> None:
        coming: dict[int, Amounts] = {}  # by pool: what returns soon and is not promised to anybody yet
        for lease in self.leases.values():
            if lease.recalled == "must" and not lease.blocked:
                _add(coming.setdefault(id(lease.pool), {}), lease.resources, 1)
        seen: set[tuple[Any, ...]] = set()
        for claim in stuck:
            key = (claim.shape, claim.job_id, claim.priority, claim.held == 0)
            if key in seen:
                continue
            seen.add(key)
            reason = infeasible(claim, self.nodes, self.groups)
            if reason:
                if not claim.warned:
                    claim.warned = True
                    commands.append(
                        Warn(claim.job_id, f"Nothing can run {claim.describe()} now: {reason}. It stays pending.")
                    )
                continue
            request = self._smallest_step(claim)
            for target in self._targets(claim):
                if not target.pool.feasible(request):
                    continue
                lacking = target.pool.shortage(request) or request
                self._recall_from(target, claim, lacking, coming.setdefault(id(target.pool), {}), commands, now)

    def _targets(self, claim: Claim) -> list[Target]:
        if claim.claim_id[0] == "group":
            return [Target(node.node_id, node.pool) for node in self.nodes.values()]
        try:
            return targets(claim, self.nodes, self.groups)
        except Unschedulable:
            return []

    def _smallest_step(self, claim: Claim) -> Amounts:
        """What one node would have to spare: the whole request, or for a group its bundles that share a node."""
        if claim.claim_id[0] != "group":
            return claim.resources
        group = self.groups.groups[claim.claim_id[1]]
        if len(self.nodes) == 1 or group.strategy == "STRICT_PACK":
            return claim.resources
        return max((bundle.resources for bundle in group.bundles), key=lambda amounts: sum(amounts.values()))

    def _recall_from(
        self, target: Target, claim: Claim, lacking: Amounts, coming: Amounts, commands: list[Command], now: float
    ) -> None:
        short = {name: amount - coming.get(name, 0) for name, amount in lacking.items()}
        _add(coming, lacking, -1)
        victims: list[Lease] = []
        for lease in self.leases.values():
            if (
                lease.pool is not target.pool
                or lease.actor_id is not None
                or lease.claim_id == claim.claim_id
                or lease.blocked
                or lease.recalled == "must"
                or not lease.allocation.amounts.keys() & lacking.keys()
            ):
                continue
            if any(amount > 0 for amount in short.values()) and self._must_yield(lease, claim, now):
                victims.append(lease)
            elif not lease.recalled:
                lease.recalled = "idle"
                commands.append(RecallLease(lease, False))
        victims.sort(key=lambda lease: (lease.job_id == claim.job_id, lease.priority, -lease.started, -lease.lease_id))
        for lease in victims:
            if all(amount <= 0 for amount in short.values()):
                if not lease.recalled:
                    lease.recalled = "idle"
                    commands.append(RecallLease(lease, False))
                continue
            if not self._must_yield(lease, claim, now, victims):
                continue
            lease.recalled = "must"
            _add(short, lease.resources, -1)
            commands.append(RecallLease(lease, True))

    def _must_yield(self, lease: Lease, claim: Claim, now: float, among: Iterable[Lease] = ()) -> bool:
        if lease.job_id != claim.job_id:
            losing: Amounts = {}
            for other in among:
                if other.job_id == lease.job_id and other.recalled == "must":
                    _add(losing, other.resources, 1)
            _add(losing, lease.resources, 1)
            after = self.share(lease.job_id, losing, -1)
            return self.share(claim.job_id, claim.resources, 1) <= after + 1e-9
        if lease.priority != claim.priority:
            return lease.priority < claim.priority
        self._waiting = True
        holder = self.claims.get(lease.claim_id)
        had_turn = now - lease.started >= TURN and now - claim.since >= TURN
        return had_turn and (claim.held == 0 or (holder is not None and holder.held > claim.held + 1))

    # shares ----------------------------------------------------------------------------------
    def share(self, job_id: bytes, change: Amounts | None = None, sign: int = 0) -> float:
        """A job's dominant share: the part of the cluster that it uses of the resource that it uses most."""
        usage = self._usage.get(job_id, {})
        if change:
            usage = dict(usage)
            _add(usage, change, sign)
        worst = 0.0
        for name, amount in usage.items():
            total = sum(node.pool.capacity.get(name, 0) for node in self.nodes.values())
            if total and amount > worst * total:
                worst = amount / total
        return worst

    def _use(self, job_id: bytes, amounts: Amounts, sign: int) -> None:
        usage = self._usage.setdefault(job_id, {})
        _add(usage, amounts, sign)
        if not any(usage.values()):
            del self._usage[job_id]

    # queues ----------------------------------------------------------------------------------
    def _new_claim(
        self,
        claim_id: ClaimId,
        job_id: bytes,
        process_id: bytes,
        resources: Amounts,
        strategy: tuple[Any, ...],
        name: str,
        now: float,
    ) -> Claim:
        claim = Claim(
            claim_id, job_id, process_id, dict(resources), tuple(strategy), 0, name, 0, self._next_sequence(), now
        )
        self.claims[claim_id] = claim
        return claim

    def _queue_group(self, group: PlacementGroup, now: float) -> None:
        claim = self._new_claim(
            ("group", group.group_id),
            group.job_id,
            b"",
            _sum(group),
            ("DEFAULT",),
            group.name or group.group_id.hex()[:8],
            now,
        )
        claim.wanted = 1
        self._enqueue(claim)

    def _next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence

    def _enqueue(self, claim: Claim) -> None:
        if claim.wanted <= 0:
            self._dequeue(claim)
        elif not claim.queued:
            claim.queued = True
            insort(self._queues.setdefault(claim.job_id, []), (-claim.priority, claim.sequence, claim))

    def _dequeue(self, claim: Claim) -> None:
        if claim.queued:
            claim.queued = False
            queue = self._queues[claim.job_id]
            queue.remove((-claim.priority, claim.sequence, claim))
            if not queue:
                del self._queues[claim.job_id]

    def _drop(self, claim: Claim) -> None:
        self._dequeue(claim)
        self.claims.pop(claim.claim_id, None)

    def _fail(self, claim: Claim, kind: str, text: str) -> None:
        claim.wanted = 0
        self._dequeue(claim)
        if claim.claim_id[0] != "key":  # keys are remembered: their specification comes only once
            self._drop(claim)
        if claim.claim_id[0] == "actor":
            self._outbox.append(ActorUnplaceable(claim.claim_id[1], kind, text))
        elif claim.claim_id[0] == "key":
            self._outbox.append(DemandFailed(claim.claim_id[1], claim.claim_id[2], kind, text))

    def fail_demand(self, process_id: bytes, key_id: Any, kind: str, text: str) -> None:
        """The shell found that a demand cannot be served (its environment failed)."""
        claim = self.claims.get(("key", process_id, key_id))
        if claim is not None:
            self._fail(claim, kind, text)

    def waiting(self) -> Iterator[Claim]:
        """Claims that wait, in their jobs' order."""
        for queue in self._queues.values():
            for _, _, claim in queue:
                yield claim

    def validate(self) -> None:
        """Check what must always hold."""
        for node in self.nodes.values():
            held = [lease.allocation for lease in self.leases.values() if lease.pool is node.pool]
            held += [
                bundle.allocation
                for group in self.groups.groups.values()
                for bundle in group.bundles
                if bundle.node_id == node.node_id and bundle.allocation is not None
            ]
            node.pool.validate(held)
        for group in self.groups.groups.values():
            for bundle in group.bundles:
                if bundle.pool is not None:
                    bundle.pool.validate(
                        lease.allocation for lease in self.leases.values() if lease.pool is bundle.pool
                    )
        self.groups.validate()
        for claim_id, claim in self.claims.items():
            held_leases = sum(lease.claim_id == claim_id for lease in self.leases.values())
            assert claim.held == held_leases, (claim, held_leases)
            assert claim.queued == (claim.wanted > 0), claim
        queued = {claim.claim_id for claim in self.waiting()}
        assert queued == {claim_id for claim_id, claim in self.claims.items() if claim.queued}
        for lease in self.leases.values():
            assert (
                lease.claim_id[0] == "actor"
                or lease.blocked == bool(lease.allocation.lent)
                or not lease.allocation.amounts.get("CPU")
            )
        usage: dict[bytes, Amounts] = {}
        for lease in self.leases.values():
            _add(usage.setdefault(lease.job_id, {}), _effective(lease), 1)
        for group in self.groups.groups.values():
            if group.state in ("CREATED", "RESCHEDULING"):
                _add(usage.setdefault(group.job_id, {}), _sum(group), 1)
        for job_id in usage.keys() | self._usage.keys():
            ours = {name: amount for name, amount in self._usage.get(job_id, {}).items() if amount}
            assert ours == {name: amount for name, amount in usage.get(job_id, {}).items() if amount}, (ours, usage)


def _effective(lease: Lease) -> Amounts:
    """What a lease counts for in its job's share. Inside a placement group the group counts."""
    if lease.group_id is not None:
        return {}
    amounts = dict(lease.allocation.amounts)
    if lease.allocation.lent:
        amounts["CPU"] -= lease.allocation.lent
    return amounts


def _sum(group: PlacementGroup) -> Amounts:
    total: Amounts = {}
    for bundle in group.bundles:
        _add(total, bundle.resources, 1)
    return total


def _add(total: Amounts, amounts: Amounts, sign: int) -> None:
    for name, amount in amounts.items():
        total[name] = total.get(name, 0) + sign * amount
