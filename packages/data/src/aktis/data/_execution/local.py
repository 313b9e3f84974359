"""Runs tasks right here, one step at a time: for plans that are so small that workers would take longer to start."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import cloudpickle

from aktis.data._execution import chain
from aktis.data._execution.chain import BlockFailure, Program
from aktis.data._execution.handle import BlockHandle
from aktis.data._execution.tasks import Done, Event, Failed, Kind, Output, Task
from aktis.util.serialization import dumps_by_value


class LocalLauncher:
    """Tasks run in the thread that waits for them."""

    def __init__(self, programs: dict[int, Program]) -> None:
        # Through pickle, as if sent to a worker: functions must not share state with the driver's.
        self._programs: dict[int, Program] = {}
        self._originals = programs
        self._queue: deque[Task] = deque()
        self._current: tuple[Task, Iterator[Event]] | None = None

    def launch(self, task: Task) -> None:
        self._queue.append(task)

    def pending(self) -> bool:
        return self._current is not None or bool(self._queue)

    def wait(self) -> list[Event]:
        """Run until something happens."""
        if self._current is None:
            task = self._queue.popleft()
            self._current = task, self._run(task)
        task, events = self._current
        event = next(events, None)
        if event is None or isinstance(event, Done) or (isinstance(event, Failed) and not event.task_goes_on):
            self._current = None
        return [event] if event is not None else []

    def cancel(self, task: Task) -> None:
        if self._current is not None and self._current[0] is task:
            self._current = None
        elif task in self._queue:
            self._queue.remove(task)

    def close(self) -> None:
        self._current = None
        self._queue.clear()

    def _program(self, op: int) -> Program:
        program = self._programs.get(op)
        if program is None:
            program = self._programs[op] = cloudpickle.loads(dumps_by_value(self._originals[op]))
        return program

    def _run(self, task: Task) -> Iterator[Event]:
        try:
            yield from self._events(task, self._program(task.op))
        except Exception as error:
            yield Failed(task, error)

    def _events(self, task: Task, program: Program) -> Iterator[Event]:
        metadata = [handle.metadata for handle in task.inputs]
        blocks = [handle.load() for handle in task.inputs]
        if task.kind is Kind.SAMPLE:
            yield Done(task, chain.run_sample(program, task.port, task.seq, blocks[0]))
            return
        if task.kind is Kind.PARTITION:
            assert task.plan is not None
            made = chain.run_partition(program, task.plan, task.port, task.seq, task.read, metadata, blocks)
            yield Done(task, [BlockHandle(block, meta) for block, meta in made])
            return
        if task.kind is Kind.RECIPE:
            block, meta = chain.run_recipe(program, task.seq, task.recipe, blocks)
            yield Output(task, BlockHandle(block, meta))
            yield Done(task)
            return
        if task.kind is Kind.COMBINE:
            assert task.plan is not None
            outputs = chain.run_combine(program, task.plan, task.seq, task.layout, blocks)
        else:
            outputs = chain.run_chain(program, task.seq, task.read, metadata, blocks)
        for output in outputs:
            if isinstance(output, BlockFailure):
                yield Failed(task, output.error, output.task_goes_on)
                if not output.task_goes_on:
                    return
            else:
                yield Output(task, BlockHandle(*output))
        yield Done(task)
