"""Loops over results in the order in which they become ready."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import aktis

if TYPE_CHECKING:
    from aktis.object_ref import ObjectRef

__all__ = ["as_completed", "map_unordered"]


def as_completed(
    refs: Sequence[ObjectRef[Any]],
    *,
    chunk_size: int = 10,
    yield_obj_refs: bool = False,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> Iterator[Any]:
    """Yield the values of ``refs`` as they become ready (or the references, with ``yield_obj_refs``).

    A failed call raises where its value would be yielded. ``chunk_size`` bounds how many results are taken from
    the engine at once; a result never waits for others. ``timeout`` bounds, in seconds, the wait for each next
    result: after it :class:`~aktis.exceptions.GetTimeoutError` is raised.
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, not {chunk_size!r}")
    return _as_completed(list(refs), chunk_size, yield_obj_refs, timeout, fetch_local)


def _as_completed(
    rest: list[ObjectRef[Any]], chunk_size: int, yield_obj_refs: bool, timeout: float | None, fetch_local: bool
) -> Iterator[Any]:
    while rest:
        ready, rest = _next_ready(rest, chunk_size, timeout, fetch_local)
        for ref in ready:
            yield ref if yield_obj_refs else aktis.get(ref)


def map_unordered(
    fn: Any,
    items: Iterable[Any],
    *,
    backpressure_size: int | None = 100,
    chunk_size: int = 10,
    yield_obj_refs: bool = False,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> Iterator[Any]:
    """Call ``fn.remote(item)`` for every item and yield the results as they become ready.

    ``fn`` is a remote function, or a method of an actor. At most ``backpressure_size`` calls are under way, so that
    ``items`` may be endless (None: no bound). For the other arguments see :func:`as_completed`.
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, not {chunk_size!r}")
    if backpressure_size is not None and backpressure_size < chunk_size:
        raise ValueError(f"backpressure_size ({backpressure_size}) must be at least chunk_size ({chunk_size})")
    return _map_unordered(fn, iter(items), backpressure_size, chunk_size, yield_obj_refs, timeout, fetch_local)


def _map_unordered(
    fn: Any,
    items: Iterator[Any],
    backpressure_size: int | None,
    chunk_size: int,
    yield_obj_refs: bool,
    timeout: float | None,
    fetch_local: bool,
) -> Iterator[Any]:
    pending: list[ObjectRef[Any]] = []
    exhausted = False
    while True:
        while not exhausted and (backpressure_size is None or len(pending) < backpressure_size):
            try:
                item = next(items)
            except StopIteration:
                exhausted = True
            else:
                pending.append(fn.remote(item))
        if not pending:
            return
        ready, pending = _next_ready(pending, chunk_size, timeout, fetch_local)
        for ref in ready:
            yield ref if yield_obj_refs else aktis.get(ref)


def _next_ready(
    refs: list[ObjectRef[Any]], chunk_size: int, timeout: float | None, fetch_local: bool
) -> tuple[list[ObjectRef[Any]], list[ObjectRef[Any]]]:
    """At least one ready reference, and up to ``chunk_size`` of them if they are ready already."""
    ready, rest = aktis.wait(refs, num_returns=1, timeout=timeout, fetch_local=fetch_local)
    if not ready:
        from aktis.exceptions import GetTimeoutError

        raise GetTimeoutError(f"none of {len(refs)} results became ready within {timeout} s")
    if rest and chunk_size > 1:
        more, rest = aktis.wait(rest, num_returns=min(chunk_size - 1, len(rest)), timeout=0, fetch_local=fetch_local)
        ready += more
    return ready, rest
