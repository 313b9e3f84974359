"""What the brain knows about each operator, and which task the operator would launch next.

Pure: a state gets blocks from above (``receive``), offers tasks (``ready``, ``next_task``), hears how they went
(``on_output``, ``on_done``, ``on_skipped``), and hands blocks on with ``self.emit``. It never decides *when* to launch: the
brain does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from aktis.data._execution.tasks import Kind, Task

if TYPE_CHECKING:
    from aktis.data._exchanges._base import ExchangePlan
    from aktis.data._execution.handle import BlockHandle
    from aktis.data._plan.logical import Compute
    from aktis.data._plan.physical import ExchangeOp, LimitOp, MapOp, RearrangeOp, SourceOp
    from aktis.data.datasource._base import ReadTask


class OperatorState:
    """Base of all states. ``ports`` is the number of inputs."""

    is_barrier = False  # keeps its input until all of it is there (in the store, from where it may be spilled)

    def __init__(self, index: int, name: str, ports: int) -> None:
        self.index = index
        self.name = name
        self.emit: Callable[[BlockHandle], None] = lambda handle: None  # set by the brain
        self.ended_ports = [False] * ports
        self.running: dict[int, Task] = {}
        self.held = 0  # bytes of blocks that wait here: inputs not yet used, outputs not yet released
        self.finished = False
        self.rows_out = 0
        self.blocks_done = 0
        self.blocks_total: int | None = None
        self.errored = 0

    # What happens to it
    def receive(self, port: int, handle: BlockHandle) -> None:
        raise AssertionError(f"{self.name} takes no input")

    def end_of_input(self, port: int) -> None:
        self.ended_ports[port] = True

    def on_output(self, task: Task, handle: BlockHandle) -> None:
        raise AssertionError(f"{self.name} expects no output of {task.kind}")

    def on_done(self, task: Task, value: Any) -> None:
        del self.running[task.id]

    def on_skipped(self, task: Task) -> None:
        """A task came to nothing, and we go on without it."""
        self.on_done(task, None)

    # What it wants
    def ready(self) -> bool:
        """Whether ``next_task`` would give one."""
        return False

    def next_task(self, task_id: int) -> Task:
        raise AssertionError(f"{self.name} has no task to launch")

    def settle(self) -> None:
        """Do what needs no task (pass blocks on), and set ``finished`` when nothing will come any more."""

    def queued(self) -> int:
        """Tasks or blocks that wait to be launched."""
        return 0

    def expected_output(self) -> int:
        """Bytes that the next task will probably put out."""
        return 0

    def release_input(self) -> int:
        """Bytes that wait here and would be given up by the next task."""
        return 0

    def abandon(self) -> None:
        """Nobody needs the output any more: let everything go."""
        self.held = 0
        self.finished = True


class OrderedOutput:
    """Releases the outputs of numbered tasks by number: 0, 1, 2, ..., however the tasks overtake each other."""

    def __init__(self, state: OperatorState, ordered: bool = True) -> None:
        self._state = state
        self._ordered = ordered
        self._waiting: dict[int, list[BlockHandle]] = {}
        self._ended: set[int] = set()
        self._next = 0

    def add(self, seq: int, handle: BlockHandle) -> None:
        if not self._ordered or seq == self._next:
            self._give(handle)
        else:
            self._waiting.setdefault(seq, []).append(handle)
            self._state.held += handle.size_bytes

    def end(self, seq: int) -> None:
        """Task ``seq`` will put out no more."""
        self._ended.add(seq)
        while self._next in self._ended:
            self._ended.remove(self._next)
            self._next += 1
            for handle in self._waiting.pop(self._next, ()):
                self._state.held -= handle.size_bytes
                self._give(handle)

    def _give(self, handle: BlockHandle) -> None:
        self._state.rows_out += handle.num_rows
        self._state.emit(handle)

    def empty(self) -> bool:
        return not self._waiting

    def is_next(self, seq: int) -> bool:
        """Whether outputs of this task would go out at once."""
        return not self._ordered or seq == self._next

    def clear(self) -> None:
        self._waiting.clear()


class SourceState(OperatorState):
    """Blocks that are there already: handed on when the operator below has room for more."""

    def __init__(self, index: int, op: SourceOp) -> None:
        super().__init__(index, op.name, 0)
        self._handles = deque(op.handles)
        self.blocks_total = len(op.handles)
        self.wanted: Callable[[], bool] = lambda: True  # set by the brain: whether the receiver has little to do

    def settle(self) -> None:
        while self._handles and not self.finished and self.wanted():
            handle = self._handles.popleft()
            self.blocks_done += 1
            self.rows_out += handle.num_rows
            self.emit(handle)
        if not self._handles:
            self.finished = True

    def abandon(self) -> None:
        self._handles.clear()
        super().abandon()


class Items:
    """The inputs of tasks: one per read task, per block, or per bundle of blocks with ``min_rows`` rows."""

    def __init__(self, state: OperatorState, reads: Sequence[ReadTask] | None, min_rows: int | None) -> None:
        self._state = state
        self._reads = deque(reads or ())
        self._is_read = reads is not None
        self._min_rows = min_rows
        self._blocks: deque[list[BlockHandle]] = deque()
        self._bundle: list[BlockHandle] = []
        self._bundle_rows = 0
        self.counted = True  # False: the blocks are a source's, and in memory whether they wait here or not

    def add(self, handle: BlockHandle) -> None:
        if self.counted:
            self._state.held += handle.size_bytes
        if self._min_rows is None:
            self._blocks.append([handle])
            return
        self._bundle.append(handle)
        self._bundle_rows += handle.num_rows
        if self._bundle_rows >= self._min_rows:
            extra = self._bundle_rows % self._min_rows  # whole batches only: the rest begins the next bundle
            last = self._bundle.pop()
            cut = last.num_rows - extra
            self._bundle.append(last.slice(0, cut))
            self.flush()
            if extra:
                self._bundle, self._bundle_rows = [last.slice(cut, last.num_rows)], extra

    def flush(self) -> None:
        """The input has ended: the last bundle is as big as it is."""
        if self._bundle:
            self._blocks.append(self._bundle)
            self._bundle, self._bundle_rows = [], 0

    def __len__(self) -> int:
        return len(self._reads) + len(self._blocks)

    def next_size(self) -> int:
        """Bytes of the next item: in memory here if blocks, as estimated if a read task."""
        if self._reads:
            return self._reads[0].metadata.size_bytes or 0
        return sum(handle.size_bytes for handle in self._blocks[0]) if self._blocks else 0

    def pop(self) -> tuple[ReadTask | None, list[BlockHandle]]:
        if self._reads:
            return self._reads.popleft(), []
        handles = self._blocks.popleft()
        if self.counted:
            self._state.held -= sum(handle.size_bytes for handle in handles)
        return None, handles

    def released(self) -> int:
        """Bytes that are held here for the next item."""
        return self.next_size() if self.counted and not self._is_read else 0

    def empty(self) -> bool:
        return not self._reads and not self._blocks and not self._bundle

    def clear(self) -> None:
        self._reads.clear()
        self._blocks.clear()
        self._bundle = []


class Actors:
    """A pool: who is ready, how busy each is, and whether another one would help."""

    def __init__(self, compute: Compute) -> None:
        assert compute.pool_size is not None
        self.least, self.most = compute.pool_size
        self.initial = max(self.least, compute.initial_size or 0)
        self.depth = compute.tasks_per_actor
        self.load: dict[int, int] = {}  # ready actors: tasks in flight
        self.starting: set[int] = set()
        self._next_id = 0

    def grow(self, queued: int) -> list[int]:
        """Ids of actors to start now."""
        have = len(self.load) + len(self.starting)
        if have < self.initial:
            count = self.initial - have
        elif queued and not self.starting and (self.most is None or have < self.most) and self._busy():
            count = 1
        else:
            return []
        ids = list(range(self._next_id, self._next_id + count))
        self._next_id += count
        self.starting.update(ids)
        return ids

    def _busy(self) -> bool:
        return bool(self.load) and all(load >= self.depth for load in self.load.values())

    def free(self) -> int | None:
        """The least busy actor that has room."""
        best = min(self.load, key=lambda actor: self.load[actor], default=None)
        return best if best is not None and self.load[best] < self.depth else None

    def idle(self) -> list[int]:
        """Actors without work."""
        return [actor for actor, load in self.load.items() if load == 0]


class MapState(OperatorState):
    """One task per item; outputs in the order of the items."""

    def __init__(self, index: int, op: MapOp, reads: Sequence[ReadTask] | None, *, ordered: bool) -> None:
        super().__init__(index, op.name, len(op.inputs))
        self._compute = op.compute
        self.items = Items(self, reads, op.compute.min_rows)
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

    def release_input(self) -> int:
        return self.items.released()

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

    def release_input(self) -> int:
        return self.expected_output()  # a partition is read once

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

    def release_input(self) -> int:
        return self.expected_output()

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


class LimitState(OperatorState):
    """Passes blocks on until there are enough rows."""

    def __init__(self, index: int, op: LimitOp) -> None:
        super().__init__(index, op.name, 1)
        self._left = op.limit
        self._any = False

    def receive(self, port: int, handle: BlockHandle) -> None:
        if self._left <= 0 and self._any:
            return
        part = handle.slice(0, min(self._left, handle.num_rows))
        self._left -= part.num_rows
        self._any = True
        self.rows_out += part.num_rows
        self.blocks_done += 1
        self.emit(part)

    def satisfied(self) -> bool:
        """Whether everything above may stop. One block is always waited for, so that the schema is known."""
        return self._left <= 0 and self._any

    def settle(self) -> None:
        self.finished = self.finished or self.satisfied() or self.ended_ports[0]


class UnionState(OperatorState):
    """The blocks of the first input, then those of the second, ..."""

    def __init__(self, index: int, name: str, ports: int, *, ordered: bool) -> None:
        super().__init__(index, name, ports)
        self._ordered = ordered
        self.active = 0
        self._waiting: list[deque[BlockHandle]] = [deque() for _ in range(ports)]

    def receive(self, port: int, handle: BlockHandle) -> None:
        if port == self.active or not self._ordered:
            self._give(handle)
        else:
            self.held += handle.size_bytes
            self._waiting[port].append(handle)

    def _give(self, handle: BlockHandle) -> None:
        self.rows_out += handle.num_rows
        self.blocks_done += 1
        self.emit(handle)

    def settle(self) -> None:
        while self.active < len(self.ended_ports) and self.ended_ports[self.active]:
            self.active += 1
            if self.active < len(self._waiting):
                while self._waiting[self.active]:
                    handle = self._waiting[self.active].popleft()
                    self.held -= handle.size_bytes
                    self._give(handle)
        self.finished = self.finished or all(self.ended_ports)

    def abandon(self) -> None:
        for queue in self._waiting:
            queue.clear()
        super().abandon()
