"""The result of an execution, block by block.

```
 consumer's thread                          background thread (only if asked for, and if workers are used)
   next() ── takes ──► Brain ◄── decides, launches, waits ── _loop()
```

- ``_lock`` guards the runner and its brain. The background thread gives it up while it waits for workers.
- Without a background thread work is launched only while somebody is in ``next()``.
- Ends: the last block, a failure, ``close()``, or the garbage collector: all of them stop what runs.
- ``close()`` may be called from any thread. If another one is in ``next()`` without a background thread, that one stops and
  closes the runner: at least one of the two sees what the other has set.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import aktis
from aktis.data._execution.handle import BlockHandle
from aktis.data._execution.runner import SHORT_WAIT, Runner
from aktis.data._plan import facts
from aktis.data._plan.logical import InputBlocks, LogicalOperator, Read
from aktis.data._plan.optimizer import optimize
from aktis.data._plan.physical import ExchangeOp, MapOp, PhysicalOperator, topological
from aktis.data._plan.planner import plan
from aktis.data._transforms.map_rows import RowTransform
from aktis.data.context import DatasetContext


def open_stream(root: LogicalOperator, context: DatasetContext, *, background: bool = False) -> BlockStream:
    """Begin to execute a plan."""
    optimized = optimize(root, context) if context.optimizer_enabled else root
    physical = plan(optimized, context)
    local = runs_locally(optimized, physical, context)
    return BlockStream(Runner(physical, context, local=local), background)


def runs_locally(root: LogicalOperator, physical: PhysicalOperator, context: DatasetContext) -> bool:
    """Whether a plan is so small that it begins in the driver."""
    if not context.enable_local_execution:
        return False
    for op in topological(physical):
        if isinstance(op, MapOp) and (op.uses_actors or op.compute.max_tasks is not None or op.compute.remote_args):
            return False
    size = _input_bytes(root)
    if size is None or size > context.local_max_bytes:
        return False
    return not any(_calls_for_rows(op) for op in topological(physical)) or _worth_calling_here(root, size)


ROWS_HERE = 30_000
"""Rows for which Python functions of rows are called in the driver: some tens of milliseconds of work."""
ROW_BYTES = 64  # of a row whose size is not known: small, so that rows are rather over- than underestimated


def _calls_for_rows(op: PhysicalOperator) -> bool:
    chain = op if isinstance(op, MapOp) else op.map if isinstance(op, ExchangeOp) else None
    return chain is not None and any(isinstance(transform, RowTransform) for transform in chain.transforms)


def _worth_calling_here(root: LogicalOperator, size: int) -> bool:
    """Whether there are so few rows that the driver has called the function for all of them before workers have begun."""
    rows = facts.most_rows(root)
    if rows is None:
        rows = size // ROW_BYTES
    return rows <= (ROWS_HERE if aktis.is_initialized() else 10 * ROWS_HERE)


def _input_bytes(root: LogicalOperator) -> int | None:
    """Bytes that come in at the top of a plan, if they are known."""
    if isinstance(root, InputBlocks):
        return sum(handle.size_bytes for handle in root.handles)
    if isinstance(root, Read):
        return root.reader.estimate_inmemory_data_size()
    sizes = [_input_bytes(child) for child in root.inputs]
    return None if any(size is None for size in sizes) else sum(size or 0 for size in sizes)


class BlockStream(Iterator[BlockHandle]):
    """Blocks of the result, in order. Close it when it is left early: ``with`` does."""

    def __init__(self, runner: Runner, background: bool) -> None:
        self._runner = runner
        self.stats = runner.stats
        self._background = background
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._closed = False
        self._entered: int | None = None  # the thread that works in ``next()``
        self._threaded = False  # the background thread closes the runner

    def __iter__(self) -> BlockStream:
        return self

    def __enter__(self) -> BlockStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def __next__(self) -> BlockHandle:
        self._entered = threading.get_ident()
        try:
            if self._closed:
                raise StopIteration
            handle = self._from_thread() if self._thread is not None else self._here()
        except BaseException:
            self.close()
            raise
        finally:
            self._entered = None
            if self._closed and not self._threaded:
                self._runner.close()
        if handle is None:
            self.close()
            raise StopIteration
        return handle

    def _here(self) -> BlockHandle | None:
        runner, brain = self._runner, self._runner.brain
        while not self._closed:
            handle = brain.take()
            if handle is not None and runner.is_local:
                return handle
            runner.launch()  # also before a block is given away: workers shall not wait for the consumer
            if self._background and not runner.is_local:
                self._start_thread()
                return handle if handle is not None else self._from_thread()
            if handle is not None:
                return handle
            if brain.failure is not None:
                raise brain.failure
            if brain.finished and not brain.has_output:
                return None
            if not brain.has_output:
                runner.tell(runner.wait(SHORT_WAIT))
        return None

    def _from_thread(self) -> BlockHandle | None:
        brain = self._runner.brain
        with self._changed:
            while True:
                if self._error is not None:
                    raise self._error
                handle = brain.take()
                if handle is not None:
                    self._changed.notify_all()  # there is room again
                    return handle
                if brain.failure is not None:
                    raise brain.failure
                if brain.finished or self._closed:
                    return None
                self._changed.wait(SHORT_WAIT * 10)

    # -- the background thread ------------------------------------------------------------------

    def _start_thread(self) -> None:
        self._threaded = True
        loop = _Loop(self._runner, self._changed, weakref.ref(self))
        self._thread = threading.Thread(target=loop.run, name="aktis-data", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop what runs, and free what nobody took. Any number of times."""
        if self._closed:
            return
        self._closed = True
        with self._changed:
            self._changed.notify_all()
        thread, self._thread = self._thread, None
        if thread is None:
            if self._entered in (None, threading.get_ident()):
                self._runner.close()
        elif thread is not threading.current_thread():
            thread.join()  # it looks at _closed at least every SHORT_WAIT, and closes the runner


class _Loop:
    """Holds its stream weakly, so that a stream that is dropped ends its thread."""

    def __init__(self, runner: Runner, changed: threading.Condition, stream: weakref.ref[Any]) -> None:
        self._runner = runner
        self._changed = changed
        self._stream = stream

    def _over(self) -> bool:
        stream = self._stream()
        return stream is None or stream._closed

    def run(self) -> None:
        runner, brain, changed = self._runner, self._runner.brain, self._changed
        try:
            while not self._over():
                with changed:
                    runner.launch()
                    if brain.failure is not None or brain.finished:
                        break
                    if not runner.pending():
                        changed.wait(SHORT_WAIT)
                        continue
                events = runner.wait(SHORT_WAIT)
                with changed:
                    runner.tell(events)
                    if events:
                        changed.notify_all()
            with changed:
                changed.notify_all()
        except BaseException as error:  # a bug, or the end of the session: the consumer shall hear of it
            stream = self._stream()
            with changed:
                if stream is not None:
                    stream._error = error
                changed.notify_all()
        finally:
            self._finish()

    def _finish(self) -> None:
        """What is finished stays takeable; everything else is stopped."""
        brain = self._runner.brain
        while not self._over() and brain.has_output and brain.failure is None:
            with self._changed:
                self._changed.wait(SHORT_WAIT)
        self._runner.close()
