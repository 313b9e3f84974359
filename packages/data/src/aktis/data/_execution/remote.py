"""Runs tasks in core's workers and actors. Every task is a remote generator: its blocks arrive while it still runs.

References to blocks carry no lineage this way, so a block is freed as soon as nobody needs it. A task whose worker dies is
run again by core, which drops what it has delivered already: that is why tasks must be pure functions of their arguments.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aktis
from aktis.data._blocks.types import BlockMetadata
from aktis.data._execution import worker
from aktis.data._execution.chain import BlockFailure, Program
from aktis.data._execution.handle import BlockHandle
from aktis.data._execution.tasks import ActorReady, Done, Event, Failed, Kind, Output, Task
from aktis.data._execution.worker import Shared
from aktis.util.serialization import dumps_by_value

if TYPE_CHECKING:
    from collections.abc import Collection

    from aktis.data._exchanges._base import ExchangePlan

INLINE_LIMIT = 32 << 10  # bytes
BLOCKS_AHEAD = 4  # blocks that a task may have finished before we take the first of them
TASK_RETRIES = 4
# Also from within a placement group that keeps its children: that of a training run is full of workers, which wait for data.
_ANYWHERE = "DEFAULT"
ACTOR_RESTARTS = 4


@dataclass(slots=True, eq=False)
class _Running:
    task: Task
    generator: Any
    call: tuple[Any, tuple[Any, ...]] | None  # function and arguments, until its first item is there
    collected: list[Any] = field(default_factory=list)  # PARTITION: references to the pieces


class RemoteLauncher:
    """Turns tasks into calls, and what comes back into events."""

    def __init__(
        self, programs: Mapping[int, Program], remote_args: Mapping[int, Mapping[str, Any]], *, crowded: bool = False
    ) -> None:
        self._programs = programs
        self._crowded = crowded  # actors may take all CPUs: tasks must not wait for one
        self._remote_args = remote_args
        self._shared: dict[Any, Shared] = {}
        self._plans: list[ExchangePlan] = []  # keeps their ids unique while we live
        self._functions: dict[Any, Any] = {}
        self._running: dict[Any, _Running] = {}  # by generator
        self._by_task: dict[int, _Running] = {}
        self._actors: dict[tuple[int, int], Any] = {}
        self._starting: dict[Any, tuple[int, int]] = {}  # by the reference of ready()

    # -- starting -----------------------------------------------------------------------------

    def launch(self, task: Task) -> None:
        """Submit it. Never waits for it."""
        refs, rows = [], []
        for handle in task.inputs:
            ref, shown = handle.stored()
            refs.append(ref)
            rows.append(shown)
        metadata = [_light(handle.metadata) for handle in task.inputs]
        program = self._share(("program", task.op), self._programs[task.op])
        if task.actor is not None:
            generator = self._actors[task.op, task.actor].run.remote(task.seq, task.read, metadata, rows, *refs)
            self._note(_Running(task, generator, None))
            return
        function: Any
        arguments: tuple[Any, ...]
        if task.kind is Kind.CHAIN:
            function, arguments = worker.run_chain, (program, task.seq, task.read, metadata, rows, *refs)
        elif task.kind is Kind.SAMPLE:
            function, arguments = worker.run_sample, (program, task.port, task.seq, rows, *refs)
        elif task.kind is Kind.RECIPE:
            function, arguments = worker.run_recipe, (program, task.seq, task.recipe, rows, *refs)
        else:
            assert task.plan is not None
            plan = self._share(("plan", id(task.plan)), task.plan)
            if task.kind is Kind.PARTITION:
                function = worker.run_partition
                arguments = (program, plan, task.port, task.seq, task.read, metadata, rows, *refs)
            else:
                function, arguments = worker.run_combine, (program, plan, task.seq, task.layout, rows, *refs)
        task.origin = next((m.origin for m in metadata if m.origin), task.read.metadata.origin if task.read else "")
        self._note(_Running(task, self._call(function, task, *arguments), (function, arguments)))

    def _note(self, running: _Running) -> None:
        running.task.inputs = []  # core keeps them until the task is over, and lets go of them then
        self._running[running.generator] = running
        self._by_task[running.task.id] = running

    def launch_again_without_cpus(self) -> bool:
        """Others hold all CPUs, and may do so for ever: ask for none. Only tasks that have not put out anything yet.

        Returns whether there was anything to do.
        """
        self._crowded = True
        waiting = [running for running in self._running.values() if running.call is not None]
        for running in waiting:
            assert running.call is not None
            self._forget(running)
            _cancel(running.generator)
            function, arguments = running.call
            self._note(_Running(running.task, self._call(function, running.task, *arguments), running.call))
        return bool(waiting)

    def _share(self, name: Any, value: Any) -> Shared:
        known = self._shared.get(name)
        if known is None:
            if name[0] == "plan":
                self._plans.append(value)
            known = self._shared[name] = uuid.uuid4().hex, _packed(value)
        return known

    def _call(self, function: Any, task: Task, *arguments: Any) -> Any:
        key = (function, task.op, self._crowded)
        remote = self._functions.get(key)
        if remote is None:
            options = {
                "scheduling_strategy": _ANYWHERE,
                "max_retries": TASK_RETRIES,
                **self._remote_args.get(task.op, {}),
                "num_cpus": 0 if self._crowded else task.num_cpus,
            }
            options["num_returns"] = "streaming"
            options["name"] = self._programs[task.op].operator
            if task.kind is not Kind.PARTITION:
                options["_generator_backpressure_num_objects"] = 2 * BLOCKS_AHEAD
            remote = self._functions[key] = aktis.remote(**options)(function)
        return remote.remote(*arguments)

    def start_actor(self, op: int, actor: int) -> None:
        """Create it; :class:`ActorReady` follows when its constructor is through."""
        options: dict[str, Any] = {
            "scheduling_strategy": _ANYWHERE,
            "max_restarts": ACTOR_RESTARTS,
            "max_task_retries": TASK_RETRIES,
            **self._remote_args.get(op, {}),
        }
        options.setdefault("num_cpus", 0)  # so that a pool of as many actors as CPUs does not starve other operators
        program = self._programs[op]
        handle = aktis.remote(**options)(worker.MapActor).remote(program)
        self._actors[op, actor] = handle
        self._starting[handle.ready.remote()] = (op, actor)

    def stop_actor(self, op: int, actor: int) -> None:
        handle = self._actors.pop((op, actor), None)
        if handle is not None:
            aktis.kill(handle)
        self._starting = {ref: which for ref, which in self._starting.items() if which != (op, actor)}

    # -- hearing ------------------------------------------------------------------------------

    def pending(self) -> bool:
        return bool(self._running or self._starting)

    def wait(self, timeout: float | None, paused: Collection[int] = ()) -> list[Event]:
        """Wait until something has happened, and say what. Nothing is taken from tasks in ``paused``."""
        waiting = [g for g, running in self._running.items() if running.task.id not in paused]
        waiting += self._starting
        if not waiting:
            return []
        ready, rest = aktis.wait(waiting, num_returns=1, timeout=timeout, fetch_local=False)
        if ready and rest:
            ready += aktis.wait(rest, num_returns=len(rest), timeout=0, fetch_local=False)[0]
        events: list[Event] = []
        for one in ready:
            if one in self._starting:
                events.append(self._actor_ready(one))
            elif one in self._running:
                events += self._advance(self._running[one])
        return events

    def _actor_ready(self, ref: Any) -> Event:
        op, actor = self._starting.pop(ref)
        error = aktis.get(ref)
        if error is not None:
            raise error
        return ActorReady(op, actor)

    def _advance(self, running: _Running) -> list[Event]:
        """The next item of a task, which is there (or its end)."""
        task = running.task
        try:
            ref = next(running.generator)
        except StopIteration:
            self._forget(running)
            if not running.collected:
                return [Done(task)]
            return [Failed(task, _error_of(running.collected[-1]))]  # pieces, but not all: the last one is the error
        try:
            if task.kind is Kind.SAMPLE:
                self._forget(running)
                return [Done(task, aktis.get(ref))]
            if task.kind is Kind.PARTITION:
                return self._piece(running, ref)
            try:
                described = aktis.get(next(running.generator))
            except StopIteration:
                aktis.get(ref)  # the item was the error that the task ended with
                raise
        except Exception as error:
            self._forget(running)
            return [Failed(task, self._named(task, error))]
        running.call = None
        if isinstance(described, BlockFailure):
            if not described.task_goes_on:
                self._forget(running)
            return [Failed(task, described.error, described.task_goes_on)]
        return [Output(task, BlockHandle(ref, described))]

    def _piece(self, running: _Running, ref: Any) -> list[Event]:
        assert running.task.plan is not None
        if len(running.collected) < running.task.plan.num_partitions:
            running.collected.append(ref)
            running.call = None
            return []
        metadata: list[BlockMetadata] = aktis.get(ref)
        self._forget(running)
        return [Done(running.task, [BlockHandle(r, m) for r, m in zip(running.collected, metadata)])]

    def _named(self, task: Task, error: Exception) -> Exception:
        """An error of the system (a worker that died again and again), with the operator that it hit."""
        if isinstance(error, aktis.exceptions.AktisError) and error.args and isinstance(error.args[0], str):
            where = f" (data: {task.origin})" if task.origin else ""
            error.args = (f"{self._programs[task.op].operator}{where}: {error.args[0]}", *error.args[1:])
        return error

    def _forget(self, running: _Running) -> None:
        self._running.pop(running.generator, None)
        self._by_task.pop(running.task.id, None)

    # -- ending -------------------------------------------------------------------------------

    def cancel(self, task: Task) -> None:
        """Nobody wants its result any more."""
        running = self._by_task.get(task.id)
        if running is not None:
            self._forget(running)
            _cancel(running.generator)

    def close(self) -> None:
        """Stop everything that is still under way."""
        for running in list(self._running.values()):
            _cancel(running.generator)
        self._running.clear()
        self._by_task.clear()
        for op, actor in list(self._actors):
            self.stop_actor(op, actor)
        self._shared.clear()


def _error_of(ref: Any) -> BaseException:
    try:
        aktis.get(ref)
    except Exception as error:
        return error
    return aktis.exceptions.AktisSystemError("A task ended before it had made all pieces of its block.")


def _packed(value: Any) -> bytes | list[aktis.ObjectRef[Any]]:
    """Small things travel with each call: a worker that had to fetch them would lend its CPU to yet another worker meanwhile."""
    try:
        data = dumps_by_value(value)
        if len(data) <= INLINE_LIMIT:
            return data
    except Exception:  # references in it, which only core can send; or nothing can, and core says best why
        pass
    return [aktis.put(value)]


def _cancel(generator: Any) -> None:
    try:
        aktis.cancel(generator)
    except Exception:  # over already, or the session is: either way it does not run any more
        return


def _light(metadata: BlockMetadata) -> BlockMetadata:
    """What a task needs to know about its input: no schema (it has the block), no statistics."""
    return BlockMetadata(metadata.num_rows, metadata.size_bytes, None, metadata.input_files, None, metadata.origin)
