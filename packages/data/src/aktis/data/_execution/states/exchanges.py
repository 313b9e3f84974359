"""Operators in which every output may need every input."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from aktis.data._execution.states._base import OperatorState, OrderedOutput
from aktis.data._execution.states._inputs import Items
from aktis.data._execution.tasks import Kind, Task

if TYPE_CHECKING:
    from aktis.data._exchanges._base import ExchangePlan
    from aktis.data._execution.handle import BlockHandle
    from aktis.data._plan.physical import ExchangeOp, RearrangeOp
    from aktis.data.datasource._base import ReadTask


class Phase(Enum):
    COLLECT = "collect"  # inputs (and samples of them) come in
    PARTITION = "partition"  # the plan is made; blocks are cut up (with an early plan: while they come in)
    COMBINE = "combine"  # one task per partition
    OVER = "over"


class ExchangeState(OperatorState):
    """All-to-all: see :class:`aktis.data._exchanges._base.Exchange` for the steps."""

    is_barrier = True

    def __init__(
        self, index: int, op: ExchangeOp, *, early: ExchangePlan | None, reads: Sequence[ReadTask] | None, ordered: bool
    ) -> None:
        super().__init__(index, op.name, len(op.inputs))
        self.exchange = op.exchange
        self.plan = early
        self.phase = Phase.COLLECT if early is None else Phase.PARTITION
        self._fused = op.map is not None
        self.items = Items(self, reads if self._fused else None, None)
        ports = self.exchange.num_inputs
        self._inputs: list[list[BlockHandle]] = [[] for _ in range(ports)]
        self._samples: list[dict[int, Any]] = [{} for _ in range(ports)]
        self._to_sample: deque[tuple[int, int]] = deque()
        self._to_partition: deque[tuple[int, int]] = deque()
        self._parts: list[dict[int, list[BlockHandle]]] = [{} for _ in range(ports)]  # port -> index -> by partition
        self._next_item = 0
        self._next_partition = 0
        self.output = OrderedOutput(self, ordered)
        self._num_cpus = float(op.remote_args.get("num_cpus", 1))

    def receive(self, port: int, handle: BlockHandle) -> None:
        if self._fused:
            self.items.add(handle)
            return
        index = len(self._inputs[port])
        self._inputs[port].append(handle)
        if self.plan is not None:
            self._to_partition.append((port, index))
        elif self.exchange.needs_sample:
            self._to_sample.append((port, index))

    def queued(self) -> int:
        rest = self.plan.num_partitions - self._next_partition if self.plan and self.phase is Phase.COMBINE else 0
        return len(self.items) + len(self._to_sample) + len(self._to_partition) + rest

    def ready(self) -> bool:
        if self.phase is Phase.COLLECT:
            return bool(self._to_sample)
        if self.phase is Phase.PARTITION:
            return bool(self._to_partition) or bool(len(self.items))
        return self.phase is Phase.COMBINE and self.plan is not None and self._next_partition < self.plan.num_partitions

    def expected_output(self) -> int:
        if self.phase is Phase.COMBINE:
            p = self._next_partition
            return sum(parts[p].size_bytes for port in self._parts for parts in port.values()) or sum(
                handle.size_bytes for port in self._inputs for handle in port if handle is not None
            )
        return 0  # goes to the store, and may be spilled

    def next_task(self, task_id: int) -> Task:
        if self.phase is Phase.COLLECT:
            port, index = self._to_sample.popleft()
            task = Task(task_id, self.index, Kind.SAMPLE, index, [self._inputs[port][index]], port=port)
        elif self.phase is Phase.COMBINE:
            task = self._combine(task_id)
        elif self._to_partition:
            port, index = self._to_partition.popleft()
            handle = self._inputs[port][index]
            self._inputs[port][index] = None  # type: ignore[call-overload]  # the task alone keeps it
            task = Task(task_id, self.index, Kind.PARTITION, index, [handle], plan=self.plan, port=port)
        else:
            read, handles = self.items.pop()
            task = Task(task_id, self.index, Kind.PARTITION, self._next_item, handles, read, plan=self.plan)
            self._next_item += 1
        task.num_cpus = self._num_cpus
        self.running[task_id] = task
        return task

    def _combine(self, task_id: int) -> Task:
        assert self.plan is not None
        p = self._next_partition
        expected = self.expected_output() if not self.plan.whole_blocks else 0
        self._next_partition += 1
        inputs: list[BlockHandle] = []
        layout = []
        for port, blocks in enumerate(self._parts):
            if self.plan.whole_blocks:
                chosen = self._inputs[port]
                self._inputs[port] = []
            else:
                chosen = []
                for _, parts in sorted(blocks.items()):
                    chosen.append(parts[p])
                    parts[p] = None  # type: ignore[call-overload]  # the task alone keeps it
                chosen = [handle for handle in chosen if handle.num_rows] or chosen[:1]
            inputs += chosen
            layout.append(len(chosen))
        return Task(
            task_id, self.index, Kind.COMBINE, p, inputs, plan=self.plan, layout=tuple(layout), expected_bytes=expected
        )

    def on_output(self, task: Task, handle: BlockHandle) -> None:
        task.expected_bytes = max(0, task.expected_bytes - handle.size_bytes)
        self.output.add(task.seq, handle)

    def on_done(self, task: Task, value: Any) -> None:
        super().on_done(task, value)
        if task.kind is Kind.SAMPLE:
            self._samples[task.port][task.seq] = value
        elif task.kind is Kind.PARTITION:
            if value is not None:
                self._parts[task.port][task.seq] = list(value)
        else:
            self.blocks_done += 1
            self.output.end(task.seq)

    def settle(self) -> None:
        if self.phase is Phase.COLLECT and all(self.ended_ports) and not self._to_sample and not self.running:
            metadata = [[handle.metadata for handle in port] for port in self._inputs]
            samples = [[port[i] for i in sorted(port)] for port in self._samples]
            self.plan = self.exchange.plan(metadata, samples)
            if self.plan.whole_blocks:
                self.phase = Phase.COMBINE
            else:
                self._to_partition.extend((p, i) for p, port in enumerate(self._inputs) for i in range(len(port)))
                self.phase = Phase.PARTITION
        nothing_left = not self._to_partition and self.items.empty() and not self.running
        if self.phase is Phase.PARTITION and all(self.ended_ports) and nothing_left:
            self.phase = Phase.COMBINE
        if self.phase is Phase.COMBINE:
            assert self.plan is not None
            self.blocks_total = self.plan.num_partitions
            if self._next_partition >= self.plan.num_partitions and not self.running:
                self.phase = Phase.OVER
                self.finished = True

    def abandon(self) -> None:
        self.items.clear()
        self._inputs = [[] for _ in self._inputs]
        self._parts = [{} for _ in self._parts]
        self._to_partition.clear()
        self._to_sample.clear()
        self.output.clear()
        super().abandon()


class RearrangeState(OperatorState):
    """Waits for all input, then makes blocks out of slices of it."""

    is_barrier = True

    def __init__(self, index: int, op: RearrangeOp, *, ordered: bool) -> None:
        super().__init__(index, op.name, len(op.inputs))
        self._how = op.rearrangement
        self._inputs: list[list[BlockHandle]] = [[] for _ in op.inputs]
        self._recipes: list[tuple[Any, ...]] | None = None
        self._next = 0
        self.output = OrderedOutput(self, ordered)

    def receive(self, port: int, handle: BlockHandle) -> None:
        self._inputs[port].append(handle)

    def queued(self) -> int:
        return len(self._recipes) - self._next if self._recipes is not None else 0

    def ready(self) -> bool:
        return self._recipes is not None and self._next < len(self._recipes)

    def expected_output(self) -> int:
        assert self._recipes is not None
        return sum(self._pieces(self._recipes[self._next])[1])

    def _pieces(self, recipe: tuple[Any, ...]) -> tuple[list[BlockHandle], list[int]]:
        handles = [self._inputs[piece.input][piece.block].slice(piece.start, piece.stop) for piece in recipe]
        return handles, [handle.size_bytes for handle in handles]

    def next_task(self, task_id: int) -> Task:
        assert self._recipes is not None
        recipe = self._recipes[self._next]
        handles, sizes = self._pieces(recipe)
        task = Task(task_id, self.index, Kind.RECIPE, self._next, handles, recipe=recipe, expected_bytes=sum(sizes))
        self._next += 1
        self.running[task_id] = task
        return task

    def on_output(self, task: Task, handle: BlockHandle) -> None:
        task.expected_bytes = 0
        self.output.add(task.seq, handle)

    def on_done(self, task: Task, value: Any) -> None:
        super().on_done(task, value)
        self.blocks_done += 1
        self.output.end(task.seq)

    def settle(self) -> None:
        if self._recipes is None and all(self.ended_ports):
            metadata = [[handle.metadata for handle in port] for port in self._inputs]
            self._recipes = [tuple(recipe) for recipe in self._how.recipes(metadata)]
            self.blocks_total = len(self._recipes)
        if self._recipes is None:
            return
        while self.ready() and len(self._recipes[self._next]) == 1 and not self._how.always_combine:
            handles, _ = self._pieces(self._recipes[self._next])  # nothing to combine: a view will do
            self.output.add(self._next, handles[0])
            self.output.end(self._next)
            self._next += 1
            self.blocks_done += 1
        if self._next >= len(self._recipes) and not self.running:
            self._inputs = [[] for _ in self._inputs]
            self.finished = True

    def abandon(self) -> None:
        self._inputs = [[] for _ in self._inputs]
        self._recipes = []
        self._next = 0
        self.output.clear()
        super().abandon()
