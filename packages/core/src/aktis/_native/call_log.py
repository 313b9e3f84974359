"""What ran in this process, for the state API and the timeline. Bounded and lossy, off the hot path."""

from __future__ import annotations

import os
from collections import deque
from time import perf_counter, time
from typing import TYPE_CHECKING, Any

from aktis._native import protocol as op

if TYPE_CHECKING:
    from aktis._native.core import Core

INTERVAL = 1.0  # seconds between two reports to the node
KEPT = 10_000  # calls between two reports; older ones are dropped


class CallLog:
    """Finished calls of a worker, told to the node once a second, in bulk."""

    def __init__(self, core: Core, worker_id: bytes, job_id: bytes) -> None:
        self._core = core
        self._worker_id = worker_id.hex()
        self._job_id = job_id.hex()
        self.actor_id: str | None = None  # set when the worker becomes an actor
        self._calls: deque[tuple[Any, ...]] = deque(maxlen=KEPT)

    def note(self, key: tuple[bytes, int], name: str, began: float, seconds: float, payload: Any) -> None:
        """Remember a call: ``key`` is the submitter's process id and counter, ``began`` a perf_counter reading."""
        if not self._calls:
            self._core.pump.call_later(INTERVAL, self.push)
        self._calls.append((key, name, began, seconds, type(payload) is tuple and payload[0] == op.ERROR))

    def push(self) -> None:
        """Tell the node now."""
        if self._calls and self._core.node is not None:
            self._core.node.post((op.EVENTS, self._take()))

    def _take(self) -> list[tuple[Any, ...]]:
        """One event for each call: short ones, because a busy actor has thousands a second. ``row_of`` reads them."""
        offset = time() - perf_counter()
        facts = (os.getpid(), self._worker_id, self._job_id, self.actor_id)
        events = []
        while self._calls:
            (process_id, counter), name, began, seconds, failed = self._calls.popleft()
            events.append(("call", process_id, counter, name, failed, began + offset, seconds, facts))
        return events


def row_of(event: tuple[Any, ...]) -> dict[str, Any]:
    """An event of a finished call as the state API shows it."""
    _kind, process_id, counter, name, failed, began, seconds, (pid, worker_id, job_id, actor_id) = event
    return {
        "task_id": (process_id + counter.to_bytes(8, "big")).hex(),
        "name": name,
        "type": "NORMAL_TASK" if actor_id is None else "ACTOR_TASK",
        "state": "FAILED" if failed else "FINISHED",
        "start_time": began,
        "end_time": began + seconds,
        "pid": pid,
        "worker_id": worker_id,
        "job_id": job_id,
        "actor_id": actor_id,
    }
