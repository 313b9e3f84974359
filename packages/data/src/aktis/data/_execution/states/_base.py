"""What the brain knows about each operator, and which task the operator would launch next.

Pure: a state gets blocks from above (``receive``), offers tasks (``ready``, ``next_task``), hears how they went
(``on_output``, ``on_done``, ``on_skipped``), and hands blocks on with ``self.emit``. It never decides *when* to launch: the
brain does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aktis.data._execution.tasks import Task

if TYPE_CHECKING:
    from aktis.data._execution.handle import BlockHandle


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
