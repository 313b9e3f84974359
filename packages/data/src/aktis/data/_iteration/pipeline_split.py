"""Pipelines that share their windows: one actor executes each window, and every consumer gets its part of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import aktis
from aktis.data._iteration.meeting import Consumer, Meeting
from aktis.data._iteration.windows import Window

if TYPE_CHECKING:
    from aktis.data.dataset import Dataset
    from aktis.data.dataset_pipeline import DatasetPipeline

AHEAD = 1  # windows that are executed before the slowest consumer asks for them


class WindowCoordinator(Meeting):
    """Executes the windows of a pipeline, splits them, and hands out the parts. An actor with more than ``n`` threads."""

    def __init__(
        self,
        pipeline: DatasetPipeline,
        n: int,
        split: Callable[[Dataset], Sequence[Dataset]],
        patience: float,
    ) -> None:
        super().__init__(n, patience, "split pipeline")
        self._pipeline = pipeline
        self._split = split
        self._queues: list[deque[Window]] = [deque() for _ in range(n)]
        self._started = False
        self._finished = False
        self._error: BaseException | None = None

    def next(self, part: int, consumer: Consumer) -> Window | None:
        """The next window of a consumer; None after the last."""
        with self._changed:
            self._consumers[part] = consumer
            if not self._started:
                self._started = True
                threading.Thread(target=self._pump, name="aktis-data-pump", daemon=True).start()
            self._wait(
                lambda: bool(self._queues[part]) or self._finished,
                lambda: [other for other, queue in enumerate(self._queues) if len(queue) > AHEAD],
                "the next window",
            )
            if self._queues[part]:
                window = self._queues[part].popleft()
                self._changed.notify_all()
                return window
            if self._error is not None:
                raise self._error
            return None

    def sample(self) -> Any:
        """A block of some of the first rows."""
        return self._pipeline._sample()

    def _pump(self) -> None:
        error: BaseException | None = None
        try:
            for window in self._pipeline._windows():
                parts = self._split(window.dataset.materialize())
                with self._changed:
                    while max(map(len, self._queues)) > AHEAD:
                        self._changed.wait()
                    for queue, part in zip(self._queues, parts):
                        queue.append(Window(window.epoch, part))
                    self._changed.notify_all()
        except BaseException as raised:
            error = raised
        with self._changed:
            self._error, self._finished = error, True
            self._changed.notify_all()


def split_windows(
    pipeline: DatasetPipeline, n: int, split: Callable[[Dataset], Sequence[Dataset]], patience: float
) -> list[Callable[[], Iterator[Window]]]:
    """Sources of windows for ``n`` pipelines that share the windows of one."""
    actor_class: Any = aktis.remote(WindowCoordinator)
    coordinator = actor_class.options(num_cpus=0, max_concurrency=n + 2).remote(pipeline, n, split, patience)
    return [_Part(coordinator, part) for part in range(n)]


class _Part:
    """The windows of one consumer; may be sent to it."""

    def __init__(self, coordinator: Any, part: int) -> None:
        self._coordinator = coordinator
        self._part = part

    def __call__(self) -> Iterator[Window]:
        consumer = Consumer.here()
        while True:
            window: Window | None = aktis.get(self._coordinator.next.remote(self._part, consumer))
            if window is None:
                return
            yield window
