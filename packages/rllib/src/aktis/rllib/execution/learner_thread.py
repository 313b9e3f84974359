"""Learning beside sampling, in a thread.

::

    main thread                                   learner thread
      put(batch) ──► inqueue (bounded) ──► MinibatchBuffer ──► policy.learn_on_batch, with lock held
      results()  ◄── outqueue ◄───────────────────────────────┘

Guarantees:
- ``lock`` is held while weights change; whoever reads weights or acts with the policy in the main thread takes it.
- An error of the learner is raised in the main thread at the next ``put()`` or ``results()``; no call waits for a
learner that is dead.
- Between ``pause()`` and ``resume()`` no weight changes: whoever acts, evaluates or saves then need not know of the thread.
- ``stop()`` ends the thread after the update under way; batches that still wait are dropped.

The learner computes in C, without the interpreter's lock: sampling goes on meanwhile.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

from aktis.rllib.execution.minibatch_buffer import MinibatchBuffer

__all__ = ["LearnerThread"]

_LOOK_S = 0.2  # how often a wait looks whether the other side is still there


class _Stopped(Exception):
    """The learner shall end."""


class LearnerThread(threading.Thread):
    """Learns from batches as they come.

    Args:
        local_worker: Whose policies learn.
        minibatch_buffer_size: How many batches are learned from in turns.
        num_sgd_iter: How often each is learned from.
        learner_queue_size: How many may wait.
        learner_queue_timeout: Seconds that ``put()`` waits for a place.
    """

    def __init__(
        self,
        local_worker: Any,
        minibatch_buffer_size: int = 1,
        num_sgd_iter: int = 1,
        learner_queue_size: int = 16,
        learner_queue_timeout: float = 300,
    ) -> None:
        super().__init__(name="aktis-rllib-learner", daemon=True)
        self.lock = threading.Lock()
        self.inqueue: queue.Queue[Any] = queue.Queue(maxsize=learner_queue_size)
        self.outqueue: queue.SimpleQueue[tuple[Any, dict[str, Any]]] = queue.SimpleQueue()
        self._worker = local_worker
        self._timeout = learner_queue_timeout
        self._buffer = MinibatchBuffer(self._next, minibatch_buffer_size, num_sgd_iter)
        self._stopping = threading.Event()
        self._may_learn = threading.Event()
        self._may_learn.set()
        self._error: BaseException | None = None

    # -- the main thread

    def put(self, batch: Any) -> None:
        """Hand over a batch; waits while the queue is full.

        Raises:
            RuntimeError: the learner failed (with its error as the cause), or did not take a batch for
                ``learner_queue_timeout`` seconds.
        """
        deadline = time.monotonic() + self._timeout
        while True:
            self.check()
            try:
                self.inqueue.put(batch, timeout=_LOOK_S)
                return
            except queue.Full:
                if time.monotonic() > deadline:
                    raise RuntimeError(
                        f"the learner took no batch for {self._timeout} s: raise learner_queue_timeout if one update takes so long"
                    ) from None

    def results(self, wait_s: float = 0.0) -> list[tuple[Any, dict[str, Any]]]:
        """(batch, what learning from it gave) of each update since the last call.

        Args:
            wait_s: How long to wait for the first.

        Raises:
            RuntimeError: the learner failed.
        """
        found = []
        try:
            found.append(self.outqueue.get(timeout=wait_s) if wait_s else self.outqueue.get_nowait())
            while True:
                found.append(self.outqueue.get_nowait())
        except queue.Empty:
            pass
        if not found:
            self.check()
        return found

    def pause(self) -> None:
        """Learn nothing until ``resume()``; waits for the update under way."""
        self._may_learn.clear()
        with self.lock:
            pass

    def resume(self) -> None:
        """Go on."""
        self._may_learn.set()

    def check(self) -> None:
        """Raise the error that ended the learner, if there is one."""
        if self._error is not None:
            raise RuntimeError(f"the learner failed: {type(self._error).__name__}: {self._error}") from self._error
        if self._stopping.is_set():
            raise RuntimeError("the learner was stopped")

    def stop(self) -> None:
        """End the thread, and wait until it has."""
        self._stopping.set()
        if self.is_alive():
            self.join()

    # -- the learner

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                batch, _ = self._buffer.get()
                info = self._learn(batch)
                self.outqueue.put((batch, info))
        except _Stopped:
            pass
        except BaseException as error:  # raised where somebody waits
            self._error = error

    def _learn(self, batch: Any) -> dict[str, Any]:
        while not self._stopping.is_set():
            if self._may_learn.wait(_LOOK_S):
                with self.lock:
                    if self._may_learn.is_set():  # it may have been paused just before
                        found: dict[str, Any] = self._worker.learn_on_batch(batch)
                        return found
        raise _Stopped

    def _next(self) -> Any:
        while not self._stopping.is_set():
            try:
                return self.inqueue.get(timeout=_LOOK_S)
            except queue.Empty:
                continue
        raise _Stopped
