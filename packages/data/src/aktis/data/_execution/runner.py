"""Drives a brain: launches what it asks for, tells it what has happened, keeps the books.

Not for several threads at once; :mod:`aktis.data._execution.stream` sees to that.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aktis.data._cpus import cpu_count
from aktis.data._execution import session
from aktis.data._execution.brain import Brain
from aktis.data._execution.chain import Program
from aktis.data._execution.local import LocalLauncher
from aktis.data._execution.statistics import ExecutionStats
from aktis.data._execution.tasks import CancelTask, Event, Failed, Output, StartActor, StopActor, Task
from aktis.data._plan.physical import ExchangeOp, MapOp, PhysicalOperator, RearrangeOp, topological
from aktis.data.context import DatasetContext
from aktis.data.exceptions import TooManyErroredBlocksError

if TYPE_CHECKING:
    from aktis.data._exchanges._base import ExchangePlan
    from aktis.data._execution.progress import OperatorProgress, ProgressDisplay
    from aktis.data._execution.remote import RemoteLauncher
    from aktis.data.datasource._base import Reader, ReadTask

logger = logging.getLogger(__name__)

SHOWN_ERRORS = 5  # failures of single blocks that are logged; the statistics count all of them
STALL = 5.0  # seconds without any news until we ask whether tasks can start at all
FIRST_STALL = 0.5  # the same, while nothing has been heard of any task yet
PROGRESS_INTERVAL = 0.2  # seconds
SHORT_WAIT = 0.1  # seconds until we look again whether the consumer has made room


class Runner:
    """One execution of one plan. ``local``: begin in the driver, and go on in workers what takes too long."""

    def __init__(self, root: PhysicalOperator, context: DatasetContext, *, local: bool) -> None:
        self._local_until = time.monotonic() + context.local_seconds if local else 0.0
        if local:
            limits = session.local_limits(context)
        else:
            session.ensure()
            limits = session.remote_limits(context)
            context = session.fitted(context, limits.budget, limits.cpus)
        self._context = context
        operators, reads, early = resolve(root, context)
        self._operators = operators
        self.brain = Brain(operators, limits, reads=reads, early=early)
        self._programs = {i: _program(op, context) for i, op in enumerate(operators)}
        self._local = LocalLauncher(self._programs) if local else None
        self._remote: RemoteLauncher | None = None
        self.stats = ExecutionStats([op.name for op in operators])
        self._progress: ProgressDisplay | None = None
        self._progress_from = time.monotonic() + PROGRESS_INTERVAL
        self._last_event = time.monotonic()
        self._patience = FIRST_STALL
        self.closed = False

    @property
    def is_local(self) -> bool:
        """Whether nothing has been given to workers yet."""
        return self._remote is None

    # -- one step -----------------------------------------------------------------------------

    def launch(self) -> None:
        """Carry out what the brain wants now."""
        for command in self.brain.decide():
            if isinstance(command, Task):
                self._launch(command)
            elif isinstance(command, CancelTask):
                self._cancel(command.task)
            elif isinstance(command, StartActor):
                self._remotely().start_actor(command.op, command.actor)
            elif isinstance(command, StopActor) and self._remote is not None:
                self._remote.stop_actor(command.op, command.actor)
        self._show_progress()

    def wait(self, timeout: float) -> list[Event]:
        """Wait (in the driver: work) until something happens, at most ``timeout`` seconds."""
        if self._local is not None and self._local.pending():
            return self._local.wait()
        if self._remote is not None and self._remote.pending():
            handle = self.brain.to_put()
            if handle is not None:
                handle.stored()
                timeout = 0
            events = self._remote.wait(timeout, self.brain.paused())
            if events:
                self._last_event, self._patience = time.monotonic(), STALL
            elif time.monotonic() - self._last_event > self._patience:
                self._look_at_stall(self._remote)
            return events
        return []

    def _look_at_stall(self, remote: RemoteLauncher) -> None:
        """Nothing has happened for a while. Slow tasks are fine; tasks that wait for CPUs that others keep are not."""
        self._last_event = time.monotonic()
        if not session.starved({op.name for op in self._operators}):
            return
        if remote.launch_again_without_cpus():
            session.note_crowded()
            logger.info(
                "Others hold all CPUs of this session, so that no task of %s could start; they run without reserving CPUs now.",
                self._operators[-1].name,
            )

    def tell(self, events: Sequence[Event]) -> None:
        """Let the brain know."""
        for event in events:
            if isinstance(event, Output):
                self.stats.record(event.task.op, event.handle.metadata)
            elif isinstance(event, Failed):
                self.stats.record_error(event.task.op)
                self._note_error(event.error)
            self.brain.handle(event)

    def _note_error(self, error: BaseException) -> None:
        allowed = self._context.max_errored_blocks
        if allowed == 0:
            return
        if len(self.brain.errored) < SHOWN_ERRORS:
            logger.warning("A block is left out, because its making failed: %s", str(error).partition("\n")[0])
        if 0 < allowed <= len(self.brain.errored):
            many = TooManyErroredBlocksError(
                f"{len(self.brain.errored) + 1} blocks failed, and max_errored_blocks={allowed} allows no more. "
                f"The last one: {error}"
            )
            many.__cause__ = error
            self.brain.failure = self.brain.failure or many

    def pending(self) -> bool:
        """Whether anything is under way that will end in an event."""
        return (self._local is not None and self._local.pending()) or (
            self._remote is not None and self._remote.pending()
        )

    def _launch(self, task: Task) -> None:
        in_time = time.monotonic() < self._local_until
        if self._local is not None and self._remote is None and (in_time or not self._worth_moving(task)):
            self._local.launch(task)
        else:
            self._remotely().launch(task)

    def _worth_moving(self, task: Task) -> bool:
        """A last task is as fast here as there."""
        state = self.brain.states[task.op]
        return state.queued() > 0

    def _remotely(self) -> RemoteLauncher:
        if self._remote is None:
            from aktis.data._execution.remote import RemoteLauncher

            session.ensure()
            remote_args = {i: _remote_args(op) for i, op in enumerate(self._operators)}
            self.brain.limits = session.remote_limits(self._context)
            crowded = _pool_cpus(self._operators) > self.brain.limits.cpus - 1 or session.is_crowded()
            self._remote = RemoteLauncher(self._programs, remote_args, crowded=crowded)
        return self._remote

    def _cancel(self, task: Task) -> None:
        if self._local is not None:
            self._local.cancel(task)
        if self._remote is not None:
            self._remote.cancel(task)

    # -- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop what runs, free what is held. Any number of times."""
        if self.closed:
            return
        self.closed = True
        try:
            self.brain.close()
            if self._local is not None:
                self._local.close()
            if self._remote is not None:
                self._remote.close()
        finally:
            self.stats.finish()
            if self._context.enable_auto_log_stats:
                logger.info("%s", self.stats.to_string())
            if self._progress is not None:
                self._progress.close(self._summary())
                self._progress = None

    def _summary(self) -> str:
        return self.stats.summary()

    def _show_progress(self) -> None:
        if self._progress is None:
            if time.monotonic() < self._progress_from:
                return
            from aktis.data._execution.progress import ProgressDisplay

            started = self._progress_from - PROGRESS_INTERVAL
            self._progress = ProgressDisplay(context=self._context, started=started)
        for i, state in enumerate(self.brain.states):
            self.stats.record_queue(i, state.queued(), len(state.running))
        if self._progress.due:
            self._progress.update([self._progress_of(i) for i in range(len(self._operators))])

    def _progress_of(self, i: int) -> OperatorProgress:
        from aktis.data._execution.progress import OperatorProgress

        state = self.brain.states[i]
        return OperatorProgress(
            name=state.name,
            rows=state.rows_out,
            bytes=int(self.stats.operators[i].bytes.total),
            blocks_done=state.blocks_done,
            blocks_total=state.blocks_total,
            running=len(state.running),
            queued=state.queued(),
            errored=state.errored,
            memory=state.held,
        )


# -- from physical operators to what the brain needs ----------------------------------------------


def resolve(
    root: PhysicalOperator, context: DatasetContext
) -> tuple[list[PhysicalOperator], dict[int, list[ReadTask]], dict[int, ExchangePlan]]:
    """The operators in order, the read tasks of those that read, the plans of exchanges that need not wait."""
    operators: list[PhysicalOperator] = []
    reads: dict[int, list[ReadTask]] = {}
    early: dict[int, ExchangePlan] = {}
    for op in topological(root):
        reading = op if isinstance(op, MapOp) else op.map if isinstance(op, ExchangeOp) else None
        tasks = None
        if reading is not None and reading.read is not None:
            tasks = read_tasks(reading.read.reader, reading.read.parallelism, context)
        if isinstance(op, ExchangeOp):
            plan = _early(op, tasks)
            if plan is not None:
                early[len(operators)] = plan
            elif op.map is not None:  # it needs its input first, so the chain before it becomes an operator
                if tasks is not None:
                    reads[len(operators)], tasks = tasks, None
                op.map.inputs = op.inputs
                operators.append(op.map)
                op.inputs, op.map, op.name = (op.map,), None, op.exchange.name
        if tasks is not None:
            reads[len(operators)] = tasks
        operators.append(op)
    return operators, reads, early


def _early(op: ExchangeOp, tasks: Sequence[ReadTask] | None) -> ExchangePlan | None:
    """The plan of an exchange that can be made before any input is there, if it then has something to partition."""
    if tasks is None:
        plan = op.exchange.early_plan(int(2 * cpu_count()), None)
    else:
        sizes = [task.metadata.size_bytes for task in tasks]
        known = [size for size in sizes if size is not None]
        plan = op.exchange.early_plan(len(tasks), sum(known) if len(known) == len(sizes) else None)
    return None if plan is None or plan.whole_blocks else plan


def read_tasks(reader: Reader, parallelism: int, context: DatasetContext) -> list[ReadTask]:
    """The tasks of a scan. ``parallelism`` -1: by size, and at least four per CPU where that is worth it."""
    reader = reader.fitted(context)
    if parallelism == -1 and not reader.chooses_parallelism:
        size = reader.estimate_inmemory_data_size()
        if size is None:
            parallelism = context.min_parallelism
        else:
            least = min(int(4 * cpu_count()), size // context.target_min_block_size)
            parallelism = max(1, least, -(-size // context.read_task_size))
    return list(reader.get_read_tasks(parallelism))


def _program(op: PhysicalOperator, context: DatasetContext) -> Program:
    program = Program(uuid.uuid4().hex, op.name, context)
    if isinstance(op, MapOp):
        program.transforms = op.transforms
    elif isinstance(op, ExchangeOp):
        program.exchange = op.exchange
        program.transforms = op.map.transforms if op.map else ()
    elif isinstance(op, RearrangeOp):
        program.rearrangement = op.rearrangement
    return program


def _pool_cpus(operators: Sequence[PhysicalOperator]) -> float:
    """CPUs that actor pools may come to hold, where users asked for CPUs."""
    total = 0.0
    for op in operators:
        if isinstance(op, MapOp) and op.compute.pool_size is not None:
            least, most = op.compute.pool_size
            total += float(op.compute.remote_args.get("num_cpus", 0)) * (least if most is None else most)
    return total


def _remote_args(op: PhysicalOperator) -> dict[str, Any]:
    if isinstance(op, MapOp):
        return dict(op.compute.remote_args)
    if isinstance(op, ExchangeOp):
        return dict(op.remote_args)
    return {}
