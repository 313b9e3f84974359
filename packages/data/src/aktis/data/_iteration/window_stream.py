"""Executing window after window, the next one ahead of its consumer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aktis.data._iteration.pipeline_stats import PipelineStats
from aktis.data._iteration.prefetch import prefetched
from aktis.data._iteration.windows import Window

if TYPE_CHECKING:
    from aktis.data._execution.handle import BlockHandle

AHEAD_BYTES = 256 << 20  # of blocks that wait for the consumer, beside what an execution itself has ready


def windowed_handles(
    windows: Iterator[Window], stats: PipelineStats | None = None, running: _Running | None = None
) -> Iterator[tuple[Window, BlockHandle]]:
    """Blocks of windows, one window after the other; nothing happens ahead of time."""
    for window in windows:
        if running is not None and not running.admit():
            return
        with window.dataset._stream(background=True) as stream:
            if stats is not None:
                stats.record(stream.stats)
            if running is not None and not running.enter(stream):
                return
            empty = True
            for handle in stream:
                empty = False
                yield window, handle
            if empty and running is not None:
                running.consumed()  # nobody will see that it began


class _Running:
    """The execution that goes on now; :meth:`stop` ends it, from any thread, and lets no other one begin.

    Two windows may have begun: the one that is consumed, and the one after it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._permits = threading.Semaphore(2)
        self._stream: Any = None
        self._stopped = False

    def admit(self) -> bool:
        """Wait until another window may begin."""
        self._permits.acquire()
        return not self._stopped

    def consumed(self) -> None:
        """The consumer is done with a window."""
        self._permits.release()

    def enter(self, stream: Any) -> bool:
        with self._lock:
            self._stream = stream
            return not self._stopped

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            stream = self._stream
        self._permits.release()
        if stream is not None:
            stream.close()


class WindowStream:
    """Handles of all windows, in order. A thread executes: it goes on with the next window while this one is consumed."""

    def __init__(self, windows: Iterator[Window], stats: PipelineStats) -> None:
        self._running = _Running()
        self._window: Window | None = None
        self._handles = prefetched(
            windowed_handles(windows, stats, self._running),
            AHEAD_BYTES,
            weigh=lambda item: item[1].size_bytes,
            stop=self._running.stop,
            name="aktis-data-windows",
        )
        self._over = threading.Event()

    def __iter__(self) -> WindowStream:
        return self

    def __next__(self) -> BlockHandle:
        if self._over.is_set():
            raise StopIteration
        window, handle = next(self._handles)
        if window is not self._window:
            if self._window is not None:
                self._running.consumed()
            self._window = window
        return handle

    def close(self) -> None:
        """End everything. May be called while another thread is in ``next``, which then comes back."""
        if self._over.is_set():
            return
        self._over.set()
        self._running.stop()
        try:
            self._handles.close()  # type: ignore[attr-defined]
        except ValueError:  # another thread is in it; it comes back now that nothing runs, and the thread ends with it
            pass


def executed(windows: Iterator[Window], stats: PipelineStats) -> Iterator[Window]:
    """Windows whose blocks are there: while one is used, the next is executed, and no more than that."""
    permits = threading.Semaphore(2)
    over = threading.Event()

    def execute() -> Iterator[Window]:
        for window in windows:
            permits.acquire()
            if over.is_set():
                return
            dataset = window.dataset.materialize()
            stats.record(dataset._last_stats)
            yield Window(window.epoch, dataset)

    def stop() -> None:
        over.set()
        permits.release()

    ahead = prefetched(execute(), 1, stop=stop, name="aktis-data-windows")
    try:
        for window in ahead:
            yield window
            permits.release()
    finally:
        ahead.close()  # type: ignore[attr-defined]
