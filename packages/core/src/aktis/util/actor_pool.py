"""A fixed set of actors that work through values, each actor on one at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import aktis

if TYPE_CHECKING:
    from aktis.object_ref import ObjectRef

V = TypeVar("V")

__all__ = ["ActorPool"]


class ActorPool(Generic[V]):
    """Give values to whichever actor of a group is idle.

    ``fn`` in the methods below is called as ``fn(actor, value)`` and returns the reference of a call, as in
    ``pool.map(lambda actor, value: actor.double.remote(value), [1, 2, 3])``.
    Results come in order of submission (``get_next``, ``map``) or as they become ready (``..._unordered``).
    An actor goes back to work as soon as one of its results was taken, failed or not.
    """

    def __init__(self, actors: Iterable[Any]) -> None:
        self._idle: list[Any] = list(actors)
        self._running: dict[ObjectRef[Any], Any] = {}  # references and their actors, in order of submission
        self._waiting: deque[tuple[Callable[[Any, V], Any], V]] = deque()  # values that no actor was free for

    def map(self, fn: Callable[[Any, V], Any], values: Iterable[V]) -> Iterator[Any]:
        """Apply ``fn`` to all values; an iterator of the results in order.

        The values are submitted at once. Results of earlier calls that nobody took are thrown away.
        """
        self._discard_results()
        for value in values:
            self.submit(fn, value)

        def results() -> Iterator[Any]:
            while self.has_next():
                yield self.get_next()

        return results()

    def map_unordered(self, fn: Callable[[Any, V], Any], values: Iterable[V]) -> Iterator[Any]:
        """Like :meth:`map`, with the results as they become ready."""
        self._discard_results()
        for value in values:
            self.submit(fn, value)

        def results() -> Iterator[Any]:
            while self.has_next():
                yield self.get_next_unordered()

        return results()

    def submit(self, fn: Callable[[Any, V], Any], value: V) -> None:
        """Call ``fn(actor, value)`` now if an actor is idle, else when one becomes so."""
        if not self._idle:
            self._waiting.append((fn, value))
            return
        actor = self._idle.pop()
        try:
            ref = fn(actor, value)
        except BaseException:
            self._idle.append(actor)
            raise
        self._running[ref] = actor

    def has_next(self) -> bool:
        """Whether results are still to come."""
        return bool(self._running)

    def get_next(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """The next result in order of submission, of those that were not taken yet.

        Raises StopIteration when nothing was submitted, and TimeoutError after ``timeout`` seconds; with
        ``ignore_if_timedout`` the late result is thrown away (and its actor used again) before that is raised.
        """
        if not self.has_next():
            raise StopIteration("no results are to come from this ActorPool; submit() something first")
        ref = next(iter(self._running))
        if timeout is not None and not self._is_ready([ref], timeout):
            if ignore_if_timedout:
                self._take(ref)
            raise TimeoutError(f"the next result of the ActorPool was not ready within {timeout} s")
        self._take(ref)
        return aktis.get(ref)

    def get_next_unordered(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """Any result that is ready; waits for the first one. For the arguments see :meth:`get_next`."""
        if not self.has_next():
            raise StopIteration("no results are to come from this ActorPool; submit() something first")
        ready = self._is_ready(list(self._running), timeout)
        if not ready:
            if ignore_if_timedout:
                self._take(next(iter(self._running)))
            raise TimeoutError(f"no result of the ActorPool was ready within {timeout} s")
        self._take(ready[0])
        return aktis.get(ready[0])

    def has_free(self) -> bool:
        """Whether an actor is idle and no value waits."""
        return bool(self._idle) and not self._waiting

    def pop_idle(self) -> Any | None:
        """Take an idle actor out of the pool; None when there is none."""
        return self._idle.pop() if self.has_free() else None

    def push(self, actor: Any) -> None:
        """Add an actor to the pool. Raises ValueError if it is a member already."""
        if actor in self._idle or actor in self._running.values():
            raise ValueError(f"{actor!r} belongs to this ActorPool already")
        self._put_to_work(actor)

    def _is_ready(self, refs: list[ObjectRef[Any]], timeout: float | None) -> list[ObjectRef[Any]]:
        ready, _ = aktis.wait(refs, num_returns=1, timeout=timeout)
        return ready

    def _take(self, ref: ObjectRef[Any]) -> None:
        """Strike a reference off; its actor gets the next value."""
        actor = self._running.pop(ref)
        self._put_to_work(actor)

    def _put_to_work(self, actor: Any) -> None:
        self._idle.append(actor)
        if self._waiting:
            self.submit(*self._waiting.popleft())

    def _discard_results(self) -> None:
        while self.has_next():
            ref = next(iter(self._running))
            if not self._is_ready([ref], 0):
                # Still at work: the actor stays reserved until it is done, and the result is nobody's.
                aktis.wait([ref], num_returns=1)
            self._take(ref)
