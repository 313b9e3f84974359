"""Decides what a running plan does next. No I/O, no threads, no clock: events in, commands out.

```
 runner ── handle(event) ──►  Brain  ── decide() ──► commands (tasks, actors to start or stop, cancellations)
                              │ states of all operators, in topological order
 consumer ◄── take() ─────────┘ blocks of the last operator, in order
```

What it guarantees

- Order: blocks come out of each operator in the order of its input, whatever overtakes what.
- Bounded memory: a task is launched only while blocks that wait somewhere, plus what running tasks will put out, stay
  within ``budget``; the operator nearest to the consumer goes first. Input of all-to-all operations is not counted: it lies in
  the store, from where it is spilled.
- Progress: when nothing runs and the consumer has nothing to take, the next task is launched whatever the budget says.
- No waste: a satisfied limit ends everything above it, at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aktis.data._execution.states import (
    ExchangeState,
    LimitState,
    MapState,
    OperatorState,
    Phase,
    RearrangeState,
    SourceState,
    UnionState,
)
from aktis.data._execution.tasks import (
    ActorReady,
    CancelTask,
    Command,
    Done,
    Event,
    Failed,
    Kind,
    Output,
    StartActor,
    StopActor,
)
from aktis.data._plan.physical import (
    ExchangeOp,
    LimitOp,
    MapOp,
    PhysicalOperator,
    RearrangeOp,
    SourceOp,
    UnionOp,
)

if TYPE_CHECKING:
    from aktis.data._exchanges._base import ExchangePlan
    from aktis.data._execution.handle import BlockHandle
    from aktis.data.datasource._base import ReadTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an execution may use."""

    cpus: float = 2.0
    ahead: int = 1  # tasks that may wait in the engine's queue, so that workers need not wait for us
    budget: int = 1 << 30  # bytes
    ordered: bool = True
    max_errored: int = 0  # -1: any number


class Brain:
    """The state of one execution. ``operators`` in topological order, the last one is the result."""

    def __init__(
        self,
        operators: Sequence[PhysicalOperator],
        limits: Limits,
        *,
        reads: Mapping[int, Sequence[ReadTask]],  # by index of the operator
        early: Mapping[int, ExchangePlan],
    ) -> None:
        self.limits = limits
        self.failure: BaseException | None = None
        self.errored: list[BaseException] = []
        self._ready: deque[BlockHandle] = deque()  # for the consumer
        self._ready_bytes = 0
        self._running_cpus = 0.0
        self._commands: list[Command] = []
        self._next_id = 0
        self.states = [self._state(i, op, reads, early) for i, op in enumerate(operators)]
        index = {id(op): i for i, op in enumerate(operators)}
        self._below: dict[int, tuple[int, int]] = {
            index[id(child)]: (i, port) for i, op in enumerate(operators) for port, child in enumerate(op.inputs)
        }
        self._above = [[index[id(child)] for child in op.inputs] for op in operators]
        for state in self.states:
            state.emit = self._route(state)
            if isinstance(state, SourceState) and state.index in self._below:
                receiver = self.states[self._below[state.index][0]]
                if isinstance(receiver, MapState):
                    receiver.items.counted = False
                    state.wanted = lambda r=receiver: r.queued() < 2 * self.limits.cpus + 4  # type: ignore[misc]
        self._closed: set[int] = set()
        self._settle()

    def _state(
        self,
        i: int,
        op: PhysicalOperator,
        reads: Mapping[int, Sequence[ReadTask]],
        early: Mapping[int, ExchangePlan],
    ) -> OperatorState:
        ordered = self.limits.ordered
        if isinstance(op, SourceOp):
            return SourceState(i, op)
        if isinstance(op, MapOp):
            return MapState(i, op, reads.get(i), ordered=ordered)
        if isinstance(op, ExchangeOp):
            return ExchangeState(i, op, early=early.get(i), reads=reads.get(i), ordered=ordered)
        if isinstance(op, RearrangeOp):
            return RearrangeState(i, op, ordered=ordered)
        if isinstance(op, LimitOp):
            return LimitState(i, op)
        assert isinstance(op, UnionOp), op
        return UnionState(i, op.name, len(op.inputs), ordered=ordered)

    def _route(self, state: OperatorState) -> Callable[[BlockHandle], None]:
        below = self._below.get(state.index)
        if below is None:

            def give(handle: BlockHandle) -> None:
                self._ready.append(handle)
                self._ready_bytes += handle.size_bytes

        else:
            receiver, port = self.states[below[0]], below[1]

            def give(handle: BlockHandle) -> None:
                if not receiver.finished:
                    receiver.receive(port, handle)

        return give

    # -- the consumer's side ------------------------------------------------------------------

    def take(self) -> BlockHandle | None:
        """The next block of the result, if there is one now."""
        if not self._ready:
            return None
        handle = self._ready.popleft()
        self._ready_bytes -= handle.size_bytes
        return handle

    @property
    def has_output(self) -> bool:
        return bool(self._ready)

    @property
    def finished(self) -> bool:
        """Nothing will come any more (what is there can still be taken)."""
        return self.states[-1].finished

    # -- the runner's side --------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        """Note what has happened."""
        if isinstance(event, ActorReady):
            state = self.states[event.op]
            if isinstance(state, MapState) and state.actors is not None:
                state.actors.starting.discard(event.actor)
                state.actors.load[event.actor] = 0
            self._settle()
            return
        task = event.task
        state = self.states[task.op]
        if task.id not in state.running:  # cancelled meanwhile
            return
        if isinstance(event, Output):
            state.on_output(task, event.handle)
        elif isinstance(event, Done):
            self._running_cpus -= task.num_cpus
            state.on_done(task, event.value)
        else:
            self._failed(state, event)
        self._settle()

    def _failed(self, state: OperatorState, event: Failed) -> None:
        state.errored += 1
        self.errored.append(event.error)
        allowed = self.limits.max_errored
        if event.task.kind is not Kind.CHAIN or (allowed >= 0 and len(self.errored) > allowed):
            self.failure = self.failure or event.error
        if not event.task_goes_on:
            self._running_cpus -= event.task.num_cpus
            state.on_skipped(event.task)

    def decide(self) -> list[Command]:
        """What to do now. Everything in the list is taken as done."""
        commands, self._commands = self._commands, []
        if self.failure is not None:
            return commands
        for state in self.states:
            if isinstance(state, MapState) and state.actors is not None and not state.finished:
                commands += [StartActor(state.index, actor) for actor in state.actors.grow(state.queued())]
        while (chosen := self._choose()) is not None:
            task = chosen.next_task(self._next_id)
            self._next_id += 1
            self._running_cpus += task.num_cpus
            commands.append(task)
            self._settle()
        return commands + self._take_commands()

    def to_put(self) -> BlockHandle | None:
        """A block of the driver's that an actor will need which is still starting: there is time to put it in the store now."""
        for state in self.states:
            if isinstance(state, MapState):
                for handle in state.input_of_starting_actors():
                    if not handle.is_stored:
                        return handle
        return None

    def _take_commands(self) -> list[Command]:
        commands, self._commands = self._commands, []
        return commands

    def _choose(self) -> OperatorState | None:
        ready = [state for state in reversed(self.states) if not state.finished and state.ready()]
        if not ready:
            return None
        ready.sort(key=self._dormant)  # stable: else nearest to the consumer first
        paused = self.paused()
        anything_runs = any(task not in paused for state in self.states for task in state.running)
        for state in ready:
            is_actor = isinstance(state, MapState) and state.actors is not None
            if not is_actor and self._running_cpus >= self.limits.cpus + self.limits.ahead and anything_runs:
                continue
            if self._feeds_store(state) or self._fits(state):
                return state
        if not anything_runs and not self._ready:
            return ready[0]
        return None

    def _fits(self, state: OperatorState) -> bool:
        """Whether there is room for what the next task of an operator will put out."""
        expected = state.expected_output()
        if not self._above[state.index]:  # it brings new data in: all that waits anywhere counts
            room = self.limits.budget // 4 if self._dormant(state) else self.limits.budget
            coming = sum(task.expected_bytes for other in self.states for task in other.running.values())
            return self._held() + coming + expected <= room
        # It turns what is here into something else: only what piles up behind it counts.
        below = self._below.get(state.index)
        backlog = self._ready_bytes if below is None else self.states[below[0]].held
        coming = sum(task.expected_bytes for task in state.running.values())
        return backlog + coming + expected <= self.limits.budget // 2

    def _held(self) -> int:
        return self._ready_bytes + sum(state.held for state in self.states if not state.is_barrier)

    def paused(self) -> frozenset[int]:
        """Running tasks from which nothing should be taken now: too much is waiting already."""
        if self._held() <= self.limits.budget:
            return frozenset()
        paused = set()
        for state in self.states:
            if not state.running or self._feeds_store(state):
                continue
            output = getattr(state, "output", None)
            for task in state.running.values():
                if self._ready or not (output is None or output.is_next(task.seq)):
                    paused.add(task.id)
        return frozenset(paused)

    def _feeds_store(self, state: OperatorState) -> bool:
        """Whether what it puts out waits where it can be spilled."""
        if isinstance(state, ExchangeState) and state.phase is not Phase.COMBINE:
            return True
        below = self._below.get(state.index)
        return below is not None and self.states[below[0]].is_barrier

    def _dormant(self, state: OperatorState) -> bool:
        """Whether a union below it is still busy with an earlier input."""
        index = state.index
        while index in self._below:
            index, port = self._below[index]
            union = self.states[index]
            if isinstance(union, UnionState) and port > union.active:
                return True
        return False

    # -- passing things on --------------------------------------------------------------------

    def _settle(self) -> None:
        """Let every operator do what needs no task, until nothing changes."""
        changed = True
        while changed:
            changed = False
            for state in self.states:
                if state.index in self._closed:
                    continue
                if not state.finished:
                    state.settle()
                if state.finished:
                    changed = True
                    self._close(state)

    def _close(self, state: OperatorState) -> None:
        self._closed.add(state.index)
        if isinstance(state, MapState) and state.actors is not None:
            for actor in [*state.actors.load, *state.actors.starting]:
                self._commands.append(StopActor(state.index, actor))
        for above in self._above[state.index]:
            if not self.states[above].finished:
                self._abandon(self.states[above])
        if state.index in self._below:
            receiver, port = self._below[state.index]
            self.states[receiver].end_of_input(port)

    def _abandon(self, state: OperatorState) -> None:
        for task in state.running.values():
            self._running_cpus -= task.num_cpus
            self._commands.append(CancelTask(task))
        state.running.clear()
        state.abandon()

    def close(self) -> list[Command]:
        """End everything: what is left to do for the runner."""
        for state in self.states:
            if not state.finished:
                self._abandon(state)
        self._settle()
        self._ready.clear()
        self._ready_bytes = 0
        return self._take_commands()
