"""How many calls to send ahead, and how many workers to ask for: pure functions.

A call that runs for microseconds must not wait for a round trip: several travel to a worker ahead of time. A call that
runs long must never have another one behind it while a worker idles: so the depth follows from measured durations,
and calls that were sent too far ahead are taken back (``STEAL``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

AHEAD = 0.004  # seconds of work to have waiting at a worker: several scheduler wake-ups long
MAX_DEPTH = 512
FIRST_WORKERS = 4  # workers asked for before anything is known about a key
RECONSIDER = 0.02  # seconds; after this a waiting call is evidence that the running ones are long
LONG = 0.002  # a call that runs longer than this should have nothing behind it
SMOOTHING = 0.3


class HasPending(Protocol):
    pending: dict[int, object]


L = TypeVar("L", bound=HasPending)


def depth(average: float | None, retriable: bool) -> int:
    """Calls that may be at a worker at a time. One while nothing is known; calls that must not run twice go singly,
    because after a crash nobody could tell which of several had begun."""
    if average is None or not retriable:
        return 1
    return max(1, min(MAX_DEPTH, int(AHEAD / max(average, 1e-6))))


def choose(leases: Sequence[L], limit: int) -> L | None:
    """The lease with the fewest calls, if it has room."""
    best: L | None = None
    least = limit
    for lease in leases:
        count = len(lease.pending)
        if count < least:
            best, least = lease, count
            if not count:
                break
    return best


def share(queued: int, room: int, workers: int) -> int:
    """Calls to give to one worker now: not all of the queue when others will want some."""
    return max(1, min(room, -(-queued // max(1, workers))))


def more_workers(waiting: int, have: int, growth: int, average: float | None) -> int:
    """Further workers that the waiting calls could use. Work that is over in a moment is not worth a new one."""
    if not waiting:
        return 0
    if average is not None and have and waiting * average < LONG:
        return 0
    return max(0, min(waiting, growth - have))


def smooth(average: float | None, sample: float) -> float:
    return sample if average is None else average + SMOOTHING * (sample - average)
