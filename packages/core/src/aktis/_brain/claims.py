"""What the scheduler decides about (claims), what it gave (leases), and what it asks its shell to do (commands)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aktis._brain.resources import Allocation, Amounts, ResourcePool

ClaimId = tuple[Any, ...]
"""("key", process_id, key_id) | ("actor", actor_id) | ("group", group_id)"""


@dataclass(slots=True, eq=False)
class Claim:
    """Somebody's wish for ``wanted`` more allocations of the same shape."""

    claim_id: ClaimId
    job_id: bytes
    process_id: bytes
    resources: Amounts
    strategy: tuple[Any, ...]
    priority: int
    name: str
    wanted: int
    sequence: int  # age; renewed when the claim has had its turn
    since: float  # waits since then
    held: int = 0
    env: str = ""
    retriable: bool = True
    warned: bool = False
    queued: bool = False  # stands in its job's queue

    @property
    def shape(self) -> tuple[Any, ...]:
        """Claims of one shape can or cannot be placed together."""
        return (tuple(sorted(self.resources.items())), self.strategy[0], repr(self.strategy[1:]))

    def describe(self) -> str:
        """For messages: what waits."""
        what = {"key": "task", "actor": "actor", "group": "placement group"}[self.claim_id[0]]
        return f"{what} {self.name}" if self.name else f"a {what}"


@dataclass(slots=True, eq=False)
class Lease:
    """Resources in use by one worker, for a submitter's key or for an actor."""

    lease_id: int
    claim_id: ClaimId
    job_id: bytes
    process_id: bytes  # who may use it; for an actor its owner
    node_id: str
    pool: ResourcePool
    allocation: Allocation
    resources: Amounts
    priority: int
    name: str
    env: str
    retriable: bool
    started: float
    recalled: str = ""  # "" | "idle": return it when idle | "must": return it when its calls end
    blocked: bool = False
    group_id: bytes | None = None
    bundle_index: int = -1

    @property
    def actor_id(self) -> bytes | None:
        """The actor that lives on this lease, if it is an actor's."""
        return self.claim_id[1] if self.claim_id[0] == "actor" else None


@dataclass(slots=True)
class Granted:
    """Find a worker for this lease (an actor's when ``lease.actor_id``)."""

    lease: Lease


@dataclass(slots=True)
class RecallLease:
    """Ask the holder to return a lease."""

    lease: Lease
    must: bool


@dataclass(slots=True)
class DemandFailed:
    """A demand can never be granted; it has been dropped."""

    process_id: bytes
    key_id: Any
    kind: str
    text: str


@dataclass(slots=True)
class ActorUnplaceable:
    """An actor can never be placed; its claim has been dropped."""

    actor_id: bytes
    kind: str
    text: str


@dataclass(slots=True)
class Warn:
    """Tell the drivers of a job."""

    job_id: bytes
    text: str


@dataclass(slots=True)
class GroupCreated:
    """A placement group has all its bundles."""

    group_id: bytes


@dataclass(slots=True)
class EndLease:
    """Kill the worker of a lease whose resources have gone."""

    lease: Lease
    kind: str
    text: str


Command = Granted | RecallLease | DemandFailed | ActorUnplaceable | Warn | GroupCreated | EndLease


@dataclass(slots=True, eq=False)
class Node:
    """One machine, as the scheduler sees it."""

    node_id: str
    pool: ResourcePool
    labels: dict[str, str] = field(default_factory=dict)
