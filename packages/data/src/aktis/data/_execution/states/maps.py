"""Operators that make blocks out of single blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aktis.data._execution.states._base import OperatorState, OrderedOutput
from aktis.data._execution.states._inputs import Actors, Items
from aktis.data._execution.tasks import Kind, Task

if TYPE_CHECKING:
    from aktis.data._execution.handle import BlockHandle
    from aktis.data._plan.physical import MapOp
    from aktis.data.datasource._base import ReadTask


class MapState(OperatorState):
    """One task per item; outputs in the order of the items."""

    def __init__(self, index: int, op: MapOp, reads: Sequence[ReadTask] | None, *, ordered: bool) -> None:
        super().__init__(index, op.name, len(op.inputs))
        self._compute = op.compute
        self.items = Items(self, reads, op.compute.min_rows, whole_blocks=op.compute.whole_blocks)
        self.output = OrderedOutput(self, ordered)
        self.actors = Actors(op.compute) if op.compute.pool_size is not None else None
        self._num_cpus = float(op.compute.remote_args.get("num_cpus", 1))
        self._seq = 0
        self._out_bytes = 0  # of finished tasks
        self._in_bytes = 0
        self._out_tasks = 0
        self.blocks_total = len(reads) if reads is not None else None

    def receive(self, port: int, handle: BlockHandle) -> None:
        self.items.add(handle)

    def end_of_input(self, port: int) -> None:
        super().end_of_input(port)
        self.items.flush()

    def queued(self) -> int:
        return len(self.items)

    def ready(self) -> bool:
        if not len(self.items) or self.finished:
            return False
        if self.actors is not None:
            return self.actors.free() is not None
        return self._compute.max_tasks is None or len(self.running) < self._compute.max_tasks

    def expected_output(self) -> int:
        size = self.items.next_size()
        if self._out_tasks and self._in_bytes:
            return int(size * self._out_bytes / self._in_bytes)
        return size

    def input_of_starting_actors(self) -> list[BlockHandle]:
        """The blocks that actors will get as soon as they have started."""
        if self.actors is None or not self.actors.starting:
            return []
        return self.items.upcoming(len(self.actors.starting) * self.actors.depth)

    def next_task(self, task_id: int) -> Task:
        expected, size = self.expected_output(), self.items.next_size()
        read, handles = self.items.pop()
        task = Task(
            task_id, self.index, Kind.CHAIN, self._seq, handles, read, expected_bytes=expected, num_cpus=self._num_cpus
        )
        self._seq += 1
        self._in_bytes += size
        if self.actors is not None:
            task.actor = self.actors.free()
            assert task.actor is not None
            task.num_cpus = 0.0  # the actor has them
            self.actors.load[task.actor] += 1
        self.running[task_id] = task
        return task

    def on_output(self, task: Task, handle: BlockHandle) -> None:
        task.expected_bytes = max(0, task.expected_bytes - handle.size_bytes)
        self._out_bytes += handle.size_bytes
        self.output.add(task.seq, handle)

    def on_done(self, task: Task, value: Any) -> None:
        super().on_done(task, value)
        self._out_tasks += 1
        self.blocks_done += 1
        if task.actor is not None and self.actors is not None and task.actor in self.actors.load:
            self.actors.load[task.actor] -= 1
        self.output.end(task.seq)

    def settle(self) -> None:
        if all(self.ended_ports) and self.items.empty() and not self.running:
            self.finished = True

    def abandon(self) -> None:
        self.items.clear()
        self.output.clear()
        super().abandon()
