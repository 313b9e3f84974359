"""Waiting for processes that may be dead, or may never come. For actors whose calls run in threads."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aktis
from aktis.data.exceptions import DataError
from aktis.util.processes import is_alive

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # between looks at those who are waited for
WARN_SECONDS = 30.0


class ConsumerError(DataError, RuntimeError):
    """A consumer of a split stream is dead, or did not take part: the others cannot go on."""


@dataclass(frozen=True)
class Consumer:
    """Who takes a part of a split stream."""

    pid: int
    node: str
    actor: str | None

    @classmethod
    def here(cls) -> Consumer:
        context = aktis.get_runtime_context()
        actor = context.get_actor_id()
        return cls(os.getpid(), str(context.get_node_id()), str(actor) if actor else None)

    def is_dead(self, own_node: str) -> bool:
        """Whether it is known to be dead. Processes on other nodes that are no actors are taken for alive."""
        if self.node == own_node and not is_alive(self.pid):
            return True
        if self.actor is None:
            return False
        from aktis.util.state import get_actor

        try:
            state: Any = get_actor(self.actor)
        except Exception:  # the session may be busy; the next look will tell
            return False
        return state is not None and state.get("state") == "DEAD"

    def __str__(self) -> str:
        return f"actor {self.actor}, pid {self.pid}" if self.actor else f"pid {self.pid}"


class Meeting:
    """Where ``n`` consumers meet. ``_changed`` guards all state of the subclass, and is notified of every change of it."""

    def __init__(self, n: int, patience: float, what: str) -> None:
        self._n = n
        self._patience = patience
        self._what = what  # whose parts they are: "streaming_split"
        self._node = str(aktis.get_runtime_context().get_node_id())
        self._changed = threading.Condition()
        self._consumers: list[Consumer | None] = [None] * n

    def _wait(self, ready: Callable[[], bool], awaited: Callable[[], list[int]], what: str) -> None:
        """Wait (the lock is held) until ``ready``.

        Time passes only while there is somebody to wait for: an execution may take as long as it likes.

        Raises:
            ConsumerError: one of the awaited consumers is dead, or time is up.
        """
        since: float | None = None
        warned = False
        while not ready():
            self._changed.wait(LOOK_SECONDS)
            late = awaited()
            if ready():
                return
            if not late:
                since = None
                continue
            now = time.monotonic()
            since = now if since is None else since
            self._check_alive(late, what)
            if now - since > self._patience:
                raise ConsumerError(
                    f"waited {now - since:.0f} s for {what}, but {self._names(late)} did not take part. All {self._n} parts of a "
                    f"{self._what} must be consumed at the same time, and equally often. "
                    "DatasetContext.split_timeout_s says how long they wait for one another."
                )
            if now - since > WARN_SECONDS and not warned:
                warned = True
                log.warning("waiting for %s: %s did not ask yet", what, self._names(late))

    def _check_alive(self, parts: list[int], what: str) -> None:
        for part in parts:
            consumer = self._consumers[part]
            if consumer is not None and consumer.is_dead(self._node):
                raise ConsumerError(f"waited for {what}, but consumer {part} of {self._n} ({consumer}) has died")

    def _names(self, parts: list[int]) -> str:
        names = [f"{part} ({self._consumers[part] or 'never seen'})" for part in parts]
        return f"consumer{'s' if len(names) > 1 else ''} {', '.join(names)}"
