"""Memory policy: who has to go when memory runs out, and what people are told about it."""

from __future__ import annotations

from dataclasses import dataclass

WORTHWHILE = 0.01
"""If all we could kill uses less than this part of the limit, somebody else fills the memory and killing does not help."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A worker at work."""

    pid: int
    name: str
    kind: str  # "task" | "actor"
    retriable: bool
    started: float
    used: int  # bytes that ending it would free


def choose(used: int, limit: int, candidates: list[Candidate]) -> Candidate | None:
    """Whom to kill: the newest retriable task, else the newest retriable actor, else the newest of all; None if nobody."""
    if used <= limit or not candidates:
        return None
    if sum(candidate.used for candidate in candidates) < WORTHWHILE * limit:
        return None
    return max(candidates, key=lambda one: (one.retriable, one.kind == "task", one.started, one.pid))


def describe(used: int, limit: int, victim: Candidate, candidates: list[Candidate], top: int = 5) -> str:
    """The text of the DeathCause: who used how much, and what one can do."""
    table = "\n".join(
        f"  {size(one.used):>9}  pid {one.pid}  {one.kind} {one.name or '(no name)'}{'  <- killed' if one is victim else ''}"
        for one in sorted(candidates, key=lambda one: -one.used)[:top]
    )
    who = f"The {victim.kind} {victim.name or '(no name)'} (pid {victim.pid}, using {size(victim.used)})"
    return (
        f"{who} was killed because memory runs out: {size(used)} of the allowed {size(limit)} are in use. "
        f"The largest workers were:\n{table}\n"
        "Give such tasks fewer places at a time (a larger num_cpus or memory=), or let them use less memory."
    )


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"
