"""Sampling in a thread beside what its worker does otherwise (``config.rollouts(sample_async=True)``).

::

    worker's thread   sample() ◄─ queue of one batch ◄─ the sampler's thread: sampler.sample(), over and over
                      set_weights() ── policy_lock ──►

Guarantees: a batch is made with one set of weights (who changes them takes the lock that the thread holds while it
    samples); what the
thread raises is raised by the next ``sample()``; ``close()`` ends the thread.
"""

from __future__ import annotations

import queue
import threading
from typing import Any

__all__ = ["AsyncSampler"]


class AsyncSampler:
    """A sampler that samples ahead.

    Args:
        sampler: What samples.
        policy_lock: A lock (that may be taken twice by one thread), held while it does.
    """

    def __init__(self, sampler: Any, policy_lock: Any) -> None:
        self.sampler = sampler
        self._policy_lock = policy_lock
        self._batches: queue.Queue[Any] = queue.Queue(maxsize=1)
        self._metrics: list[Any] = []
        self._metrics_lock = threading.Lock()
        self._closing = threading.Event()
        self._fragment = 0
        self._thread: threading.Thread | None = None

    def sample(self, fragment: int) -> Any:
        """The next batch; the thread begins with the one after it."""
        self._fragment = fragment
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="aktis-rllib-sampler", daemon=True)
            self._thread.start()
        batch = self._batches.get()
        if isinstance(batch, BaseException):
            self._thread = None
            raise batch
        return batch

    def get_metrics(self) -> list[Any]:
        """The episodes that ended since the last call, each once."""
        with self._metrics_lock:
            found, self._metrics = self._metrics, []
        return found

    def close(self) -> None:
        """End the thread, then close the environments."""
        self._closing.set()
        thread = self._thread
        while thread is not None and thread.is_alive():
            try:
                self._batches.get_nowait()  # it may be waiting for room
            except queue.Empty:
                thread.join(0.05)
        self.sampler.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                with self._policy_lock:
                    batch = self.sampler.sample(self._fragment)
                    metrics = self.sampler.get_metrics()
                with self._metrics_lock:
                    self._metrics.extend(metrics)
            except BaseException as error:
                self._batches.put(error)
                return
            self._batches.put(batch)
