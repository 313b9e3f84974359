"""Who works on which chunk. Chunks wait here, not at the actors, so that a slow one holds up nobody.

::

    Pool.map ... ──► submit(chunk) ──► queue ──► idle actors, a few chunks deep
                                                   │ reference of each call
    AsyncResult.get (any thread) ──► help() ──────►│ aktis.wait; collect() gives the results to their chunks
    thread "aktis-pool" ──────────► done callbacks │ the same, when nobody waits in get()

A thread that waits for a result helps: it waits with ``aktis.wait``, so a task that waits here gives its CPU back,
and in inline mode, which has no thread, the waiting call is what makes things run. ``_lock`` guards everything here;
neither calls to the engine that may wait nor the user's callbacks are made under it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aktis
from aktis.util.multiprocessing._worker import Failure, PoolWorker

if TYPE_CHECKING:
    from aktis.object_ref import ObjectRef

_DEPTH = 2  # chunks an actor has at once: the next one is there when the first ends
_SHORT_DEPTH = 8  # when chunks take less than _SHORT seconds, so that nobody waits for messages
_SHORT = 0.005


@dataclass(slots=True, eq=False)
class Chunk:
    """A piece of work, and where its outcome goes: ``done`` gets a list of results, or an exception."""

    function: ObjectRef[Any]
    kind: int
    batch: list[Any]
    done: Callable[[list[Any] | None, BaseException | None], None]


@dataclass(slots=True, eq=False)
class _Member:
    """An actor of the pool."""

    actor: Any
    calls: int = 0  # under way
    given: int = 0  # in its life
    retired: bool = False  # gets nothing new; killed when its calls are done


@dataclass(slots=True)
class _Call:
    member: _Member
    chunk: Chunk
    started: float = field(default_factory=time.monotonic)


class Dispatcher:
    """The actors of a pool and the work they have."""

    def __init__(
        self, processes: int, make_actor: Callable[[], Any], max_tasks_per_child: int | None, background: bool
    ) -> None:
        self._make_actor = make_actor
        self._max_tasks = max_tasks_per_child
        self._lock = threading.Lock()
        self._waiting: deque[Chunk] = deque()
        self._calls: dict[ObjectRef[Any], _Call] = {}
        self._members = [_Member(make_actor()) for _ in range(processes)]
        self._mean = 1.0  # seconds that a chunk takes, smoothed
        self._changed = threading.Condition()  # notified when chunks were done
        self._stopped = False
        self._inbox: queue.SimpleQueue[ObjectRef[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._background = background

    @property
    def actors(self) -> list[Any]:
        return [member.actor for member in self._members]

    def submit(self, chunks: list[Chunk]) -> None:
        """Queue work. Returns at once."""
        with self._lock:
            self._waiting.extend(chunks)
        self._give_out()

    def idle(self) -> bool:
        """Whether all work is done."""
        return not self._waiting and not self._calls

    def help(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """Wait until ``done()``, doing the pool's work meanwhile; False when ``timeout`` seconds were too few."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not done():
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            with self._lock:
                refs = list(self._calls)
            if refs:
                ready, _ = aktis.wait(refs, num_returns=1, timeout=left)
                if ready and len(refs) > 1:
                    rest = [ref for ref in refs if ref is not ready[0]]
                    ready += aktis.wait(rest, num_returns=len(rest), timeout=0)[0]
                self.collect(ready)
            else:
                # What we wait for is done, and another thread is just delivering it.
                with self._changed:
                    if not done() and not self._calls and not self._waiting:
                        self._changed.wait(left if left is not None else 1.0)
            if deadline is not None and time.monotonic() >= deadline:
                return done()
        return True

    def collect(self, ready: list[ObjectRef[Any]]) -> None:
        """Take the results of calls that are done; each is taken once, whoever comes first."""
        finished: list[tuple[_Call, ObjectRef[Any]]] = []
        with self._lock:
            for ref in ready:
                call = self._calls.pop(ref, None)
                if call is not None:
                    finished.append((call, ref))
                    call.member.calls -= 1
                    self._mean += 0.2 * (time.monotonic() - call.started - self._mean)
        if not finished:
            return
        self._give_out()
        for call, ref in finished:
            self._deliver(call, ref)
        with self._changed:
            self._changed.notify_all()

    def _deliver(self, call: _Call, ref: ObjectRef[Any]) -> None:
        try:
            outcome = aktis.get(ref)
        except Exception as error:
            if _is_replaceable(error):
                self._replace(call.member)
            call.chunk.done(None, error)
            return
        if isinstance(outcome, Failure):
            call.chunk.done(None, outcome.restore())
        else:
            call.chunk.done(outcome, None)

    def _give_out(self) -> None:
        """Give waiting chunks to the actors with the least to do."""
        made: list[ObjectRef[Any]] = []
        leaving: list[Any] = []
        with self._lock:
            depth = _DEPTH if self._mean >= _SHORT else _SHORT_DEPTH
            while self._waiting and not self._stopped:
                free = [member for member in self._members if member.calls < depth]
                if not free:
                    break
                member = min(free, key=lambda one: one.calls)
                chunk = self._waiting.popleft()
                ref = member.actor.run.remote([chunk.function], chunk.kind, chunk.batch)
                member.calls += 1
                member.given += 1
                self._calls[ref] = _Call(member, chunk)
                made.append(ref)
                if self._max_tasks is not None and member.given >= self._max_tasks:
                    # The handle goes; the actor ends by itself once it has done what it was given.
                    leaving.append(member.actor)
                    member.retired = True
                    self._members[self._members.index(member)] = _Member(self._make_actor())
        if self._background:
            self._watch(made)

    def _replace(self, dead: _Member) -> None:
        with self._lock:
            if dead in self._members and not self._stopped:
                self._members[self._members.index(dead)] = _Member(self._make_actor())
        self._give_out()

    def _watch(self, refs: list[ObjectRef[Any]]) -> None:
        from aktis import _session

        if not refs:
            return
        with self._lock:
            if self._thread is None and not self._stopped:
                self._thread = threading.Thread(target=self._run, name="aktis-pool", daemon=True)
                self._thread.start()
        engine = _session.require_engine()
        for ref in refs:
            engine.add_done_callback(ref, lambda ref=ref: self._inbox.put(ref))  # type: ignore[misc]

    def _run(self) -> None:
        while True:
            ref = self._inbox.get()
            if ref is None:
                return
            ready = [ref]
            while not self._inbox.empty():
                more = self._inbox.get()
                if more is None:
                    return
                ready.append(more)
            try:
                self.collect(ready)
            except Exception:
                # The session ended under us; whoever waits for a result hears it from the engine.
                if not aktis.is_initialized():
                    return
                raise

    def abandon(self) -> None:
        """Nobody will ask any more: let the thread end, and with it the handles of the actors."""
        self._inbox.put(None)

    def stop(self, error: BaseException) -> None:
        """Kill the actors. Work that was not done ends with ``error``."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            unfinished = [*[call.chunk for call in self._calls.values()], *self._waiting]
            self._calls.clear()
            self._waiting.clear()
            members, self._members = self._members, []
        self._inbox.put(None)
        for member in members:
            try:
                aktis.kill(member.actor)
            except Exception:  # dead already, or the session is
                pass
        for chunk in unfinished:
            chunk.done(None, error)
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()


def _is_replaceable(error: BaseException) -> bool:
    """Whether the actor died of something else than its initializer, which would fail again."""
    from aktis.exceptions import AktisActorError

    return isinstance(error, AktisActorError) and not getattr(error, "actor_init_failed", False)


__all__ = ["Chunk", "Dispatcher", "PoolWorker"]
