"""The actors of a worker set: who is well, who was asked for what, and who has to be made anew.

Every request has an owner: the set waits for its results, or keeps the references of those that it did not wait for, so
that an error of
theirs is seen with the next request. A worker that dies, or raises, is *unhealthy* until it has been made anew or answers again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aktis

__all__ = ["Answer", "RemoteWorkers"]

logger = logging.getLogger(__name__)

SLOW_SECONDS = 60.0  # who has not answered for so long is named in the log: an environment may hang
STOP_SECONDS = 5.0  # what a worker gets for closing its environments


@dataclass
class Answer:
    """What a request brought.

    Attributes:
        worker_id: Who answered.
        value: What it returned.
        error: What was raised instead.
    """

    worker_id: int
    value: Any = None
    error: BaseException | None = None


@dataclass
class _Member:
    handle: Any
    healthy: bool = True
    in_flight: dict[Any, None] = field(default_factory=dict)  # references of asynchronous requests, in order


class RemoteWorkers:
    """Actors, numbered for life.

    Args:
        make: ``make(worker_id, recreated)`` makes an actor.
        max_in_flight: How many asynchronous requests a worker may have at a time.
    """

    def __init__(self, make: Callable[[int, bool], Any], max_in_flight: int = 2) -> None:
        self._make = make
        self._max_in_flight = max_in_flight
        self._members: dict[int, _Member] = {}
        self._next_id = 1
        self._unseen: dict[Any, int] = {}  # requests that nobody waits for, with their worker
        self._quiet_since: float | None = None  # since when asynchronous requests have brought nothing
        self._patience = SLOW_SECONDS
        self.restarts = 0
        self.last_error: BaseException | None = None

    # Members --------------------------------------------------------------------------------------------------------

    def add(self, count: int) -> list[int]:
        """So many workers more; their numbers."""
        added = []
        for _ in range(count):
            worker_id, self._next_id = self._next_id, self._next_id + 1
            self._members[worker_id] = _Member(self._make(worker_id, False))
            added.append(worker_id)
        return added

    def replace_all(self, handles: Sequence[Any]) -> None:
        """Other actors than before, numbered from 1; the old ones are the caller's."""
        self._members = {index + 1: _Member(handle) for index, handle in enumerate(handles)}
        self._next_id = len(self._members) + 1
        self._unseen.clear()

    def ids(self, healthy_only: bool = False, among: Sequence[int] | None = None) -> list[int]:
        """Numbers of the workers, in order."""
        return [
            worker_id
            for worker_id, member in self._members.items()
            if (member.healthy or not healthy_only) and (among is None or worker_id in among)
        ]

    def handle(self, worker_id: int) -> Any:
        """The actor of a number."""
        return self._members[worker_id].handle

    def handles(self) -> list[Any]:
        """All actors, in order."""
        return [member.handle for member in self._members.values()]

    def healthy(self, worker_id: int) -> bool:
        """Whether a worker is well, as far as is known."""
        return self._members[worker_id].healthy

    def set_healthy(self, worker_id: int, healthy: bool) -> None:
        """What is known of a worker now."""
        member = self._members.get(worker_id)
        if member is None:
            return
        member.healthy = healthy
        if not healthy:
            member.in_flight.clear()

    def remake(self, worker_id: int) -> None:
        """A new actor in place of one; not healthy before somebody says so."""
        member = self._members[worker_id]
        aktis.kill(member.handle)
        self._members[worker_id] = _Member(self._make(worker_id, True), healthy=False)
        self._unseen = {ref: of for ref, of in self._unseen.items() if of != worker_id}
        self.restarts += 1

    def remove(self, worker_id: int) -> None:
        """One worker less."""
        member = self._members.pop(worker_id, None)
        if member is not None:
            aktis.kill(member.handle)

    # Requests -------------------------------------------------------------------------------------------------------

    def ask(
        self,
        functions: Callable[[Any], Any] | Sequence[Callable[[Any], Any]],
        worker_ids: Sequence[int],
        *,
        timeout: float | None = None,
        as_refs: bool = False,
        mark_healthy: bool = False,
    ) -> list[Answer]:
        """``function(worker)`` of each of them, in parallel; answers in the order of the workers.

        Args:
            functions: One for all, or one for each.
            worker_ids: Who is asked.
            timeout: Seconds to wait. Who has not answered then is left out, and counts as unhealthy. None: until it
                answers or dies.
            as_refs: Answers are references to the values.
            mark_healthy: Whether who answers counts as healthy from now on.
        """
        refs = self.send(functions, worker_ids)
        return self.collect(refs, timeout=timeout, as_refs=as_refs, mark_healthy=mark_healthy)

    def send(self, functions: Any, worker_ids: Sequence[int]) -> dict[Any, int]:
        """The first half of :meth:`ask`: the requests, by their references."""
        each = [functions] * len(worker_ids) if callable(functions) else list(functions)
        return {
            self._members[worker_id].handle.apply.remote(function): worker_id
            for worker_id, function in zip(worker_ids, each, strict=True)
        }

    def tell(self, method: str, worker_ids: Sequence[int], *args: Any) -> None:
        """Call a method of each of them without waiting; errors are seen by :meth:`check_told`."""
        for worker_id in worker_ids:
            self._unseen[getattr(self._members[worker_id].handle, method).remote(*args)] = worker_id

    def check_told(self) -> list[Answer]:
        """What went wrong with earlier :meth:`tell`, as far as is known now."""
        if not self._unseen:
            return []
        ready, _ = aktis.wait(list(self._unseen), num_returns=len(self._unseen), timeout=0)
        answers = [self._fetch(ref, self._unseen.pop(ref), False, False) for ref in ready]
        return [answer for answer in answers if answer.error is not None]

    def ask_async(self, functions: Any, worker_ids: Sequence[int]) -> int:
        """The same as :meth:`ask` without waiting; who has too much to do already is passed over. How many were asked."""
        each = [functions] * len(worker_ids) if callable(functions) else list(functions)
        asked = 0
        for worker_id, function in zip(worker_ids, each, strict=True):
            member = self._members[worker_id]
            if len(member.in_flight) < self._max_in_flight:
                member.in_flight[member.handle.apply.remote(function)] = None
                asked += 1
        return asked

    def fetch_ready(self, *, timeout: float | None, as_refs: bool, mark_healthy: bool) -> list[Answer]:
        """Answers to asynchronous requests that are there.

        Waits up to ``timeout`` seconds for the first one (None: until it is there).
        """
        pending = {ref: worker_id for worker_id, member in self._members.items() for ref in member.in_flight}
        if not pending:
            self._quiet_since = None
            return []
        ready, _ = aktis.wait(list(pending), num_returns=1, timeout=timeout, fetch_local=not as_refs)
        self._note_news(bool(ready), set(pending.values()))
        if ready:
            more, _ = aktis.wait(list(pending), num_returns=len(pending), timeout=0, fetch_local=not as_refs)
            ready = more or ready
        answers = []
        for ref in ready:
            self._members[pending[ref]].in_flight.pop(ref, None)
            answers.append(self._fetch(ref, pending[ref], as_refs, mark_healthy))
        return answers

    def _note_news(self, news: bool, asked: set[int]) -> None:
        """Nothing at all from any of them for very long is told of, each time that it is twice as long."""
        now = time.monotonic()
        if news or self._quiet_since is None:
            self._quiet_since, self._patience = now, SLOW_SECONDS
        elif now - self._quiet_since >= self._patience:
            _warn_slow(sorted(asked), now - self._quiet_since)
            self._patience *= 2

    def in_flight(self) -> int:
        """How many asynchronous requests have not been fetched yet."""
        return sum(len(member.in_flight) for member in self._members.values())

    def collect(
        self, refs: dict[Any, int], *, timeout: float | None = None, as_refs: bool = False, mark_healthy: bool = False
    ) -> list[Answer]:
        """The second half of :meth:`ask`."""
        waiting = list(refs)
        ready, late = _waited(refs, timeout) if waiting else ([], [])
        for ref in late:
            logger.warning("worker %d did not answer within %s s", refs[ref], timeout)
            self.set_healthy(refs[ref], False)
        answers = [self._fetch(ref, refs[ref], as_refs, mark_healthy) for ref in ready]
        order = {worker_id: index for index, worker_id in enumerate(refs.values())}
        return sorted(answers, key=lambda answer: order[answer.worker_id])

    def _fetch(self, ref: Any, worker_id: int, as_refs: bool, mark_healthy: bool) -> Answer:
        try:
            # A reference is given on unseen only if there is a value behind it.
            value = aktis.get(ref)
        except Exception as error:
            self.set_healthy(worker_id, False)
            self.last_error = error
            return Answer(worker_id, error=error)
        if mark_healthy:
            self.set_healthy(worker_id, True)
        return Answer(worker_id, ref if as_refs else value)

    # The end --------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Close and end all of them."""
        if not aktis.is_initialized():  # the session is over, and its actors with it
            self._members.clear()
            return
        deadline = time.monotonic() + STOP_SECONDS
        handles = [member.handle for member in self._members.values()]
        refs = [member.handle.stop.remote() for member in self._members.values() if member.healthy]
        if refs:
            aktis.wait(refs, num_returns=len(refs), timeout=max(0.0, deadline - time.monotonic()))
        self._members.clear()
        self._unseen.clear()
        for handle in handles:
            aktis.kill(handle)


def _waited(refs: dict[Any, int], timeout: float | None) -> tuple[list[Any], list[Any]]:
    """As ``aktis.wait`` for all of them. Without a timeout, those that take very long are told of while it waits."""
    waiting = list(refs)
    if timeout is not None:
        ready, late = aktis.wait(waiting, num_returns=len(waiting), timeout=timeout)
        return ready, late
    patience = waited = SLOW_SECONDS
    while True:
        ready, late = aktis.wait(waiting, num_returns=len(waiting), timeout=patience)
        if not late:
            return ready, late
        _warn_slow([refs[ref] for ref in late], waited)
        patience = waited
        waited += patience


def _warn_slow(worker_ids: Sequence[int], seconds: float) -> None:
    logger.warning(
        "worker%s %s did not answer for %.0f s, and is waited for: an environment that hangs in step() or reset(), or episodes "
        "that do not end (batch_mode='complete_episodes')?",
        "s" if len(worker_ids) > 1 else "",
        ", ".join(map(str, worker_ids)),
        seconds,
    )
