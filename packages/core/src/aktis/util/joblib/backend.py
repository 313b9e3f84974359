"""A joblib backend whose batches are Aktis tasks."""

from __future__ import annotations

import functools
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from joblib._parallel_backends import AutoBatchingMixin, ParallelBackendBase

import aktis

if TYPE_CHECKING:
    from aktis._engine import Engine
    from aktis.object_ref import ObjectRef

__all__ = ["AktisBackend", "RayBackend"]


class _Batch:
    """A batch under way: what joblib calls the future."""

    __slots__ = ("callback", "ref")

    def __init__(self, ref: ObjectRef[Any], callback: Callable[[_Batch], Any] | None) -> None:
        self.ref = ref
        self.callback = callback

    def get(self, timeout: float | None = None) -> Any:
        return aktis.get(self.ref, timeout=timeout)


class AktisBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """Each batch of calls is a task; joblib decides how large batches are and how many it has under way.

    ``remote_args`` (or ``ray_remote_args``) are options of the tasks:
    ``joblib.parallel_backend("aktis", remote_args={"num_cpus": 2})``.

    In a driver a thread hands finished batches to joblib. In a worker, and in inline mode, joblib asks for each batch
    in turn instead, because a task must wait with ``aktis.get`` to give its CPU to the batches that it waits for.
    """

    supports_sharedmem = False
    uses_threads = False

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        remote_args: dict[str, Any] | None = None,
        ray_remote_args: dict[str, Any] | None = None,
        **backend_kwargs: Any,
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads, **backend_kwargs)
        self._options = {"num_cpus": 1, **(ray_remote_args or {}), **(remote_args or {})}
        self._inbox: queue.SimpleQueue[_Batch | None] | None = None
        self._thread: threading.Thread | None = None
        self._running: set[ObjectRef[Any]] = set()
        self._task: Any = None

    @property
    def supports_retrieve_callback(self) -> bool:
        engine = _engine()
        return engine.mode != "inline" and engine.context().get("mode") != "worker"

    @property
    def supports_timeout(self) -> bool:
        return True

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many batches run at once: ``n_jobs``, or for negative numbers all CPUs of the cluster but some."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 has no meaning: give the number of CPUs to use, or -1 for all")
        if n_jobs is None:
            return 1
        if n_jobs < 0:
            _engine()
            cpus = int(aktis.cluster_resources().get("CPU", 1))
            return max(cpus + 1 + n_jobs, 1)
        return int(n_jobs)

    def configure(
        self, n_jobs: int = 1, parallel: Any = None, prefer: Any = None, require: Any = None, **backend_kwargs: Any
    ) -> int:
        self.parallel = parallel
        n_jobs = self.effective_n_jobs(n_jobs)
        if self.supports_retrieve_callback and self._thread is None:
            self._inbox = queue.SimpleQueue()
            self._thread = threading.Thread(target=_hand_over, args=(self._inbox,), name="aktis-joblib", daemon=True)
            self._thread.start()
        return n_jobs

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], Any] | None = None) -> _Batch:
        if self._task is None:
            self._task = _batch_task().options(name="joblib", **self._options)
        ref = self._task.remote(func)
        batch = _Batch(ref, callback)
        self._running.add(ref)
        inbox = self._inbox
        if inbox is not None:
            _engine().add_done_callback(ref, lambda: inbox.put(batch))
        return batch

    def retrieve_result_callback(self, out: _Batch) -> Any:
        self._running.discard(out.ref)
        return _value(out.ref, None)

    def retrieve_result(self, out: _Batch, timeout: float | None = None) -> Any:
        value = _value(out.ref, timeout)
        self._running.discard(out.ref)
        if out.callback is not None:
            out.callback(out)  # lets joblib submit the next batch
        return value

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """A batch failed: the others are not wanted any more."""
        for ref in self._running:
            aktis.cancel(ref, force=False)
        self._running = set()
        if not ensure_ready:
            self.terminate()

    def terminate(self) -> None:
        thread, self._thread = self._thread, None
        inbox, self._inbox = self._inbox, None
        self._running = set()
        if inbox is not None and thread is not None:
            inbox.put(None)
            if thread is not threading.current_thread():
                thread.join()


RayBackend = AktisBackend


def _hand_over(inbox: queue.SimpleQueue[_Batch | None]) -> None:
    """Body of the thread: tell joblib about finished batches, outside of the engine's own threads."""
    while True:
        batch = inbox.get()
        if batch is None:
            return
        if batch.callback is not None:
            batch.callback(batch)


def _value(ref: ObjectRef[Any], timeout: float | None) -> Any:
    """The results of a batch. Raises the user's exception itself, as joblib's other backends do."""
    from aktis.exceptions import AktisTaskError

    try:
        return aktis.get(ref, timeout=timeout)
    except AktisTaskError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, BaseException):
            raise cause from error
        raise


def _run_batch(batch: Callable[[], Any]) -> Any:
    return batch()


@functools.cache
def _batch_task() -> Any:
    return aktis.remote(_run_batch)


def _engine() -> Engine:
    from aktis import _session

    return _session.require_engine()
