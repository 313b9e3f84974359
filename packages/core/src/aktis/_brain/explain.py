"""Why a claim waits: as data, and as a sentence."""

from __future__ import annotations

from typing import Any

from aktis._brain.claims import Claim, ClaimId, Lease
from aktis._brain.resources import quantity, words
from aktis._brain.scheduler import Scheduler
from aktis._brain.strategies import Target, Unschedulable, infeasible, targets


def explain(scheduler: Scheduler, claim_id: ClaimId) -> dict[str, Any]:
    """``state``, ``sentence``, and where it applies ``short``, ``holders`` and ``ahead``."""
    claim = scheduler.claims.get(claim_id)
    if claim is None or not claim.queued:
        held = [lease.lease_id for lease in scheduler.leases.values() if lease.claim_id == claim_id]
        if held:
            return {"state": "STARTING", "sentence": "It has its resources; its worker is running or being started."}
        return {"state": "UNKNOWN", "sentence": "It does not wait for resources."}
    reason = infeasible(claim, scheduler.nodes, scheduler.groups)
    if reason:
        return {
            "state": "INFEASIBLE",
            "sentence": f"Waiting: {reason}. It will wait until such a node joins.",
            "needs": claim.resources,
        }
    options = _targets(scheduler, claim)
    if not options:
        return {"state": "PENDING", "sentence": "Waiting: its placement group has not been placed yet."}
    target = min(options, key=lambda target: sum(target.pool.shortage(claim.resources).values()))
    short = target.pool.shortage(claim.resources)
    holders = [lease for lease in scheduler.leases.values() if lease.pool is target.pool and _holds(lease, short)]
    ahead = _ahead(scheduler, claim)
    parts = []
    for name in short:
        free, total = max(0, target.pool.free.get(name, 0)), target.pool.capacity.get(name, 0)
        parts.append(
            f"it needs {quantity(name, claim.resources[name])} {name}, and {quantity(name, free)} of "
            f"{quantity(name, total)} are free"
        )
    sentence = f"Waiting for resources: {'; '.join(parts)}." if parts else "Waiting for its turn."
    if holders:
        sentence += f" Held by {_names(holders)}."
    if ahead:
        sentence += f" {ahead} ahead of it in the queue of its job."
    return {
        "state": "PENDING",
        "sentence": sentence,
        "needs": claim.resources,
        "short": {
            name: {"lacking": amount, "free": target.pool.free.get(name, 0), "total": target.pool.capacity.get(name, 0)}
            for name, amount in short.items()
        },
        "holders": [
            {
                "lease_id": lease.lease_id,
                "name": lease.name,
                "kind": lease.claim_id[0],
                "process_id": lease.process_id,
                "resources": lease.resources,
                "text": words(lease.resources),
            }
            for lease in holders
        ],
        "ahead": ahead,
    }


def _targets(scheduler: Scheduler, claim: Claim) -> list[Target]:
    if claim.claim_id[0] == "group":
        return [Target(node.node_id, node.pool) for node in scheduler.nodes.values()]
    try:
        return targets(claim, scheduler.nodes, scheduler.groups)
    except Unschedulable:
        return []


def _holds(lease: Lease, short: dict[str, int]) -> bool:
    amounts = lease.allocation.amounts
    return any(amounts.get(name, 0) - (lease.allocation.lent if name == "CPU" else 0) > 0 for name in short)


def _ahead(scheduler: Scheduler, claim: Claim) -> int:
    count = 0
    for other in scheduler.waiting():
        if other is claim:
            break
        if other.job_id == claim.job_id:
            count += other.wanted
    return count


def _names(holders: list[Lease], limit: int = 3) -> str:
    counts: dict[str, int] = {}
    for lease in holders:
        name = f"{'actor' if lease.actor_id is not None else 'task'} {lease.name or '(no name)'}"
        counts[name] = counts.get(name, 0) + 1
    texts = [f"{name} (x{count})" if count > 1 else name for name, count in counts.items()]
    rest = len(texts) - limit
    return ", ".join(texts[:limit]) + (f" and {rest} more" if rest > 0 else "")
