"""The brain alone: random plans, driven by a simulated engine that finishes tasks in any order."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.data._blocks.types import BlockMetadata
from aktis.data._exchanges._base import Exchange, ExchangePlan, Piece, Rearrangement
from aktis.data._execution.brain import Brain, Limits
from aktis.data._execution.handle import BlockHandle
from aktis.data._execution.tasks import (
    ActorReady,
    CancelTask,
    Command,
    Done,
    Failed,
    Kind,
    Output,
    StartActor,
    StopActor,
    Task,
)
from aktis.data._plan.logical import Compute
from aktis.data._plan.physical import (
    ExchangeOp,
    LimitOp,
    MapOp,
    PhysicalOperator,
    RearrangeOp,
    SourceOp,
    UnionOp,
    topological,
)
from aktis.data._plan.planner import merge

SIZE = 1000


def block(start: int, stop: int, size: int = SIZE) -> BlockHandle:
    table = pa.table({"x": pa.array(range(start, stop), pa.int64())})
    return BlockHandle(table, BlockMetadata(stop - start, size, table.schema))


def source(blocks: int, rows: int = 3, start: int = 0) -> SourceOp:
    handles = tuple(block(start + i * rows, start + (i + 1) * rows) for i in range(blocks))
    return SourceOp(name="Source", handles=handles)


def mapped(child: PhysicalOperator, **compute: Any) -> MapOp:
    return MapOp(name="Map", inputs=(child,), compute=Compute(**compute))


class Reverse(Rearrangement):
    name = "Reverse"

    def recipes(self, inputs: Any) -> list[list[Piece]]:
        return [[Piece(0, i, 0, meta.num_rows)] for i, meta in reversed(list(enumerate(inputs[0])))]


class Modulo(Exchange):
    """Row x goes to partition x mod 3."""

    name = "Modulo"
    needs_sample = True

    def sample(self, block: pa.Table, *, input: int, index: int) -> int:
        return block.num_rows

    def plan(self, inputs: Any, samples: Any) -> ExchangePlan:
        assert [meta.num_rows for meta in inputs[0]] == samples[0], "a sample for each block, in order"
        return ExchangePlan(3)

    def partition(self, block: pa.Table, plan: ExchangePlan, *, input: int, index: int) -> list[pa.Table]:
        xs = block["x"].to_pylist()
        return [pa.table({"x": pa.array([x for x in xs if x % 3 == p], pa.int64())}) for p in range(3)]

    def combine(self, parts: Any, plan: ExchangePlan, *, partition: int) -> Any:
        if parts[0]:
            yield pa.concat_tables(parts[0])


class Simulator:
    """Carries out commands, and finishes tasks in an order of its own."""

    def __init__(self, root: PhysicalOperator, limits: Limits, seed: int = 0, outputs_per_task: int = 1) -> None:
        self.operators = list(topological(root))
        self.brain = Brain(self.operators, limits, reads={}, early={})
        self.random = random.Random(seed)
        self.outputs_per_task = outputs_per_task
        self.tasks: list[tuple[Task, list[Any]]] = []
        self.starting: list[StartActor] = []
        self.actors: set[tuple[int, int]] = set()
        self.launched: list[Task] = []
        self.most_waiting = 0
        self.most_running = 0
        self.fail: Any = lambda task: None

    def events_of(self, task: Task) -> list[Any]:
        error = self.fail(task)
        if error is not None:
            return [Failed(task, error)]
        op = self.operators[task.op]
        tables = [handle.load() for handle in task.inputs]
        if task.kind is Kind.SAMPLE:
            return [Done(task, op.exchange.sample(tables[0], input=0, index=task.seq))]
        if task.kind is Kind.PARTITION:
            parts = op.exchange.partition(tables[0], task.plan, input=task.port, index=task.seq)
            return [Done(task, [self.handle(part) for part in parts])]
        if task.kind is Kind.COMBINE:
            made = list(op.exchange.combine([tables], task.plan, partition=task.seq))
        elif task.kind is Kind.RECIPE:
            made = [op.rearrangement.combine(tables, task.recipe)]
        else:
            made = tables * self.outputs_per_task
        return [*(Output(task, self.handle(table)) for table in made), Done(task)]

    def handle(self, table: pa.Table) -> BlockHandle:
        return BlockHandle(table, BlockMetadata(table.num_rows, SIZE, table.schema))

    def carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, Task):
                if command.actor is not None:
                    assert (command.op, command.actor) in self.actors, "a task for an actor that is not ready"
                self.launched.append(command)
                self.tasks.append((command, self.events_of(command)))
            elif isinstance(command, CancelTask):
                self.tasks = [(task, events) for task, events in self.tasks if task is not command.task]
            elif isinstance(command, StartActor):
                self.starting.append(command)
            else:
                assert isinstance(command, StopActor)
                self.actors.discard((command.op, command.actor))
                self.starting = [one for one in self.starting if (one.op, one.actor) != (command.op, command.actor)]
        self.most_running = max(self.most_running, len(self.tasks))

    def step(self) -> bool:
        """One event. False: nothing is under way."""
        self.carry_out(self.brain.decide())
        paused = self.brain.paused()
        choices = [i for i, (task, _) in enumerate(self.tasks) if task.id not in paused]
        if self.starting and (not choices or self.random.random() < 0.5):
            actor = self.starting.pop(self.random.randrange(len(self.starting)))
            self.actors.add((actor.op, actor.actor))
            self.brain.handle(ActorReady(actor.op, actor.actor))
            return True
        if not choices:
            return False
        task, events = self.tasks[chosen := self.random.choice(choices)]
        event = events.pop(0)
        if isinstance(event, (Done, Failed)):
            del self.tasks[chosen]
        self.brain.handle(event)
        return True

    def run(self, *, greedy: bool = True) -> list[int]:
        rows: list[int] = []
        for _ in range(10_000):
            moved = self.step()
            self.most_waiting = max(self.most_waiting, self.brain._held())
            took = False
            while self.brain.has_output and (greedy or not moved):
                took = True
                handle = self.brain.take()
                assert handle is not None
                rows += handle.load()["x"].to_pylist()
                if not greedy:
                    break
            if self.brain.finished and not self.brain.has_output:
                self.carry_out(self.brain.decide())
                assert not self.tasks, "tasks run on although nobody needs them"
                assert not self.actors and not self.starting
                return rows
            assert moved or took, "stuck"
        raise AssertionError("it does not end")


plans = st.recursive(
    st.builds(source, st.integers(0, 6), st.integers(1, 4)),
    lambda child: st.one_of(
        st.builds(mapped, child),
        st.builds(lambda c: mapped(c, max_tasks=1), child),
        st.builds(lambda c: mapped(c, min_rows=5), child),
        st.builds(lambda c: mapped(c, pool_size=(1, 3)), child),
        st.builds(lambda c: RearrangeOp(name="Reverse", inputs=(c,), rearrangement=Reverse()), child),
        st.builds(lambda c, n: LimitOp(name="Limit", inputs=(c,), limit=n), child, st.integers(0, 12)),
        st.builds(lambda a, b: UnionOp(name="Union", inputs=(a, b)), child, child),
        st.builds(lambda c: ExchangeOp(name="Modulo", inputs=(c,), exchange=Modulo()), child),
    ),
    max_leaves=4,
)


def expected(op: PhysicalOperator) -> list[list[int]]:
    """The blocks that an operator puts out, computed without a brain."""
    if isinstance(op, SourceOp):
        return [handle.load()["x"].to_pylist() for handle in op.handles]
    inputs = [expected(child) for child in op.inputs]
    if isinstance(op, UnionOp):
        return inputs[0] + inputs[1]
    if isinstance(op, LimitOp):
        rows = [x for one in inputs[0] for x in one][: op.limit]
        return [[x] for x in rows]
    if isinstance(op, RearrangeOp):
        return inputs[0][::-1]
    if isinstance(op, ExchangeOp):
        rows = [x for one in inputs[0] for x in one]
        return [[x for x in rows if x % 3 == p] for p in range(3)]
    return inputs[0]


def flat(blocks: list[list[int]]) -> list[int]:
    return [x for one in blocks for x in one]


def without_reverse_of_cut(op: PhysicalOperator) -> bool:
    """``expected`` loses the block borders of limits and bundles, on which Reverse depends."""
    ops = list(topological(op))
    cut = any(isinstance(one, LimitOp) or (isinstance(one, MapOp) and one.compute.min_rows) for one in ops)
    return not (cut and any(isinstance(one, RearrangeOp) for one in ops))


@settings(max_examples=300, deadline=None)
@given(plan=plans, seed=st.integers(0, 1000), cpus=st.integers(1, 4), budget=st.sampled_from([1, 3 * SIZE, 50 * SIZE]))
def test_random_plans_end_with_the_right_rows_in_order(
    plan: PhysicalOperator, seed: int, cpus: int, budget: int
) -> None:
    rows = Simulator(plan, Limits(cpus=cpus, budget=budget), seed).run(greedy=seed % 2 == 0)
    wanted = flat(expected(plan))
    if without_reverse_of_cut(plan):
        assert rows == wanted
    else:
        assert len(rows) == len(wanted)


def test_a_slow_consumer_stops_the_reading() -> None:
    plan = mapped(mapped(source(200), max_tasks=None), pool_size=(1, 1))
    simulator = Simulator(plan, Limits(cpus=2, budget=10 * SIZE), seed=3)
    rows = simulator.run(greedy=False)
    assert rows == list(range(600))
    assert simulator.most_waiting <= 14 * SIZE, "blocks pile up beyond the budget"


def test_no_more_tasks_run_than_there_are_cpus_and_one_that_waits() -> None:
    simulator = Simulator(mapped(source(50)), Limits(cpus=3, ahead=1, budget=10**9))
    simulator.run()
    assert simulator.most_running == 4


def test_a_limit_stops_what_is_above_it() -> None:
    simulator = Simulator(LimitOp(name="Limit", inputs=(mapped(source(1000)),), limit=4), Limits(cpus=2, budget=10**9))
    assert simulator.run() == [0, 1, 2, 3]
    assert len(simulator.launched) <= 10, "tasks that nobody needs"


def test_a_limit_of_nothing_still_learns_the_schema() -> None:
    brain = Simulator(LimitOp(name="Limit", inputs=(mapped(source(5)),), limit=0), Limits())
    assert brain.run() == []
    assert len(brain.launched) >= 1


def test_outputs_come_in_order_and_early_ones_do_not_wait_for_late_tasks() -> None:
    simulator = Simulator(mapped(source(3)), Limits(cpus=3, budget=10**9), outputs_per_task=2)
    simulator.carry_out(simulator.brain.decide())
    tasks = {task.seq: (task, events) for task, events in simulator.tasks}
    simulator.brain.handle(tasks[1][1][0])
    assert simulator.brain.take() is None, "task 0 has not put out anything yet"
    simulator.brain.handle(tasks[0][1][0])
    assert simulator.brain.take() is not None, "the first output of task 0 need not wait for its second"


def test_without_order_whatever_is_there_comes_out() -> None:
    simulator = Simulator(mapped(source(3)), Limits(cpus=3, budget=10**9, ordered=False))
    simulator.carry_out(simulator.brain.decide())
    late = next(events for task, events in simulator.tasks if task.seq == 2)
    simulator.brain.handle(late[0])
    assert simulator.brain.take() is not None


def test_a_failure_is_kept_and_nothing_more_is_launched() -> None:
    simulator = Simulator(mapped(source(50)), Limits(cpus=2, budget=10**9))
    simulator.fail = lambda task: ValueError("bad") if task.seq == 1 else None
    while simulator.brain.failure is None:
        assert simulator.step()
    assert simulator.brain.decide() == []
    assert isinstance(simulator.brain.failure, ValueError)


def test_allowed_failures_are_left_out() -> None:
    simulator = Simulator(mapped(source(10, rows=1)), Limits(cpus=2, budget=10**9, max_errored=2))
    simulator.fail = lambda task: ValueError("bad") if task.seq in (3, 7) else None
    assert simulator.run() == [0, 1, 2, 4, 5, 6, 8, 9]
    assert len(simulator.brain.errored) == 2


def test_a_pool_grows_while_all_its_actors_are_busy_and_no_further() -> None:
    plan = mapped(source(100), pool_size=(1, 3), tasks_per_actor=2)
    simulator = Simulator(plan, Limits(cpus=8, budget=10**9), seed=1)
    seen = 0
    while not simulator.brain.finished:
        assert simulator.step()
        simulator.brain.take()
        seen = max(seen, len(simulator.actors))
    assert seen == 3


def test_two_branches_of_a_union_do_not_starve_each_other() -> None:
    """The later branch may work ahead only a little, so that there is room for the one whose turn it is."""
    plan = UnionOp(name="Union", inputs=(mapped(source(40)), mapped(source(40, start=1000))))
    simulator = Simulator(plan, Limits(cpus=2, budget=8 * SIZE), seed=5)
    rows = simulator.run(greedy=False)
    assert rows == [*range(120), *range(1000, 1120)]


def test_closing_cancels_what_runs_and_stops_actors() -> None:
    plan = mapped(mapped(source(50)), pool_size=(2, 2))
    simulator = Simulator(plan, Limits(cpus=2, budget=10**9), seed=2)
    for _ in range(20):
        simulator.step()
    running = {task.id for task, _ in simulator.tasks}
    commands = simulator.brain.close()
    assert {command.task.id for command in commands if isinstance(command, CancelTask)} == running
    assert sum(isinstance(command, StopActor) for command in commands) == 2


def test_what_actors_will_get_is_put_into_the_store_while_they_start(monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[BlockHandle] = []
    monkeypatch.setattr(BlockHandle, "is_stored", property(lambda handle: handle in stored))
    operators = list(topological(mapped(source(20), pool_size=(2, 2), tasks_per_actor=2)))
    brain = Brain(operators, Limits(cpus=2), reads={}, early={})
    assert brain.to_put() is None  # nobody starts yet
    actors = [command for command in brain.decide() if isinstance(command, StartActor)]
    assert len(actors) == 2
    while (handle := brain.to_put()) is not None:
        stored.append(handle)
    assert [handle.load()["x"][0].as_py() for handle in stored] == [0, 3, 6, 9]
    for actor in actors:
        brain.handle(ActorReady(actor.op, actor.actor))
    launched = [command for command in brain.decide() if isinstance(command, Task)]
    assert [handle for task in launched for handle in task.inputs] == stored
    assert brain.to_put() is None


def test_bundles_of_whole_blocks_cut_none() -> None:
    def sizes(**compute: Any) -> list[list[int]]:
        simulator = Simulator(mapped(source(7), **compute), Limits())
        simulator.run()
        return [[handle.num_rows for handle in task.inputs] for task in simulator.launched]

    assert sizes(min_rows=2, whole_blocks=True) == [[3]] * 7
    assert sizes(min_rows=4, whole_blocks=True) == [[3, 3]] * 3 + [[3]]
    assert [sum(rows) for rows in sizes(min_rows=4)] == [4, 4, 4, 4, 4, 1]


def test_one_of_two_functions_that_needs_whole_batches_suffices_to_cut_blocks() -> None:
    exact, joins = Compute(min_rows=5), Compute(min_rows=7, whole_blocks=True)
    for first, second, whole in (
        (exact, joins, False),
        (joins, exact, False),
        (joins, joins, True),
        (Compute(), joins, True),
    ):
        merged = merge(MapOp(name="Map", inputs=(), compute=first), second)
        assert merged is not None
        assert merged.whole_blocks == whole


def test_what_is_put_anew_is_not_kept_with_the_block() -> None:
    handle = block(0, 3)
    again = handle.put_anew()
    assert again.where is handle.where
    again._put[:] = "session", "reference"
    assert not handle._put
