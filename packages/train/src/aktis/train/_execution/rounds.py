"""Which reports belong together, who is missing, and who failed first: decisions only, no clocks and no waiting.

A round begins when the workers are let go, and is complete when each of them has reported once more. ::

    rounds.begin(now)
    rounds.reported(0, now); rounds.failed(1, error, now); ...
    rounds.decide(now)  ->  Waiting | Complete | AllEnded | Broken
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

__all__ = ["AllEnded", "Broken", "Complete", "Kind", "Rounds", "Waiting"]

GRACE_S = 5.0  # after a failure that may be the consequence of another one, which is waited for


class Kind(Enum):
    """Why a worker is no longer there, in the order of what tells more when they come together."""

    ERROR = "raised"
    LOST = "died"
    CONSEQUENCE = "lost contact"  # an error of communication: what another worker's end looks like from here


@dataclass(frozen=True)
class Waiting:
    """Nothing to do before ``until``, unless somebody reports."""

    until: float


@dataclass(frozen=True)
class Complete:
    """Every rank has reported."""


@dataclass(frozen=True)
class AllEnded:
    """Every rank has returned."""


@dataclass(frozen=True)
class Broken:
    """It cannot go on.

    Attributes:
        why: "failed", "lost", "unequal", "late" (stopped reporting) or "silent" (does not answer).
        ranks: Those to blame, the first one first.
    """

    why: str
    ranks: tuple[int, ...]


@dataclass
class _Rank:
    reports: int = 0
    in_round: bool = False  # has reported in this round
    ended: bool = False
    failure: Kind | None = None
    failed_at: float = 0.0
    heard_at: float = 0.0  # of its last answer to a heartbeat


@dataclass
class Rounds:
    """The state of all ranks.

    Args:
        world_size: How many there are.
        report_timeout_s: How long a rank may take after the first one of a round has reported, or returned.
        heartbeat_timeout_s: How long a rank may not answer.
    """

    world_size: int
    report_timeout_s: float
    heartbeat_timeout_s: float
    index: int = 0
    _ranks: list[_Rank] = field(default_factory=list)
    _first: float | None = None  # when the first rank of the round had done its part

    def __post_init__(self) -> None:
        self._ranks = [_Rank() for _ in range(self.world_size)]

    # -- what happens -----------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """The workers go on: a new round."""
        self.index += 1
        self._first = None
        for rank in self._ranks:
            rank.in_round = False
            rank.heard_at = now

    def reported(self, rank: int, now: float) -> None:
        """A rank has reported."""
        state = self._ranks[rank]
        state.in_round = True
        state.reports += 1
        state.heard_at = now
        if self._first is None:
            self._first = now

    def ended(self, rank: int, now: float) -> None:
        """The training loop of a rank has returned. The others may be waiting for it, in the middle of something collective."""
        self._ranks[rank].ended = True
        if self._first is None:
            self._first = now

    def failed(self, rank: int, kind: Kind, now: float) -> None:
        """A rank has raised, or its process is gone."""
        state = self._ranks[rank]
        if state.failure is None or (state.failure is Kind.CONSEQUENCE and kind is not Kind.CONSEQUENCE):
            state.failure, state.failed_at = kind, now

    def heard(self, rank: int, now: float) -> None:
        """A rank has answered that it is alive."""
        self._ranks[rank].heard_at = now

    # -- what follows -----------------------------------------------------------------------------

    def missing(self) -> list[int]:
        """The ranks that are running: no report in this round, no end, no failure."""
        return [rank for rank, state in enumerate(self._ranks) if _is_running(state)]

    def reports(self) -> list[int]:
        """How many reports each rank has made."""
        return [state.reports for state in self._ranks]

    def any_ended(self) -> bool:
        """Whether the loop of some rank has returned."""
        return any(state.ended for state in self._ranks)

    def decide(self, now: float) -> Waiting | Complete | AllEnded | Broken:
        """What has become of the round by now."""
        failed = [rank for rank, state in enumerate(self._ranks) if state.failure is not None]
        if failed:
            return self._decide_failure(failed, now)
        ended = [rank for rank, state in enumerate(self._ranks) if state.ended]
        reported = [rank for rank, state in enumerate(self._ranks) if state.in_round]
        if ended and reported:
            return Broken("unequal", tuple(ended))
        if len(ended) == self.world_size:
            return AllEnded()
        if len(reported) == self.world_size:
            return Complete()
        return self._decide_late(now)

    def _decide_failure(self, failed: Sequence[int], now: float) -> Waiting | Broken:
        causes = [rank for rank in failed if self._ranks[rank].failure is not Kind.CONSEQUENCE]
        first = min(self._ranks[rank].failed_at for rank in failed)
        if not causes and self.missing() and now < first + GRACE_S:
            return Waiting(first + GRACE_S)
        ranks = sorted(causes or failed, key=lambda rank: self._ranks[rank].failed_at)
        why = "lost" if self._ranks[ranks[0]].failure is Kind.LOST else "failed"
        return Broken(why, tuple(ranks))

    def _decide_late(self, now: float) -> Waiting | Broken:
        missing = self.missing()
        silent = [rank for rank in missing if now >= self._ranks[rank].heard_at + self.heartbeat_timeout_s]
        if silent:
            return Broken("silent", tuple(silent))
        until = min(self._ranks[rank].heard_at for rank in missing) + self.heartbeat_timeout_s
        if self._first is not None:
            late = self._first + self.report_timeout_s
            if now >= late:
                return Broken("late", tuple(missing))
            until = min(until, late)
        return Waiting(until)


def _is_running(state: _Rank) -> bool:
    return not state.in_round and not state.ended and state.failure is None
