"""A generator that runs ahead of its consumer, in a thread.

::

    producer thread                        consumer
      source ──▶ offer ──▶ [items] ──▶ next ──▶ ...
                 waits while ``depth`` is reached

Guarantees: items come out in order; what the source raises comes out of ``next`` after the items before it, with its own
traceback; closing (or dropping) the consumer's generator stops the thread and closes the source, in the thread that runs
it; the thread never touches the consumer's generator, so that dropping that is enough.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_JOIN_SECONDS = 5.0  # a user's function may be in the middle of something: we don't wait for ever


class _Channel(Generic[T]):
    """A bounded queue of weighted items. One lock; ``changed`` is notified at every change of what somebody waits for."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._items: deque[tuple[T, int]] = deque()
        self._weight = 0
        self._error: BaseException | None = None
        self._done = False
        self._closed = False
        self._changed = threading.Condition()

    def offer(self, item: T, weight: int) -> bool:
        """Put an item in, when there is room. False: nobody wants it any more."""
        with self._changed:
            while self._weight >= self._depth and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            self._items.append((item, weight))
            self._weight += weight
            self._changed.notify_all()
            return True

    def finish(self, error: BaseException | None) -> None:
        with self._changed:
            self._error, self._done = error, True
            self._changed.notify_all()

    def take(self) -> T:
        """The next item. Raises StopIteration at the end, and what the source raised."""
        with self._changed:
            while not self._items:
                if self._done:
                    error, self._error = self._error, None
                    raise error or StopIteration
                self._changed.wait()
            item, weight = self._items.popleft()
            self._weight -= weight
            self._changed.notify_all()
            return item

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()


def prefetched(
    source: Iterator[T],
    depth: int,
    *,
    weigh: Callable[[T], int] | None = None,
    stop: Callable[[], None] | None = None,
    name: str = "aktis-data-prefetch",
) -> Iterator[T]:
    """The items of ``source``, made ahead of time in a thread until ``depth`` (in units of ``weigh``; each is 1 by default) wait.

    Args:
        source: runs in the thread, and is closed there if it can be closed.
        stop: called when the consumer leaves early; it must make a ``next`` of the source that waits come back.
        name: of the thread.
    """
    channel: _Channel[T] = _Channel(max(1, depth))
    thread = threading.Thread(target=_produce, args=(source, channel, weigh), name=name, daemon=True)
    thread.start()
    finished = False
    try:
        while True:
            try:
                item = channel.take()
            except StopIteration:
                finished = True
                return
            yield item
            del item  # not kept alive while the next one is waited for
    finally:
        channel.close()
        if not finished and stop is not None:
            stop()
        if thread is not threading.current_thread():  # the garbage collector may run us anywhere
            thread.join(_JOIN_SECONDS)


def _produce(source: Iterator[T], channel: _Channel[T], weigh: Callable[[T], int] | None) -> None:
    error: BaseException | None = None
    try:
        for item in source:
            if not channel.offer(item, 1 if weigh is None else max(1, weigh(item))):
                break
            del item
    except BaseException as raised:
        error = raised
    finally:
        try:
            close = getattr(source, "close", None)
            if close is not None:
                close()
        except BaseException as raised:
            error = error or raised
        channel.finish(error)
        del error
